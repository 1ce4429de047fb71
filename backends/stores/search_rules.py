"""What every store decides alike about searching."""

from __future__ import annotations

from abaco.domain.execution import FINAL, Execution
from abaco.errors import LimitExceededError


def too_slow(timeout_s: float) -> LimitExceededError:
    """Say that a search was given up, and what helps."""
    return LimitExceededError(
        f"the search took longer than {timeout_s:g} s and was given up: search within one actor,"
        " or add conditions on fields; see [store] search_timeout_s"
    )


def has_log(execution: Execution, *, bytes_seen: int, bytes_kept: int, is_expired: bool) -> bool:
    """Tell whether an execution has a log that can be found."""
    if bytes_seen == 0:
        return execution.status in FINAL
    return bytes_kept > 0 and not is_expired
