"""Post messages, one or many, count and purge them, and wait for what comes of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from abaco.domain.actor import Actor
from abaco.domain.caller import Caller
from abaco.domain.execution import (
    FINAL,
    Execution,
    ExecutionKey,
    ExecutionStatus,
    HaltReason,
    Outcome,
)
from abaco.domain.ids import ExecutionId
from abaco.domain.message import Message
from abaco.errors import RequestError
from abaco.metrics import EXECUTIONS
from abaco.operations.intake import Post as Post
from abaco.operations.intake import accept, make, make_all
from abaco.operations.logs import stored_text
from abaco.operations.services import Services
from abaco.operations.uploads import forget
from abaco.ports.notices import Subscription, Topic

#: a synchronous message is refused when more wait. Source: api of the older Abaco
SYNC_MAX_QUEUED = 3

#: ``outcome.error`` of a message that was purged
PURGED = "purged"

#: errors of messages that somebody gave up on purpose
_GIVEN_UP = frozenset({PURGED, str(HaltReason.ACTOR_DELETED)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """An accepted message."""

    actor: Actor
    execution: Execution
    message: Message
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedBatch:
    """Accepted messages; their executions in the order of the messages."""

    actor: Actor
    execution_ids: tuple[ExecutionId, ...]
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """The execution answered: its first result, or else (``result`` None) its whole log."""

    execution: ExecutionKey
    result: bytes | None
    log: str
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The execution ended in ERROR."""

    execution: ExecutionKey
    reason: str
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """The message was purged, or its actor deleted, before it could be answered."""

    execution: ExecutionKey
    reason: str
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StillRunning:
    """Nothing came in time; the execution goes on."""

    execution: ExecutionKey
    is_replay: bool = False


Reply = Replied | Failed | GivenUp | StillRunning


async def post(
    services: Services, caller: Caller, actor: Actor, posted: Post, *, key: str | None = None
) -> Posted:
    """Accept a message: execution and mailbox row are durable when this returns.

    With a key that the caller has used for this actor before, and with the same message, the
    execution of then is returned.

    Raises:
        NotFoundError: The actor is gone.
        ConflictError: It is being deleted.
        InvalidInputError: A container could not be given this message, or the key is none.
        KeyReusedError: The key was used for another message.
        ThrottledError: Too many messages wait.
        StoreUnavailableError: The disk is nearly full.

    """
    return await _post(services, caller, actor, posted, key=key)


async def post_batch(
    services: Services,
    caller: Caller,
    actor: Actor,
    posts: Sequence[Post],
    *,
    key: str | None = None,
) -> PostedBatch:
    """Accept messages, all or none, in one step; a key is for all of them together.

    Raises:
        NotFoundError: The actor is gone.
        ConflictError: It is being deleted.
        InvalidInputError: A container could not be given one of them, or the key is none.
        KeyReusedError: The key was used for another batch, or for a message.
        ThrottledError: Too many messages wait.
        StoreUnavailableError: The disk is nearly full.

    """
    services.space.check()
    batch = await make_all(services, caller, actor, posts)
    receipt = await accept(services, actor, batch, kind="batch", key=key)
    return PostedBatch(
        actor=actor, execution_ids=receipt.execution_ids, is_replay=receipt.is_replay
    )


async def post_and_wait(
    services: Services,
    caller: Caller,
    actor: Actor,
    posted: Post,
    *,
    timeout_s: float,
    key: str | None = None,
) -> Reply:
    """Accept a message and wait for its first result or its end.

    When the waiting is cancelled the execution goes on. A repeat waits for the execution of then;
    what that has handed back before is not handed back again.

    Raises:
        NotFoundError: The actor is gone.
        ConflictError: It is being deleted.
        InvalidInputError: A container could not be given this message, or the key is none.
        KeyReusedError: The key was used for another message.
        LimitExceededError: Too many messages wait for a synchronous one.
        ThrottledError: Too many messages wait.
        StoreUnavailableError: The disk is nearly full.

    """
    deadline = services.clock.monotonic() + timeout_s
    accepted = await _post(services, caller, actor, posted, key=key, before=SYNC_MAX_QUEUED)
    execution = accepted.execution.key
    with services.notices.subscribe(Topic.EXECUTION, Topic.RESULT, key=execution) as subscription:
        reply = await _await_reply(services, execution, subscription, deadline)
    return replace(reply, is_replay=accepted.is_replay)


async def count(services: Services, actor: Actor) -> int:
    """Return how many messages wait; the one being run does not count."""
    return await services.stores.mailbox.count(actor.key)


async def purge(services: Services, actor: Actor) -> int:
    """Give up all waiting messages; their executions end in ERROR.

    Returns:
        How many messages were given up.

    """
    outcome = Outcome(status=ExecutionStatus.ERROR, finish_time=services.clock.now(), error=PURGED)
    purged = await services.stores.mailbox.purge(actor.key, outcome)
    EXECUTIONS.labels(outcome.status.value, "purged").inc(len(purged))
    await forget(services, purged)
    for execution_id in purged:
        key = ExecutionKey(actor.tenant, actor.id, execution_id)
        services.notices.publish(Topic.EXECUTION, key)
    return len(purged)


async def _post(
    services: Services,
    caller: Caller,
    actor: Actor,
    posted: Post,
    *,
    key: str | None,
    before: int | None = None,
) -> Posted:
    if posted.blob is None:  # what came as a file was let in before
        services.space.check()
    try:
        made = make(services, caller, actor, posted)
    except RequestError:
        await forget(services, [posted.execution_id] if posted.execution_id else [])
        raise
    receipt = await accept(services, actor, [made], key=key, before=before)
    (execution_id,) = receipt.execution_ids
    return Posted(
        actor=actor,
        execution=replace(made.execution, id=execution_id),
        message=replace(made.message, execution_id=execution_id),
        is_replay=receipt.is_replay,
    )


async def _await_reply(
    services: Services, key: ExecutionKey, subscription: Subscription, deadline: float
) -> Reply:
    while True:
        # Status first: results are stored before it turns final, so none is missed.
        execution = await services.stores.executions.get(key)
        result = await services.stores.results.pop(key, services.clock.now())
        if result is not None:
            return Replied(execution=key, result=result, log="")
        if execution.status is ExecutionStatus.ERROR:
            reason = execution.outcome.error if execution.outcome else ""
            return (GivenUp if reason in _GIVEN_UP else Failed)(execution=key, reason=reason)
        if execution.status in FINAL:
            return Replied(execution=key, result=None, log=await stored_text(services, execution))
        left_s = deadline - services.clock.monotonic()
        if left_s <= 0 or not await subscription.wait(left_s):
            return StillRunning(execution=key)
