"""An event: something that happened to an actor and is told to its link and its webhook.

Source: the older Abaco (names, payload). An event is written in the transaction that makes it
happen, if the actor has somebody to tell then, and waits until both legs are over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from abaco.domain.actor import ActorKey, ActorStatus
from abaco.domain.execution import ExecutionStatus, Outcome
from abaco.domain.ids import ActorId, ExecutionId, Tenant
from abaco.domain.times import time_text

#: who sends link messages
EVENT_USER = "Abaco Event"

#: an event of an execution that was caused by that many events is told to no other actor
MAX_HOPS = 10


class EventType(StrEnum):
    """The words of the API."""

    ACTOR_READY = "ACTOR_READY"
    ACTOR_ERROR = "ACTOR_ERROR"
    EXECUTION_STARTED = "EXECUTION_STARTED"
    EXECUTION_COMPLETE = "EXECUTION_COMPLETE"


_OF_STATUS: Mapping[ActorStatus, EventType] = {
    ActorStatus.READY: EventType.ACTOR_READY,
    ActorStatus.ERROR: EventType.ACTOR_ERROR,
}


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened; ``details`` are the keys this type adds to the payload."""

    type: EventType
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPolicy:
    """Which happenings are events."""

    emit_started: bool = False
    emit_error_completions: bool = True

    def of_status(self, before: ActorStatus, after: ActorStatus, message: str) -> Happening | None:
        """Return what a change of an actor's status is; None when it stays, or is no event."""
        if before is after or after not in _OF_STATUS:
            return None
        return Happening(_OF_STATUS[after], {"status_message": message})

    def of_start(self, execution_id: ExecutionId) -> Happening | None:
        """Return what the start of an execution is."""
        if not self.emit_started:
            return None
        return Happening(EventType.EXECUTION_STARTED, {"execution_id": execution_id})

    def of_end(self, execution_id: ExecutionId, outcome: Outcome) -> Happening | None:
        """Return what the end of an execution is."""
        if outcome.status is ExecutionStatus.ERROR and not self.emit_error_completions:
            return None
        details = {
            "execution_id": execution_id,
            "status": str(outcome.status),
            "exit_code": outcome.exit_code,
        }
        return Happening(EventType.EXECUTION_COMPLETE, details)


class EventKey(NamedTuple):
    """Tenant, actor and the event's number among the actor's."""

    tenant: Tenant
    actor_id: ActorId
    seq: int

    @property
    def actor(self) -> ActorKey:
        """Key of the actor it happened to."""
        return ActorKey(self.tenant, self.actor_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event that waits for delivery. Invariant: at least one leg waits.

    Attributes:
        seq: Place among the actor's events, from 1.
        api_server: Of the actor.
        link: The actor's link as it was then: id or alias, "" for none.
        webhook: The actor's webhook as it was then, "" for none.
        webhook_secret: Sealed; signs the webhook's requests, "" when they are not signed.
        hops: How many events lie on the way here, this one included.
        target: Who was given the link message, once somebody was.
        attempts: Requests made to the webhook so far.
        next_attempt_at: No request before this.

    """

    tenant: Tenant
    actor_id: ActorId
    seq: int
    type: EventType
    time: datetime
    details: Mapping[str, Any]
    api_server: str
    link: str
    webhook: str
    webhook_secret: str = ""
    hops: int = 1
    is_link_waiting: bool
    is_webhook_waiting: bool
    target: ActorId | None = None
    attempts: int = 0
    next_attempt_at: datetime

    @property
    def key(self) -> EventKey:
        """Tenant, actor id and number as one hashable key."""
        return EventKey(self.tenant, self.actor_id, self.seq)

    @property
    def id(self) -> str:
        """What receivers tell repeats by: the same for every attempt."""
        return f"evt_{self.actor_id}_{self.seq}"


def payload(event: Event, target: ActorId | None) -> dict[str, Any]:
    """Return the map both legs carry; ``target`` is whom the link leads to."""
    time = time_text(event.time)
    actor = event.key.actor
    return {
        "event_type": str(event.type),
        "event_time_utc": time,
        "event_time_display": time,
        "tenant_id": event.tenant,
        "actor_id": event.actor_id,
        "actor_dbid": actor.dbid,
        "_abaco_link": "" if target is None else ActorKey(event.tenant, target).dbid,
        "_abaco_webhook": event.webhook,
        **event.details,
    }


def webhook_body(event: Event) -> dict[str, Any]:
    """Return what a webhook is sent."""
    return {
        **payload(event, event.target),
        "_abaco_Content_Type": "application/json",
        "_abaco_username": EVENT_USER,
        "_abaco_api_server": event.api_server,
    }
