"""What this process has let through lately: kept in memory, and no more of it than matters.

A restart forgets it, which lets a burst through, once.
"""

from __future__ import annotations

from collections import OrderedDict

from abaco.domain.rate import FULL, Rate

#: buckets looked at, each time one is used, to see whether they are full and can be forgotten;
#: more than one, so that forgetting outruns remembering
LOOKS = 2

Place = tuple[str, ...]


class Quotas:
    """Buckets by what they count, and the number of followers. On the loop's thread only."""

    def __init__(self) -> None:
        #: when each bucket will be full again; the one longest not looked at stands first
        self._full_at_s: OrderedDict[Place, float] = OrderedDict()
        self.follower_count = 0

    def __len__(self) -> int:
        """Return how many buckets are remembered."""
        return len(self._full_at_s)

    def wait_s(self, place: Place, rate: Rate, now_s: float, count: int) -> float:
        """Return how long until so many tokens may be drawn."""
        return rate.wait_s(self._full_at_s.get(place, FULL), now_s, count)

    def draw(self, place: Place, rate: Rate, now_s: float, count: int) -> None:
        """Draw tokens, whether or not they are there."""
        self._forget(now_s)
        self._full_at_s[place] = rate.draw(self._full_at_s.get(place, FULL), now_s, count)

    def _forget(self, now_s: float) -> None:
        for _ in range(min(LOOKS, len(self._full_at_s))):
            place, full_at_s = self._full_at_s.popitem(last=False)
            if full_at_s > now_s:
                self._full_at_s[place] = full_at_s
