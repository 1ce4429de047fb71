"""Tells links and webhooks what happened.

One delivery per actor, event by event in their order; actors side by side. An event's link is
served at once. Its webhook is asked until it has answered or is given up, and the actor's later
events wait for that, which is what order costs; other actors' do not.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Collection
from datetime import timedelta
from functools import partial

from abaco.domain.actor import ActorKey
from abaco.domain.event import MAX_HOPS, Event
from abaco.errors import VaultError
from abaco.lifecycle.redelivery import RedeliveryPolicy
from abaco.metrics import EVENTS
from abaco.operations.events import (
    TOO_MANY_HOPS,
    deliver_link,
    webhook_policy,
    webhook_request,
)
from abaco.operations.services import Services
from abaco.ports.notices import Topic
from abaco.ports.webhooks import Answer, Verdict, WebhookSender
from agents.persist import persist
from agents.supervisor import Supervisor

_log = logging.getLogger(__name__)

#: first requests on their way at once, and repeated ones: receivers that did not answer before
#: leave the others their room
FIRST_REQUESTS = 64
REPEATED_REQUESTS = 32

#: seconds before a delivery that failed with a fault of ours is begun again
FAULT_PAUSE_S = 30.0


class EventCourier:
    """Looks after the deliveries of all actors.

    Args:
        services: What the operations work with.
        supervisor: Runs a delivery per actor that has events.
        sender: Makes requests to receivers outside.

    """

    def __init__(self, services: Services, supervisor: Supervisor, sender: WebhookSender) -> None:
        runtime = services.settings.runtime
        self._services = services
        self._outbox = services.stores.outbox
        self._supervisor = supervisor
        self._sender = sender
        self._policy = webhook_policy(services)
        self._redelivery = RedeliveryPolicy(
            max_attempts=runtime.webhook_attempts, backoff_s=runtime.webhook_backoff
        )
        self._first = asyncio.Semaphore(FIRST_REQUESTS)
        self._repeated = asyncio.Semaphore(REPEATED_REQUESTS)
        #: actors with a delivery
        self._busy: set[ActorKey] = set()
        #: of these, the ones that may have got another event since it last looked
        self._news: set[ActorKey] = set()
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Begin deliveries until cancelled."""
        # whatever writes an event changes the status of an actor or of an execution
        with self._services.notices.subscribe(Topic.ACTOR, Topic.EXECUTION) as notices:
            await self._begin(None)
            while True:
                await notices.wait()
                noticed = notices.take()
                keys = {key if isinstance(key, ActorKey) else key.actor for key in noticed}
                self._news |= keys & self._busy
                if keys := keys - self._busy:
                    await self._begin(keys)

    async def _begin(self, among: Collection[ActorKey] | None) -> None:
        for key in await persist(partial(self._outbox.with_events, among)):
            if key in self._busy:
                self._news.add(key)
                continue
            self._busy.add(key)
            # a delivery may end in the very moment another one is due
            name = f"events-{key.id}-{next(self._numbers)}"
            self._supervisor.start_once(name, partial(self._deliver, key), partial(self._end, key))

    async def _end(self, key: ActorKey, failure: BaseException | None) -> None:
        self._busy.discard(key)
        self._news.discard(key)
        if failure is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(FAULT_PAUSE_S, self._services.notices.publish, Topic.ACTOR, key)

    async def _deliver(self, key: ActorKey) -> None:
        """Deliver an actor's events until there is none. Nothing is awaited after the last look."""
        while True:
            self._news.discard(key)
            event = await persist(partial(self._outbox.head, key))
            if event is not None:
                await self._advance(event)
            elif key not in self._news:
                return

    async def _advance(self, event: Event) -> None:
        """Take one step: the link's, or one request to the webhook."""
        if event.is_link_waiting:
            reason = await persist(partial(deliver_link, self._services, event))
            self._count(event, "link", "delivered" if reason is None else "dropped")
            if reason is not None:
                _log.warning("event %s is not given to the linked actor: %s", event.id, reason)
            return
        await self._wait_until_due(event)
        answer = await self._request(event)
        pause_s: float | None = None
        if answer.verdict is Verdict.UNCERTAIN:
            pause_s = self._pause_s(event)
        now = self._services.clock.now()
        retry_at = None if pause_s is None else now + timedelta(seconds=pause_s)
        await persist(
            lambda: self._outbox.settle_webhook(event.key, event.attempts, retry_at=retry_at)
        )
        self._report(event, answer, pause_s)

    async def _wait_until_due(self, event: Event) -> None:
        if event.attempts:
            left = event.next_attempt_at - self._services.clock.now()
            await asyncio.sleep(max(0.0, left.total_seconds()))

    async def _request(self, event: Event) -> Answer:
        if event.hops > MAX_HOPS and self._policy.is_own_inbox(event.webhook):
            return Answer(Verdict.REFUSED, TOO_MANY_HOPS)
        async with self._repeated if event.attempts else self._first:
            try:
                body, headers = webhook_request(self._services, event)
            except VaultError as error:
                return Answer(Verdict.REFUSED, error.message)
            return await self._sender.post(event.webhook, body, headers)

    def _pause_s(self, event: Event) -> float | None:
        age = self._services.clock.now() - event.time
        # chance is for spreading load, not for secrets
        luck = random.random()  # noqa: S311
        return self._redelivery.pause_s(event.attempts + 1, age.total_seconds(), luck)

    def _report(self, event: Event, answer: Answer, pause_s: float | None) -> None:
        """Log and count; the receiver is not named, its URL may be as good as a password."""
        if answer.verdict is Verdict.DELIVERED:
            self._count(event, "webhook", "delivered")
            _log.debug("event %s is delivered: %s", event.id, answer.reason)
            return
        made = event.attempts + 1
        if pause_s is None:
            self._count(event, "webhook", "given_up")
            _log.warning(
                "event %s is given up after %d requests to its webhook: %s",
                event.id,
                made,
                answer.reason,
            )
        else:
            self._count(event, "webhook", "retried")
            _log.info(
                "event %s: request %d to its webhook failed, again in %.1f s: %s",
                event.id,
                made,
                pause_s,
                answer.reason,
            )

    @staticmethod
    def _count(event: Event, leg: str, outcome: str) -> None:
        EVENTS.labels(event.type.value, leg, outcome).inc()
