"""How many workers an actor should be given, and when idle ones go.

Pure arithmetic; claims and records decide races.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from abaco.domain.ids import WorkerId
from abaco.domain.worker import VIABLE, Worker, WorkerStatus

#: the hint of an actor whose callers wait for its answers
SYNC = "sync"


def workers_wanted(
    *,
    queued: int,
    pending: int,
    viable: int,
    limit: int,
    is_scaling: bool,
    step: int | None = None,
) -> int:
    """Return how many workers to ask for now; places on the host are another matter.

    The first worker of an actor with waiting messages is always wanted; further ones only when
    the pool scales, one for each message that no starting or idle worker will take.

    Args:
        queued: Messages waiting.
        pending: Workers starting or idle, those included that a waiting message calls back.
        viable: Workers starting, idle or busy, likewise.
        limit: Most viable workers the actor may have.
        is_scaling: Whether the pool may grow beyond one.
        step: Most workers to ask for at once; None for no bound.

    """
    uncovered = queued - pending
    if not is_scaling:
        uncovered = min(uncovered, 1 - viable)
    elif step is not None:
        uncovered = min(uncovered, step)
    return max(0, min(uncovered, limit - viable))


def pool_limit(*, own: int | None, default: int, places: int, spare: int) -> int:
    """Return how many workers the messages of a stateless actor may bring it.

    Args:
        own: The actor's ``max_workers``.
        default: For actors without one.
        places: Workers its queue can have on this host.
        spare: Places that no actor alone may take; never more than a quarter of them.

    """
    return max(1, min(own or default, places - min(spare, places // 4)))


def idle_limit_s(
    *, is_stateless: bool, is_scaling: bool, idle_grace_s: float, worker_ttl_s: float
) -> float | None:
    """Return after how many idle seconds a worker retires; None means never.

    Pools that scale shrink to zero after the grace. Others keep their worker for ``worker_ttl``
    (negative: for ever).
    """
    if is_stateless and is_scaling:
        return idle_grace_s
    return worker_ttl_s if worker_ttl_s >= 0 else None


def kept_for_s(
    worker: WorkerId, pool: Iterable[Worker], now: datetime, *, sync_max_idle_s: float
) -> float:
    """Return how many seconds more the hint ``sync`` keeps an idle worker; 0 when it may go.

    One worker of the pool is kept: a busy or starting one, or else the idle one that was active
    last, until it has been idle too long.
    """
    viable = [one for one in pool if one.status in VIABLE]
    if not viable or any(one.status is not WorkerStatus.READY for one in viable):
        return 0.0
    kept = max(viable, key=lambda one: (_last_active(one), one.id))
    if kept.id != worker:
        return 0.0
    return max(0.0, sync_max_idle_s - (now - _last_active(kept)).total_seconds())


def _last_active(worker: Worker) -> datetime:
    return worker.last_execution_time or worker.create_time
