"""Post messages, count and purge them, and wait for what comes of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abaco.domain.actor import Actor
from abaco.domain.caller import Caller
from abaco.domain.context import build_environment
from abaco.domain.execution import (
    FINAL,
    Execution,
    ExecutionKey,
    ExecutionStatus,
    HaltReason,
    Outcome,
)
from abaco.domain.ids import ExecutionId, WorkerId
from abaco.domain.message import Message
from abaco.errors import InvalidInputError, TooLargeError
from abaco.operations.logs import stored_text
from abaco.operations.services import Services
from abaco.ports.notices import Subscription, Topic

#: a synchronous message is refused when more wait. Source: api of the older Abaco
SYNC_MAX_QUEUED = 3

#: ``outcome.error`` of a message that was purged
PURGED = "purged"

#: errors of messages that somebody gave up on purpose
_GIVEN_UP = frozenset({PURGED, str(HaltReason.ACTOR_DELETED)})

#: stands for the worker that is not known yet, so that sizes can be checked
_ANY_WORKER = WorkerId("0" * 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What a client posted. ``environment`` holds the query parameters in order."""

    body: Any
    content_type: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """An accepted message."""

    actor: Actor
    execution: Execution
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """The execution answered: its first result, or else (``result`` None) its whole log."""

    execution: ExecutionKey
    result: bytes | None
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The execution ended in ERROR."""

    execution: ExecutionKey
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """The message was purged, or its actor deleted, before it could be answered."""

    execution: ExecutionKey
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StillRunning:
    """Nothing came in time; the execution goes on."""

    execution: ExecutionKey


Reply = Replied | Failed | GivenUp | StillRunning


async def post(services: Services, caller: Caller, actor: Actor, posted: Post) -> Posted:
    """Accept a message: execution and mailbox row are durable when this returns.

    Raises:
        NotFoundError: The actor is gone.
        ConflictError: It is being deleted.
        InvalidInputError: A container could not be given this message.

    """
    execution, message = _make(services, caller, actor, posted)
    return await _submit(services, actor, execution, message)


async def post_and_wait(
    services: Services, caller: Caller, actor: Actor, posted: Post, *, timeout_s: float
) -> Reply:
    """Accept a message and wait for its first result or its end.

    When the waiting is cancelled the execution goes on.

    Raises:
        NotFoundError: The actor is gone.
        ConflictError: It is being deleted.
        InvalidInputError: A container could not be given this message.
        LimitExceededError: Too many messages wait already.

    """
    execution, message = _make(services, caller, actor, posted)
    deadline = services.clock.monotonic() + timeout_s
    with services.notices.subscribe(
        Topic.EXECUTION, Topic.RESULT, key=execution.key
    ) as subscription:
        await _submit(services, actor, execution, message, max_queued=SYNC_MAX_QUEUED)
        return await _await_reply(services, execution.key, subscription, deadline)


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
    for execution_id in purged:
        key = ExecutionKey(actor.tenant, actor.id, execution_id)
        services.notices.publish(Topic.EXECUTION, key)
    return len(purged)


def _make(
    services: Services, caller: Caller, actor: Actor, posted: Post
) -> tuple[Execution, Message]:
    now = services.clock.now()
    execution_id = ExecutionId(services.ids.new_id())
    execution = Execution(
        tenant=actor.tenant,
        actor_id=actor.id,
        id=execution_id,
        api_server=caller.api_server,
        executor=caller.user,
        message_received_time=now,
    )
    message = Message(
        tenant=actor.tenant,
        actor_id=actor.id,
        execution_id=execution_id,
        body=posted.body,
        content_type=posted.content_type,
        environment=posted.environment,
        username=caller.user,
        api_server=caller.api_server,
        jwt_header=caller.jwt_header,
        revision=actor.revision,
        enqueued_at=now,
    )
    try:
        build_environment(actor, message, _ANY_WORKER, access_token="")
    except (InvalidInputError, TooLargeError) as error:
        # The text names the variable, which is no parameter of ours to be spelled.
        raise InvalidInputError(error.message) from error
    return execution, message


async def _submit(
    services: Services,
    actor: Actor,
    execution: Execution,
    message: Message,
    *,
    max_queued: int | None = None,
) -> Posted:
    stored = await services.stores.mailbox.submit(execution, message, max_queued=max_queued)
    services.notices.publish(Topic.MAILBOX, actor.key)
    return Posted(actor=actor, execution=execution, message=stored)


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
