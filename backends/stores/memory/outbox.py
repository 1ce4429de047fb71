"""Events and the secrets of webhooks in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from abaco.domain.actor import ActorKey
from abaco.domain.event import Event, EventKey
from abaco.domain.execution import Execution
from abaco.domain.message import Message
from abaco.ports.intake import ANY_ROOM, Room, Submission
from abaco.ports.outbox import Outbox
from abaco.ports.vault import Sealed, SealedStore
from backends.stores import event_rules
from backends.stores.event_rules import parse_place, place_of
from backends.stores.memory.intake import MemoryIntake
from backends.stores.memory.state import State


class MemoryOutbox(Outbox):
    """A dictionary of events per actor, in order."""

    def __init__(self, state: State) -> None:
        self._state = state

    def _find(self, key: EventKey) -> Event | None:
        return self._state.events.get(key.actor, {}).get(key.seq)

    async def with_events(self, among: Collection[ActorKey] | None = None) -> list[ActorKey]:
        """Return the actors that have events, by (tenant, id)."""
        found = self._state.events if among is None else self._state.events.keys() & set(among)
        return sorted(found)

    async def head(self, actor: ActorKey) -> Event | None:
        """Return the actor's oldest event."""
        waiting = self._state.events.get(actor)
        if not waiting:
            return None
        secret = self._state.webhook_secrets.get(actor, "")
        return replace(next(iter(waiting.values())), webhook_secret=secret)

    async def deliver_link(
        self, key: EventKey, execution: Execution, message: Message, *, room: Room = ANY_ROOM
    ) -> bool:
        """Submit the link message and end the leg."""
        event = self._find(key)
        if event is None or not event.is_link_waiting:
            return False
        # waits for nothing, so nobody comes between
        await MemoryIntake(self._state).submit(
            [Submission(execution, message)], now=message.enqueued_at, room=room
        )
        self._state.put_event(key, event_rules.without_link(event, message.actor_id))
        return True

    async def drop_link(self, key: EventKey) -> bool:
        """End the link's leg without a message."""
        event = self._find(key)
        if event is None or not event.is_link_waiting:
            return False
        self._state.put_event(key, event_rules.without_link(event, None))
        return True

    async def settle_webhook(
        self, key: EventKey, attempts: int, *, retry_at: datetime | None
    ) -> bool:
        """Note that one more request was made."""
        event = self._find(key)
        if event is None or not event.is_webhook_waiting or event.attempts != attempts:
            return False
        self._state.put_event(key, event_rules.after_request(event, retry_at))
        return True


class MemoryWebhookSecrets(SealedStore):
    """A dictionary of secrets by actor."""

    def __init__(self, state: State) -> None:
        self._secrets = state.webhook_secrets

    async def list_sealed(self, *, after: str | None = None, limit: int = 100) -> list[Sealed]:
        """Page the secrets, by (actor's id, tenant)."""
        start = ("", "") if after is None else (parse_place(after).id, parse_place(after).tenant)
        keys = sorted((key.id, key.tenant) for key in self._secrets)
        found = [ActorKey(tenant, actor) for actor, tenant in keys if (actor, tenant) > start]
        return [Sealed(place_of(key.tenant, key.id), self._secrets[key]) for key in found[:limit]]

    async def reseal(self, present: Sealed, ciphertext: str) -> bool:
        """Replace a secret if it is still the present one."""
        key = parse_place(present.place)
        if self._secrets.get(key) != present.ciphertext:
            return False
        self._secrets[key] = ciphertext
        return True
