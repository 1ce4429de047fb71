"""What every store decides alike about the way in."""

from __future__ import annotations

from collections.abc import Sequence

from abaco.domain.actor import ActorKey, ActorStatus
from abaco.domain.ids import ExecutionId
from abaco.errors import ConflictError, KeyReusedError, LimitExceededError, ThrottledError
from abaco.ports.intake import RetryKey, Room, Submission
from backends.stores import rules


def check_batch(batch: Sequence[Submission]) -> ActorKey:
    """Return the one actor of a batch. Raises ValueError for what is no batch."""
    actors = {message.actor for _, message in batch}
    if len(actors) != 1:
        raise ValueError("a batch has messages, and all are for one actor")
    for execution, message in batch:
        rules.check_fresh(execution, message)
    return actors.pop()


def check_intake(
    actor: ActorKey,
    status: ActorStatus | None,
    room: Room,
    count: int,
    *,
    queued: int,
    tenant_queued: int,
) -> None:
    """Refuse messages that may not come in.

    Args:
        actor: Whose mailbox it is.
        status: The actor's; None when it is absent.
        room: The limits.
        count: How many messages want in.
        queued: How many wait for the actor.
        tenant_queued: How many wait for all actors of its tenant.

    """
    rules.check_open(actor, status)
    rules.check_room(actor, queued, room.before)
    limits = {"runtime.max_mailbox": room.actor, "runtime.max_tenant_mailbox": room.tenant}
    for name, limit in limits.items():
        if limit is not None and count > limit:
            raise LimitExceededError(f"{count} messages at once never fit: {name} is {limit}")
    if room.actor is not None and queued + count > room.actor:
        raise ThrottledError(
            f"the mailbox of actor {actor.id!r} is full: {queued} messages wait,"
            f" runtime.max_mailbox is {room.actor}"
        )
    if room.tenant is not None and tenant_queued + count > room.tenant:
        raise ThrottledError(
            f"the mailboxes of this tenant are full: {tenant_queued} messages wait,"
            f" runtime.max_tenant_mailbox is {room.tenant}"
        )


def check_repeat(key: RetryKey, digest: str) -> None:
    """Refuse a key that was first sent with something else."""
    if key.digest != digest:
        raise KeyReusedError(
            "this Idempotency-Key was used before with another message; a repeated request must"
            " be the same, a new one needs a new key"
        )


def taken(ids: Sequence[ExecutionId]) -> ConflictError:
    """Say that an execution of these exists."""
    return rules.already_exists("an execution", ids[0] if len(ids) == 1 else f"of {len(ids)}")
