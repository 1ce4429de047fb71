"""What every store decides alike about events and the links they travel along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from abaco.config import Settings
from abaco.domain.actor import ActorKey
from abaco.domain.event import Event, EventPolicy, Happening
from abaco.domain.ids import ActorId, Tenant
from abaco.errors import InvalidInputError

#: clients of the older Abaco look for this text
LINK_CYCLE = "this update would result in a cycle of linked actors"


def policy_of(settings: Settings) -> EventPolicy:
    """Return which happenings are events here."""
    runtime = settings.runtime
    return EventPolicy(
        emit_started=runtime.emit_started, emit_error_completions=runtime.emit_error_completions
    )


def check_links(
    start: ActorKey, follow: Callable[[ActorKey], ActorKey | None], *, field: str
) -> None:
    """Refuse an actor from which links lead back to itself.

    Args:
        start: The actor whose link, or an alias of which, has changed.
        follow: Tells whom an actor's link leads to; None when to nobody.
        field: The parameter that is to blame.

    Raises:
        InvalidInputError: They do.

    """
    passed = set[ActorKey]()
    key = follow(start)
    while key is not None and key not in passed:
        if key == start:
            raise InvalidInputError(LINK_CYCLE, field=field)
        passed.add(key)
        key = follow(key)


def check_new_link(
    start: ActorKey, link: str, follow: Callable[[ActorKey], ActorKey | None]
) -> None:
    """Refuse a link that an actor is given if it leads to nobody, or back.

    To nobody: the alias went while somebody linked by it, and the name may come to mean another.

    Raises:
        InvalidInputError: It does.

    """
    if link and follow(start) is None:
        raise InvalidInputError(f"link: there is no actor or alias {link!r}", field="link")
    check_links(start, follow, field="link")


def fresh_event(
    actor: ActorKey,
    seq: int,
    happening: Happening,
    *,
    api_server: str,
    link: str,
    webhook: str,
    hops: int,
    now: datetime,
) -> Event:
    """Make the event of something that has just happened to an actor that is listened to."""
    return Event(
        tenant=actor.tenant,
        actor_id=actor.id,
        seq=seq,
        type=happening.type,
        time=now,
        details=happening.details,
        api_server=api_server,
        link=link,
        webhook=webhook,
        hops=hops,
        is_link_waiting=bool(link),
        is_webhook_waiting=bool(webhook),
        next_attempt_at=now,
    )


def without_link(event: Event, target: ActorId | None) -> Event | None:
    """Return the event as it waits on once its link is served; None when it is over."""
    left = replace(event, is_link_waiting=False, target=target)
    return left if left.is_webhook_waiting else None


def after_request(event: Event, retry_at: datetime | None) -> Event | None:
    """Return the event as it waits on after a request; None when it is over."""
    attempts = event.attempts + 1
    if retry_at is not None:
        return replace(event, attempts=attempts, next_attempt_at=retry_at)
    left = replace(event, attempts=attempts, is_webhook_waiting=False)
    return left if left.is_link_waiting else None


def place_of(tenant: str, actor_id: str) -> str:
    """Name the place of an actor's secret."""
    return f"{actor_id} {tenant}"


def parse_place(place: str) -> ActorKey:
    """Return the actor whose secret is there; no id has a blank in it."""
    actor_id, _, tenant = place.partition(" ")
    return ActorKey(Tenant(tenant), ActorId(actor_id))
