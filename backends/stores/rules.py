"""What every store decides alike: refusals, limits, and the shape of values.

Nothing here reads a clock or keeps anything; a store reads its rows, asks, and writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from abaco.domain.actor import RUNNABLE, Actor, ActorKey, ActorStatus
from abaco.domain.execution import (
    FINAL,
    Execution,
    ExecutionKey,
    ExecutionStatus,
    HaltReason,
    Outcome,
)
from abaco.domain.message import Message, MessageState
from abaco.domain.worker import WorkerKey, WorkerStatus
from abaco.errors import ConflictError, LimitExceededError, NotFoundError
from abaco.ports.store import Refusal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode_json(value: Any) -> str:
    """Spell a JSON value so that decoding gives it back exactly, lone surrogates included."""
    return json.dumps(value, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def decode_json(text: str) -> Any:
    """Read what ``encode_json`` wrote."""
    return json.loads(text)


def copy_json(value: Any) -> Any:
    """Copy a JSON value deeply, as writing it down and reading it again would."""
    return decode_json(encode_json(value))


def to_micros(time: datetime) -> int:
    """Return microseconds since 1970, exactly. Raises TypeError for a time without a zone."""
    return (time - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware UTC time."""
    return EPOCH + timedelta(microseconds=micros)


def no_actor(key: ActorKey) -> NotFoundError:
    """Say that the actor is absent."""
    return NotFoundError(f"there is no actor {key.id!r}")


def no_execution(key: ExecutionKey) -> NotFoundError:
    """Say that the execution is absent."""
    return NotFoundError(f"there is no execution {key.id!r} of actor {key.actor_id!r}")


def no_worker(key: WorkerKey) -> NotFoundError:
    """Say that the worker is absent."""
    return NotFoundError(f"there is no worker {key.id!r} of actor {key.actor_id!r}")


def already_exists(kind: str, identifier: str) -> ConflictError:
    """Say that the key is taken."""
    return ConflictError(f"{kind} {identifier!r} already exists")


def age(actor: Actor) -> tuple[datetime, str, str]:
    """Return what actors are ordered by."""
    return actor.create_time, actor.id, actor.tenant


def cron_place(actor: Actor) -> tuple[datetime, str, str]:
    """Return what due schedules are ordered by. Raises ValueError when it has no next slot."""
    if actor.cron is None or actor.cron.next_at is None:
        raise ValueError(f"actor {actor.id!r} has no next slot")
    return actor.cron.next_at, actor.id, actor.tenant


def check_open(key: ActorKey, status: ActorStatus | None) -> None:
    """Refuse a change to an actor that is absent (None) or on its way out."""
    if status is None:
        raise no_actor(key)
    if status is ActorStatus.SHUTTING_DOWN:
        raise ConflictError(f"actor {key.id!r} is {status}: it is being deleted")


def check_expected(what: str, present: int, expected: int | None) -> None:
    """Refuse a write that was decided on an older value."""
    if expected is not None and expected != present:
        raise ConflictError(f"{what} is {present} by now, not {expected}")


def check_fresh(execution: Execution, message: Message) -> None:
    """Refuse a message that comes with another execution than its own, fresh one."""
    fresh = Execution(
        tenant=message.tenant,
        actor_id=message.actor_id,
        id=message.execution_id,
        api_server=execution.api_server,
        executor=execution.executor,
        message_received_time=execution.message_received_time,
    )
    if execution != fresh:
        raise ValueError("a message is submitted with its own, fresh execution")


def as_queued(message: Message) -> Message:
    """Return a message as it is stored first: nobody's, and without a body that is a blob."""
    body = message.body if message.blob is None else None
    return replace(message, body=body, state=MessageState.QUEUED, lease_owner=None)


def check_room(key: ActorKey, queued: int, max_queued: int | None) -> None:
    """Refuse a message when more than ``max_queued`` wait."""
    if max_queued is not None and queued > max_queued:
        raise LimitExceededError(
            f"{queued} messages wait for actor {key.id!r}, more than {max_queued}"
        )


def check_final(outcome: Outcome) -> None:
    """Refuse an outcome that would not end its execution."""
    if outcome.status not in FINAL:
        raise ValueError(f"{outcome.status} is not a final status")


def refuse_claim(
    *,
    actor: ActorStatus | None,
    actor_revision: int,
    worker: WorkerStatus | None,
    worker_revision: int,
    queued: int,
    is_blocked: bool,
) -> Refusal | None:
    """Decide whether a worker may take the head of the queue.

    Of several reasons the one that ends most comes first: the actor, the worker, its revision.

    Args:
        actor: None when the actor is absent; likewise ``worker``.
        actor_revision: The actor's present revision.
        worker: The worker's present status.
        worker_revision: The revision the worker serves.
        queued: Messages that wait.
        is_blocked: Whether a stateful actor has a leased message.

    """
    if actor not in RUNNABLE:
        return Refusal.ACTOR_STOPPED
    if worker is not WorkerStatus.READY:
        return Refusal.NOT_READY
    if actor_revision != worker_revision:
        return Refusal.STALE
    return Refusal.EMPTY if not queued or is_blocked else None


def is_called_back(
    *,
    is_retiring: bool,
    worker_revision: int,
    actor: ActorStatus | None,
    actor_revision: int,
    queued: int,
) -> bool:
    """Decide whether a worker that was told to go stays for a message."""
    is_current = actor in RUNNABLE and worker_revision == actor_revision
    return is_retiring and is_current and queued > 0


def refuse_halt(execution: Execution) -> None:
    """Raise ConflictError unless the execution is RUNNING."""
    if execution.status is not ExecutionStatus.RUNNING:
        raise ConflictError(
            f"execution {execution.id!r} is {execution.status}; only a RUNNING one can be halted"
        )


def deletion(now: datetime) -> Outcome:
    """Return the outcome of a message whose actor is deleted before it ran."""
    return Outcome(
        status=ExecutionStatus.ERROR, finish_time=now, error=str(HaltReason.ACTOR_DELETED)
    )


def end_instead(*, has_actor: bool, halt: HaltReason | None, now: datetime) -> Outcome | None:
    """Return the outcome of a released message that must not run again; None when it may."""
    if not has_actor:
        return deletion(now)
    if halt is None:
        return None
    error = f"its container was lost while it was to be stopped: {halt}"
    return Outcome(status=ExecutionStatus.ERROR, finish_time=now, error=error)


class LogCut(NamedTuple):
    """What of an append is stored, and the log's figures after it."""

    data: bytes
    bytes_seen: int
    is_truncated: bool


def cut_log(
    *, seen: int, kept: int, is_truncated: bool, offset: int, data: bytes, max_bytes: int
) -> LogCut:
    """Drop what was seen before and what is past the limit. Raises ConflictError at a gap.

    Args:
        seen: Bytes of output counted so far.
        kept: Bytes stored now.
        is_truncated: Whether some were left out already; nothing is stored after a hole.
        offset: Where ``data`` begins in all output.
        data: The output.
        max_bytes: Most bytes that may be stored in all.

    """
    if offset > seen:
        raise ConflictError(f"output from byte {offset} on, but only {seen} were stored before")
    fresh = data[seen - offset :]
    room = 0 if is_truncated else max(0, max_bytes - kept)
    return LogCut(fresh[:room], seen + len(fresh), is_truncated or len(fresh) > room)


def check_vacant(
    holder: str | None, expires_at: datetime | None, newcomer: str, now: datetime
) -> None:
    """Raise ConflictError while another process's heartbeat is fresh."""
    if holder is not None and holder != newcomer and expires_at is not None and expires_at > now:
        raise ConflictError(
            f"this store is in use by {holder}, seen until {expires_at.isoformat()}"
        )
