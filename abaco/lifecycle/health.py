"""How long a worker may stay in each status before something must be wrong with it.

Pure arithmetic; who asks knows the time. A pull has a time limit of its own, and waiting for a
pull, an engine or a message may take for ever.
"""

from __future__ import annotations

from collections.abc import Mapping

from abaco.domain.worker import WorkerStatus

#: seconds for clearing up after a run that was stopped at its time limit
CLEAN_UP_S = 60.0

_LIMITS_S: Mapping[WorkerStatus, float] = {
    WorkerStatus.REQUESTED: 300.0,
    WorkerStatus.SPAWNER_SETUP: 120.0,
    WorkerStatus.CREATING_CONTAINER: 120.0,
    WorkerStatus.UPDATING_STORE: 60.0,
    WorkerStatus.SHUTTING_DOWN: 300.0,
    WorkerStatus.ERROR: 300.0,
}

#: with a message; one that was told to go finishes it first
_RUNNING = frozenset({WorkerStatus.BUSY, WorkerStatus.SHUTDOWN_REQUESTED})


def is_overdue(
    status: WorkerStatus, age_s: float, *, max_run_time_s: float, stop_grace_s: float
) -> bool:
    """Tell whether a worker is in its status for too long.

    Args:
        status: Where the worker is.
        age_s: Seconds since it came there.
        max_run_time_s: The time limit of runs; 0 or less for none.
        stop_grace_s: Seconds a program gets to stop.

    """
    limit_s = _LIMITS_S.get(status)
    if status in _RUNNING and max_run_time_s > 0:
        limit_s = max_run_time_s + stop_grace_s + CLEAN_UP_S
    return limit_s is not None and age_s > limit_s
