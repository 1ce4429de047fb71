"""Make messages of what clients posted, and have them accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from abaco.domain.actor import Actor
from abaco.domain.caller import Caller
from abaco.domain.context import (
    CONTENT_TYPE_TEXT,
    NONCE_VARIABLE,
    SYNCHRONOUS_VARIABLE,
    build_environment,
    is_reserved,
    python_text,
)
from abaco.domain.execution import Execution
from abaco.domain.ids import ExecutionId, WorkerId
from abaco.domain.message import Blob, Message
from abaco.domain.repeat import Sent, check_key, digest_of
from abaco.errors import InvalidInputError, RequestError, TooLargeError
from abaco.operations.services import Services
from abaco.operations.uploads import describe, forget, put_aside
from abaco.ports.intake import Receipt, RetryKey, Room, Submission
from abaco.ports.notices import Topic

#: messages of a batch that are checked before others get their turn. Source: measured, 100 take
#: about 4 ms
SLICE = 100

#: stands for the worker that is not known yet, so that sizes can be checked
_ANY_WORKER = WorkerId("0" * 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What a client posted.

    Attributes:
        environment: The query parameters in order.
        nonce: The one that the sender proved itself with.
        is_synchronous: Whether the sender waits for what comes of it.
        hops: Events that lie behind it, when the client is a webhook of ours.
        execution_id: Of the execution to be, where it is known before.
        blob: The body, which was received into a file named after the execution.

    """

    body: Any
    content_type: str
    environment: Mapping[str, str]
    nonce: str | None = None
    is_synchronous: bool = False
    hops: int = 0
    execution_id: ExecutionId | None = None
    blob: Blob | None = None


def make(services: Services, caller: Caller, actor: Actor, posted: Post) -> Submission:
    """Make a message and its execution.

    Raises:
        InvalidInputError: A container could not be given this message.

    """
    now = services.clock.now()
    execution_id = posted.execution_id or ExecutionId(services.ids.new_id())
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
        environment=_environment(services, posted),
        username=caller.user,
        api_server=caller.api_server,
        jwt_header=caller.jwt_header,
        revision=actor.revision,
        hops=posted.hops,
        enqueued_at=now,
        blob=posted.blob,
    )
    return Submission(execution, _fitted(services, actor, message))


def _environment(services: Services, posted: Post) -> Mapping[str, str]:
    """Return what a sender may set, and what the server passes on of how it was sent."""
    environment = {
        name: value for name, value in posted.environment.items() if not is_reserved(name)
    }
    if services.settings.runtime.inject_nonce:
        if posted.nonce is not None:
            environment[NONCE_VARIABLE] = posted.nonce
        if posted.is_synchronous:
            environment[SYNCHRONOUS_VARIABLE] = "true"
    return environment


def _fitted(services: Services, actor: Actor, message: Message) -> Message:
    """Return a message whose container can be given it, as a file where that is allowed."""
    has_bundle = services.settings.runtime.actor_ca_bundle is not None

    def check(candidate: Message) -> None:
        build_environment(actor, candidate, _ANY_WORKER, access_token="", has_ca_bundle=has_bundle)

    try:
        try:
            check(message)
        except TooLargeError:
            if message.blob or services.settings.runtime.oversize_message == "reject":
                raise
            message = replace(message, blob=describe(message))
            check(message)
    except (InvalidInputError, TooLargeError) as error:
        # The text names the variable, which is no parameter of ours to be spelled.
        raise InvalidInputError(error.message) from error
    return message


async def make_all(
    services: Services, caller: Caller, actor: Actor, posts: Sequence[Post]
) -> list[Submission]:
    """Make the messages of a batch.

    Raises:
        InvalidInputError: Names the number of the message, from 0.

    """
    made: list[Submission] = []
    for number, posted in enumerate(posts):
        if number % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        try:
            made.append(make(services, caller, actor, posted))
        except InvalidInputError as error:
            raise InvalidInputError(f"item {number}: {error.message}", field="messages") from error
    return made


async def accept(
    services: Services,
    actor: Actor,
    batch: Sequence[Submission],
    *,
    kind: str = "one",
    key: str | None = None,
    before: int | None = None,
) -> Receipt:
    """Have messages accepted: executions and mailbox rows are durable when this returns.

    Args:
        services: Ports and settings.
        actor: Whose messages they are.
        batch: At least one.
        kind: Of request, for the key.
        key: The client's idempotency key, if it sent one.
        before: Most messages that may wait already.

    Raises:
        NotFoundError: The actor is gone.
        ConflictError: It is being deleted.
        InvalidInputError: The key is none.
        KeyReusedError: It was used for another request.
        LimitExceededError: More than ``before`` messages wait.
        ThrottledError: The mailbox, or the tenant's all together, would be too full.

    """
    in_files = [message.execution_id for _, message in batch if message.blob is not None]
    now = services.clock.now()
    room = room_of(services, actor, before)
    try:
        retry_key = None if key is None else _retry_key(services, batch, kind, key)
        await put_aside(services, batch)
        receipt = await services.stores.intake.submit(batch, now=now, room=room, key=retry_key)
    except RequestError:  # of other errors nobody knows whether the messages were accepted
        await forget(services, in_files)
        raise
    if receipt.is_replay:
        await forget(services, in_files)
    # For a repeat too: whoever lost the answer may have lost the wake-up with it.
    services.notices.publish(Topic.MAILBOX, actor.key)
    return receipt


def _retry_key(services: Services, batch: Sequence[Submission], kind: str, text: str) -> RetryKey:
    check_key(text)
    sent = (Sent(_content(each), each.content_type, each.environment) for _, each in batch)
    lifetime = timedelta(seconds=services.settings.runtime.idempotency_ttl)
    return RetryKey(
        user=batch[0].execution.executor,
        text=text,
        digest=digest_of(kind, sent),
        expires_at=services.clock.now() + lifetime,
    )


def _content(message: Message) -> Any:
    if message.blob is not None:
        return {"sha256": message.blob.sha256}
    # JSON and a form that say the same are the same
    is_text = message.content_type == CONTENT_TYPE_TEXT
    return python_text(message.body) if is_text else message.body


def room_of(services: Services, actor: Actor, before: int | None = None) -> Room:
    """Return the limits an actor's mailbox has."""
    runtime = services.settings.runtime
    limits = [
        runtime.for_tenant(key, actor.tenant) for key in ("max_mailbox", "max_tenant_mailbox")
    ]
    for_actor, for_tenant = (None if limit < 0 else limit for limit in limits)
    return Room(before=before, actor=for_actor, tenant=for_tenant)
