"""Tell linked actors of events, and see that links and webhooks are set only where they may be."""

from __future__ import annotations

import json

from abaco.domain.actor import Actor
from abaco.domain.caller import Caller
from abaco.domain.context import CONTENT_TYPE_JSON
from abaco.domain.event import EVENT_USER, MAX_HOPS, Event, payload, webhook_body
from abaco.domain.execution import Execution
from abaco.domain.ids import ExecutionId
from abaco.domain.message import Message
from abaco.domain.permission import WORLD, Level, effective_level
from abaco.domain.webhook import HOPS_HEADER, WebhookPolicy, signed_headers
from abaco.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    ThrottledError,
)
from abaco.operations.access import NO_ACTOR_ACCESS, find_actor, has_level
from abaco.operations.intake import room_of
from abaco.operations.services import Services
from abaco.ports.notices import Topic

NOT_ALLOWED = "nobody who may update the actor may execute the one it is linked to"
TOO_MANY_HOPS = f"it lies more than {MAX_HOPS} events behind the first"


async def check_link(services: Services, caller: Caller, link: str) -> None:
    """See that an actor may be linked to what is named, unless nothing is.

    Raises:
        InvalidInputError: There is no such actor or alias, or the caller may not execute it.

    """
    if not link:
        return
    try:
        target = await find_actor(services, caller.tenant, link)
    except NotFoundError as error:
        raise InvalidInputError(f"link: {error.message}", field="link") from error
    if not await has_level(services, caller, target.key.shared, Level.EXECUTE):
        raise InvalidInputError(f"link: {NO_ACTOR_ACCESS}", field="link")


async def deliver_link(services: Services, event: Event) -> str | None:
    """Give an event to whom the actor is linked, or end that leg when nobody can have it.

    Safe to repeat: the message is submitted once.

    Returns:
        Why nobody was given it; None when somebody was.

    """
    if event.hops > MAX_HOPS:
        await services.stores.outbox.drop_link(event.key)
        return TOO_MANY_HOPS
    try:
        # resolved now, so that an alias that was pointed elsewhere leads there
        target = await find_actor(services, event.tenant, event.link)
        if not await _may_be_told(services, event, target):
            raise ForbiddenError(NOT_ALLOWED)
        execution, message = _make(services, event, target)
        await services.stores.outbox.deliver_link(
            event.key, execution, message, room=room_of(services, target)
        )
    except (NotFoundError, ConflictError, ForbiddenError, ThrottledError) as error:
        await services.stores.outbox.drop_link(event.key)
        return error.message
    services.notices.publish(Topic.MAILBOX, target.key)
    return None


async def _may_be_told(services: Services, event: Event, target: Actor) -> bool:
    """Tell whether somebody who may update the actor may execute the one it is linked to.

    Entries decide and not roles, as they are now. An actor that is gone has none: the events of
    its end go where its link led.
    """
    levels = await services.stores.permissions.levels(event.key.actor.shared)
    updaters = {user for user, level in levels.items() if level >= Level.UPDATE}
    if not levels or WORLD in updaters:
        return True
    theirs = await services.stores.permissions.levels(target.key.shared)
    return any(effective_level(theirs, user) >= Level.EXECUTE for user in updaters)


def _make(services: Services, event: Event, target: Actor) -> tuple[Execution, Message]:
    now = services.clock.now()
    execution = Execution(
        tenant=target.tenant,
        actor_id=target.id,
        id=ExecutionId(services.ids.new_id()),
        api_server=event.api_server,
        executor=EVENT_USER,
        message_received_time=now,
    )
    message = Message(
        tenant=target.tenant,
        actor_id=target.id,
        execution_id=execution.id,
        body=payload(event, target.id),
        content_type=CONTENT_TYPE_JSON,
        username=EVENT_USER,
        api_server=event.api_server,
        enqueued_at=now,
        revision=target.revision,
        hops=event.hops,
    )
    return execution, message


def webhook_policy(services: Services) -> WebhookPolicy:
    """Return which receivers may be reached."""
    settings = services.settings
    return WebhookPolicy.read(
        settings.runtime.webhook_allow, settings.web.every_value("api_server")
    )


def webhook_request(services: Services, event: Event) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of a request made now.

    Raises:
        VaultError: The secret it is signed with cannot be read.

    """
    body = json.dumps(webhook_body(event)).encode()
    secret = services.vault.decrypt(event.webhook_secret) if event.webhook_secret else ""
    now_s = int(services.clock.now().timestamp())
    return body, {
        **signed_headers(event.id, now_s, body, secret),
        HOPS_HEADER: str(event.hops),
    }
