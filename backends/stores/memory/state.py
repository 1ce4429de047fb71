"""What the memory store keeps, and the steps its ports share.

One thread, and no method waits in its middle, so each is atomic. Records are frozen; the JSON
values inside are copied on their way in and out, so that nobody can reach into the store.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.actor_config import ActorConfig, ConfigKey, without_actor
from abaco.domain.alias import Alias, AliasKey
from abaco.domain.audit import AuditRecord
from abaco.domain.event import Event, EventKey, EventPolicy, Happening
from abaco.domain.execution import FINAL, Execution, ExecutionKey, Outcome
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId
from abaco.domain.message import Message
from abaco.domain.nonce import Nonce, NonceId
from abaco.domain.permission import Level, ObjectKey
from abaco.domain.usage import DayUsage
from abaco.domain.worker import Worker, WorkerKey, WorkerStatus
from abaco.ports.clock import Clock
from abaco.ports.images import Pin
from abaco.ports.store import Counters
from backends.stores.event_rules import fresh_event, without_link
from backends.stores.rules import copy_json
from backends.stores.sharing_rules import no_object


@dataclass(slots=True)
class Box:
    """One actor's mailbox and totals. Outlives the actor, as its executions do."""

    last_seq: int = 0
    last_event: int = 0
    #: every row, by seq
    messages: dict[int, Message] = field(default_factory=dict)
    #: heap of the queued rows' seqs
    waiting: list[int] = field(default_factory=list)
    count: int = 0
    cpu_ns: int = 0
    io_bytes: int = 0
    runtime_ms: int = 0

    @property
    def queued(self) -> int:
        """How many messages wait."""
        return len(self.waiting)

    @property
    def leased(self) -> int:
        """How many messages are with a worker."""
        return len(self.messages) - len(self.waiting)


@dataclass(slots=True)
class Log:
    """One execution's log. ``bytes_seen`` stays when the text has expired."""

    #: place of the first stored byte in all output
    start: int = 0
    data: bytes = b""
    bytes_seen: int = 0
    is_truncated: bool = False
    expires_at: datetime | None = None


@dataclass(slots=True)
class Result:
    """One result that was not read yet."""

    data: bytes
    expires_at: datetime


@dataclass(slots=True)
class KeptReceipt:
    """What an idempotency key led to."""

    digest: str
    execution_ids: tuple[ExecutionId, ...]
    expires_at: datetime


@dataclass(slots=True)
class Instance:
    """Who serves the store. ``holder`` is None when nobody does."""

    epoch: int = 0
    holder: str | None = None
    expires_at: datetime | None = None


@dataclass(slots=True)
class State:
    """Everything the store holds."""

    clock: Clock
    policy: EventPolicy = field(default_factory=EventPolicy)
    actors: dict[ActorKey, Actor] = field(default_factory=dict)
    boxes: dict[ActorKey, Box] = field(default_factory=dict)
    executions: defaultdict[ActorKey, dict[ExecutionId, Execution]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    #: seq of the mailbox row of every execution that is not final
    seqs: dict[ExecutionKey, int] = field(default_factory=dict)
    workers: defaultdict[ActorKey, dict[WorkerId, Worker]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    logs: dict[ExecutionKey, Log] = field(default_factory=dict)
    results: dict[ExecutionKey, deque[Result]] = field(default_factory=dict)
    #: how many results an execution has handed back, and until when that matters
    result_counts: dict[ExecutionKey, tuple[int, datetime]] = field(default_factory=dict)
    instance: Instance = field(default_factory=Instance)
    permissions: dict[ObjectKey, dict[str, Level]] = field(default_factory=dict)
    aliases: dict[AliasKey, Alias] = field(default_factory=dict)
    nonces: dict[NonceId, Nonce] = field(default_factory=dict)
    #: by actor, user and idempotency key
    receipts: dict[tuple[ActorKey, str, str], KeptReceipt] = field(default_factory=dict)
    #: queued messages of all actors of a tenant
    waiting: Counter[Tenant] = field(default_factory=Counter)
    configs: dict[ConfigKey, ActorConfig] = field(default_factory=dict)
    #: by seq, in order; an actor without events has no entry
    events: dict[ActorKey, dict[int, Event]] = field(default_factory=dict)
    webhook_secrets: dict[ActorKey, str] = field(default_factory=dict)
    #: the image of a revision, with the revision
    pins: dict[ActorKey, tuple[int, Pin]] = field(default_factory=dict)
    #: what was created on each day, deleted or not
    days: dict[date, DayUsage] = field(default_factory=dict)
    #: the audit log, by place
    audit: dict[int, AuditRecord] = field(default_factory=dict)
    last_audit_seq: int = 0
    counters: Counters = field(
        default_factory=lambda: Counters(accepted=0, queued=0, leased=0, final=0)
    )

    def move_queued(self, tenant: Tenant, count: int) -> None:
        """Count messages that begin to wait, or (below 0) no longer do."""
        self.waiting[tenant] += count
        self.count(queued=count)

    def count(self, *, accepted: int = 0, queued: int = 0, leased: int = 0, final: int = 0) -> None:
        """Move the conservation counters; for ``queued`` alone there is ``move_queued``."""
        past = self.counters
        self.counters = Counters(
            accepted=past.accepted + accepted,
            queued=past.queued + queued,
            leased=past.leased + leased,
            final=past.final + final,
        )

    def count_day(
        self, time: datetime, *, actors: int = 0, workers: int = 0, executions: int = 0
    ) -> None:
        """Count what was created at this time, on its day."""
        day = time.astimezone(UTC).date()
        past = self.days.get(day, DayUsage(day=day))
        self.days[day] = DayUsage(
            day=day,
            actors=past.actors + actors,
            workers=past.workers + workers,
            executions=past.executions + executions,
        )

    def find_box(self, key: ActorKey) -> Box:
        """Return an actor's mailbox; an empty one, which is not kept, when there is none."""
        return self.boxes.get(key) or Box()

    def find_execution(self, key: ExecutionKey) -> Execution | None:
        """Look an execution up."""
        return self.executions.get(key.actor, {}).get(key.id)

    def find_worker(self, key: WorkerKey) -> Worker | None:
        """Look a worker up."""
        return self.workers.get(key.actor, {}).get(key.id)

    def find_run(self, key: ExecutionKey, attempt: int) -> Execution | None:
        """Return the execution if its message is leased in this very attempt: the fence."""
        found = self.find_execution(key)
        if found is None or found.status in FINAL or found.worker_id is None:
            return None
        return found if found.attempt == attempt else None

    def put_execution(self, execution: Execution) -> None:
        """Store an execution in place of the one with its key."""
        self.executions[execution.key.actor][execution.id] = execution

    def put_worker(self, worker: Worker) -> None:
        """Store a worker in place of the one with its key."""
        self.workers[worker.key.actor][worker.id] = worker

    def finish(self, execution: Execution, outcome: Outcome) -> None:
        """End an execution: its row goes, its record and its actor's totals are completed."""
        own = replace(outcome, final_state=copy_json(outcome.final_state))
        self.put_execution(replace(execution, status=outcome.status, outcome=own))
        box = self.boxes[execution.key.actor]
        message = box.messages.pop(self.seqs.pop(execution.key))
        self.announce(message.actor, self.policy.of_end(execution.id, outcome), message.hops)
        box.cpu_ns += outcome.cpu_ns
        box.io_bytes += outcome.io_bytes
        box.runtime_ms += outcome.runtime_ms

    def drop_queued(self, key: ActorKey, outcome: Outcome) -> list[ExecutionId]:
        """Finish all executions whose messages wait; their ids in the queue's order."""
        box = self.find_box(key)
        dropped = [box.messages[heapq.heappop(box.waiting)] for _ in range(box.queued)]
        for message in dropped:
            self.finish(self.executions[key][message.execution_id], outcome)
        self.count(final=len(dropped))
        self.move_queued(key.tenant, -len(dropped))
        return [message.execution_id for message in dropped]

    def free_worker(self, execution: Execution, now: datetime | None) -> None:
        """Turn the leasing worker BUSY -> READY; ``now`` stamps its last execution."""
        if execution.worker_id is None:
            return
        worker = self.find_worker(
            WorkerKey(execution.tenant, execution.actor_id, execution.worker_id)
        )
        if worker is not None:
            is_busy = worker.status is WorkerStatus.BUSY
            self.put_worker(
                replace(
                    worker,
                    status=WorkerStatus.READY if is_busy else worker.status,
                    last_execution_time=now or worker.last_execution_time,
                )
            )

    def announce(self, key: ActorKey, happening: Happening | None, hops: int = 0) -> None:
        """Write an event if it is one and the actor has somebody to tell it to.

        ``hops`` is that of the message that caused it.
        """
        actor = self.actors.get(key)
        if actor is None or happening is None:
            return
        link, webhook = actor.definition.link, actor.definition.webhook
        if not (link or webhook):
            return
        box = self.boxes.setdefault(key, Box())
        box.last_event += 1
        self.events.setdefault(key, {})[box.last_event] = fresh_event(
            key,
            box.last_event,
            happening,
            api_server=actor.api_server,
            link=link,
            webhook=webhook,
            hops=hops + 1,
            now=self.clock.now(),
        )

    def keep_secret(self, key: ActorKey, secret: str | None) -> None:
        """Store, keep (None) or remove ("") what an actor's webhook is signed with."""
        if secret:
            self.webhook_secrets[key] = secret
        elif secret is not None:
            self.webhook_secrets.pop(key, None)

    def forget_secret(self, key: ActorKey) -> None:
        """Drop the secret of an actor that is gone and has no events left."""
        if key not in self.actors and key not in self.events:
            self.webhook_secrets.pop(key, None)

    def follow_link(self, key: ActorKey) -> ActorKey | None:
        """Return whom an actor's link leads to."""
        actor = self.actors.get(key)
        if actor is None or not actor.definition.link:
            return None
        named = ActorKey(key.tenant, ActorId(actor.definition.link))
        if named in self.actors:
            return named
        alias = self.aliases.get(AliasKey(key.tenant, actor.definition.link))
        return None if alias is None else alias.actor

    def check_shared(self, key: ObjectKey) -> None:
        """Raise NotFoundError unless the object has a map of permissions, that is: exists."""
        if key not in self.permissions:
            raise no_object(key)

    def drop_receipts(self, key: ActorKey) -> None:
        """Forget an actor's idempotency keys."""
        for place in [each for each in self.receipts if each[0] == key]:
            del self.receipts[place]

    def unshare(self, key: ObjectKey) -> None:
        """Drop an object's permissions and nonces."""
        self.permissions.pop(key, None)
        for nonce in [each for each in self.nonces.values() if each.target == key]:
            del self.nonces[nonce.id]

    def drop_alias(self, alias: Alias) -> None:
        """Drop an alias with its permissions and nonces."""
        del self.aliases[alias.key]
        self.unshare(alias.shared)
        self.unlist(alias.tenant, alias.alias)
        self.unlink(alias.key)

    def unlink(self, alias: AliasKey) -> None:
        """Take an alias that is being deleted out of links, and drop what waits for it.

        A name that is also an actor's id means the actor, and stays.
        """
        if ActorKey(alias.tenant, ActorId(alias.alias)) in self.actors:
            return
        for key, actor in self.actors.items():
            if (key.tenant, actor.definition.link) == alias:
                definition = replace(actor.definition, link="")
                self.actors[key] = replace(actor, definition=definition)
        for events in list(self.events.values()):
            for event in list(events.values()):
                if event.is_link_waiting and (event.tenant, event.link) == alias:
                    self.put_event(event.key, without_link(event, None))

    def put_event(self, key: EventKey, event: Event | None) -> None:
        """Store what is left of an event; with nothing left it goes, the secret perhaps too."""
        if event is not None:
            self.events[key.actor][key.seq] = event
            return
        waiting = self.events[key.actor]
        del waiting[key.seq]
        if not waiting:
            del self.events[key.actor]
        self.forget_secret(key.actor)

    def unlist(self, tenant: Tenant, identifier: str) -> None:
        """Take what is being deleted out of the configs that list it."""
        for config in self.configs.values():
            if config.tenant == tenant and identifier in config.identifiers:
                left = without_actor(config.actors, identifier)
                self.configs[config.key] = replace(config, actors=left)


def copy_actor(actor: Actor) -> Actor:
    """Copy the JSON values of an actor."""
    definition = actor.definition
    environment = copy_json(definition.default_environment)
    return replace(
        actor,
        state=copy_json(actor.state),
        definition=replace(definition, default_environment=environment),
    )


def copy_message(message: Message) -> Message:
    """Copy the JSON values of a message."""
    return replace(
        message, body=copy_json(message.body), environment=copy_json(message.environment)
    )


def copy_execution(execution: Execution) -> Execution:
    """Copy the JSON values of an execution."""
    outcome = execution.outcome
    if outcome is None:
        return execution
    return replace(execution, outcome=replace(outcome, final_state=copy_json(outcome.final_state)))
