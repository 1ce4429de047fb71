"""How fast something may happen: a token bucket, kept as one number.

The number is the time at which the bucket will be full again. A bucket that is full by now is as
good as none, so it need not be kept. Source: generic cell rate algorithm, ITU-T I.371
"""

from __future__ import annotations

from dataclasses import dataclass

#: stands for a bucket nobody has drawn from
FULL = float("-inf")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many tokens a second, and a burst of so many at once.

    Units: times are seconds of one monotonic clock.
    """

    per_s: float
    burst: int

    def wait_s(self, full_at_s: float, now_s: float, count: int) -> float:
        """Return how long to wait until ``count`` tokens may be drawn; 0 when they may be now.

        More than the bucket holds may be drawn when it is full, as one draw; those after it wait
        the longer, so the rate holds.
        """
        missing_s = max(full_at_s - now_s, 0.0)
        spare_s = (self.burst - min(count, self.burst)) / self.per_s
        return max(missing_s - spare_s, 0.0)

    def draw(self, full_at_s: float, now_s: float, count: int) -> float:
        """Return when the bucket is full again after ``count`` tokens are drawn now."""
        return max(full_at_s, now_s) + count / self.per_s
