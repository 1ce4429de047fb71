"""What becomes of a run that did not reach its end by itself.

Three classes, kept apart because they cost the user different things:

* the program never started: nothing was repeated, so several tries are free of side effects;
* the program's container was lost with server or engine: it may have done work, so few tries;
* everything else is an outcome, not a reason to run again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Limits of the two retry classes.

    Units: ``start_backoff_s`` seconds between two tries to start.
    """

    max_start_failures: int
    start_backoff_s: float
    max_attempts: int

    def may_start_again(self, failures_in_a_row: int) -> bool:
        """Tell whether a start may be tried again after this many failures in a row."""
        return failures_in_a_row <= self.max_start_failures

    def may_run_again(self, losses: int) -> bool:
        """Tell whether a message may run again after its container was lost this often."""
        return losses < self.max_attempts
