"""How many workers an actor should be given. Pure arithmetic; claims and records decide races."""

from __future__ import annotations


def workers_wanted(
    *, queued: int, pending: int, viable: int, limit: int, free_slots: int, is_scaling: bool
) -> int:
    """Return how many workers to request now.

    The first worker of an actor with waiting messages is always wanted; further ones only when
    the pool scales, one for each message that no starting or idle worker will take.

    Args:
        queued: Messages waiting.
        pending: Workers starting or idle.
        viable: Workers starting, idle or busy.
        limit: Most viable workers the actor may have.
        free_slots: Workers the host can still take.
        is_scaling: Whether the pool may grow beyond one.

    """
    if queued == 0:
        return 0
    uncovered = queued - pending
    if not is_scaling:
        uncovered = min(uncovered, 1 - viable)
    return max(0, min(uncovered, limit - viable, free_slots))


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
