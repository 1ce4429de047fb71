"""When an event is sent to its webhook again."""

from __future__ import annotations

from dataclasses import dataclass

#: longest pause between two requests, however often they have failed
MAX_PAUSE_S = 300.0

#: an event this old has waited behind others, whose receiver did not answer: it gets one request,
#: so that a receiver that is gone for good does not make the queue longer and longer
OLD_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeliveryPolicy:
    """How often, and after which pauses.

    Units: ``backoff_s`` seconds before the second request; they double with each one.
    """

    max_attempts: int
    backoff_s: float

    def pause_s(self, attempts: int, age_s: float, luck: float) -> float | None:
        """Return the pause before the next request; None when there is to be none.

        Args:
            attempts: Requests made so far, at least one.
            age_s: Seconds since the event.
            luck: At random from 0 to 1; receivers that failed together are not asked together.

        """
        if attempts >= self.max_attempts or age_s >= OLD_S:
            return None
        # the exponent is bounded, so that no number of attempts overflows
        return min(MAX_PAUSE_S, self.backoff_s * 2.0 ** min(attempts - 1, 32)) * (0.5 + luck / 2)
