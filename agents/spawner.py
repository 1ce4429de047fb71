"""Turns demand into workers and retires them.

One place decides for each actor, whenever a notice names it: are there records to serve, stale
workers to drain, messages without a worker, a deleted actor to finish. The records are the
truth; notices only say where to look.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Collection
from functools import partial

from abaco.domain.actor import DEFAULT_QUEUE, RUNNABLE, Actor, ActorKey, ActorStatus
from abaco.domain.execution import Execution
from abaco.domain.worker import STARTING, VIABLE, Worker, WorkerKey, WorkerStatus
from abaco.errors import AbacoError, NotFoundError
from abaco.lifecycle.scaling import pool_limit, workers_wanted
from abaco.operations.services import Services
from abaco.operations.workers import request_worker
from abaco.ports.notices import Topic
from agents.attempt import Attempt
from agents.kit import Kit
from agents.persist import persist
from agents.supervisor import Supervisor
from agents.worker import WorkerAgent

_log = logging.getLogger(__name__)

_PENDING = STARTING | {WorkerStatus.READY}
#: actors that want something without anybody sending them a message
_UNSETTLED = frozenset({ActorStatus.SUBMITTED, ActorStatus.SHUTTING_DOWN})
#: actors that are decided for at the same time: their writes share a commit
PARALLEL_DECISIONS = 16


class Spawner:
    """Keeps the workers of this host in step with the records and the mailboxes."""

    def __init__(self, kit: Kit, services: Services, supervisor: Supervisor) -> None:
        self._kit = kit
        self._services = services
        self._stores = kit.stores
        self._supervisor = supervisor
        self._slots = kit.slots
        #: live worker agents of this process; each holds a slot
        self._live: dict[WorkerKey, WorkerAgent] = {}
        #: how many live agents each actor has, without entries of 0
        self._by_actor: Counter[ActorKey] = Counter()
        #: actors with messages, perhaps, that can have no workers as they are now
        self._barred: set[ActorKey] = set()
        #: actors for which a decision failed
        self._undecided: set[ActorKey] = set()
        #: names of recoveries under way
        self._recovering: set[str] = set()
        #: set when the records of an earlier process have been dealt with
        self.is_reconciled = asyncio.Event()

    async def run(self) -> None:
        """Watch and decide until cancelled."""
        topics = (Topic.MAILBOX, Topic.ACTOR, Topic.POOL)
        with self._kit.notices.subscribe(*topics) as notices:
            await self.is_reconciled.wait()
            await self._decide_all(await self._restless())
            while True:
                await notices.wait()
                await self._decide_all([key for key in notices.take() if isinstance(key, ActorKey)])

    async def _restless(self) -> list[ActorKey]:
        """Return the actors for which something may be to do after a start."""
        keys = dict.fromkeys(await self._stores.mailbox.backlog())
        keys.update(
            (worker.key.actor, None) for worker in await self._stores.workers.list_workers()
        )
        last: Actor | None = None
        while page := await self._stores.actors.list_actors(after=last):
            keys.update((actor.key, None) for actor in page if actor.status in _UNSETTLED)
            last = page[-1]
        return list(keys)

    # Deciding for one actor.

    async def _decide_all(self, keys: list[ActorKey]) -> None:
        """Decide for each of these actors, for some of them at the same time."""
        for first in range(0, len(keys), PARALLEL_DECISIONS):
            async with asyncio.TaskGroup() as group:
                for key in keys[first : first + PARALLEL_DECISIONS]:
                    group.create_task(self._decide_alone(key))

    async def _decide_alone(self, key: ActorKey) -> None:
        """Decide for one actor, so that its fault is not that of the others."""
        try:
            await self._decide(key)
        except AbacoError:
            _log.exception("no decision for actor %s; the next tick asks again", key.id)
            self._undecided.add(key)
            self._slots.stop_waiting(key)

    async def _decide(self, key: ActorKey) -> None:
        try:
            actor = await persist(lambda: self._stores.actors.get(key))
        except NotFoundError:
            self._barred.discard(key)
            self._slots.stop_waiting(key)
            return
        queue = actor.definition.queue
        counts: Counter[WorkerStatus] = Counter()
        unplaced: deque[Worker] = deque()
        for worker in await persist(lambda: self._stores.workers.list_workers(key)):
            if not await self._keep(actor, worker):
                continue
            # one that retires is as good as idle: a message calls it back
            counts[WorkerStatus.READY if worker.is_retiring else worker.status] += 1
            if worker.status is WorkerStatus.REQUESTED and worker.key not in self._live:
                unplaced.append(worker)
        wanted = limit = 0
        self._barred.discard(key)
        if actor.status is ActorStatus.SHUTTING_DOWN:
            await self._finish_deletion(actor)
        elif actor.status in RUNNABLE and not self._slots.serves(queue):
            await self._tell_unserved(actor)
        elif actor.status in RUNNABLE:
            wanted, limit = await self._wanted(actor, counts)
        if not limit:
            self._barred.add(key)
        if wanted or unplaced:
            await self._fill(actor, unplaced, wanted, limit)
        else:
            self._slots.stop_waiting(key)
        if self._slots.serves(queue):
            self._wake_next(queue)

    async def _fill(self, actor: Actor, unplaced: deque[Worker], wanted: int, limit: int) -> None:
        """Place the workers of an actor while it is its turn; for the rest, keep its turn."""
        key, queue = actor.key, actor.definition.queue
        self._slots.wait(key, queue)
        while (unplaced or wanted) and self._slots.next_in(queue) == key:
            if unplaced:
                worker = unplaced.popleft()
                self._launch(WorkerAgent(self._kit, worker), queue)
                continue
            wanted -= 1
            asked = await persist(partial(request_worker, self._services, actor, limit=limit))
            if asked is not None:
                unplaced.append(asked)
        if not unplaced and not wanted:
            self._slots.stop_waiting(key)
        else:
            await self._make_room(key, queue)

    def _wake_next(self, queue: str) -> None:
        """Let the decision for the next in line be made, if there is a place for it."""
        following = self._slots.next_in(queue)
        if following is not None:
            self._kit.notices.publish(Topic.POOL, following)

    async def _keep(self, actor: Actor, worker: Worker) -> bool:
        """Drain a record that must go, clear up one without an agent. False for both."""
        agent = self._live.get(worker.key)
        queue = actor.definition.queue
        is_wanted = (
            actor.status in RUNNABLE
            and worker.revision == actor.revision
            and self._slots.serves(queue)
            and self._slots.queue_of(worker.key) in (None, queue)
        )
        if worker.status in VIABLE and not is_wanted:
            await self._drain(worker)
            return False
        if worker.status is WorkerStatus.SHUTDOWN_REQUESTED and not worker.is_retiring:
            await self._see_out(worker, agent)
        return worker.status in VIABLE or (worker.is_retiring and agent is not None)

    async def _see_out(self, worker: Worker, agent: WorkerAgent | None) -> None:
        """Clear up the record of a worker told to go that nobody serves, or say it was heard."""
        if agent is None:
            await persist(lambda: self._stores.workers.delete(worker.key))
        elif agent.status is WorkerStatus.BUSY:
            await self._set_status(
                worker, WorkerStatus.SHUTTING_DOWN, expect={WorkerStatus.SHUTDOWN_REQUESTED}
            )

    async def _tell_unserved(self, actor: Actor) -> None:
        """Say on the actor why its messages wait."""
        text = f"waiting: this host does not serve queue {actor.definition.queue!r}"
        if actor.status_message != text:
            await self._kit.set_actor_status(
                actor.key, actor.revision, actor.status, text, expect=frozenset({actor.status})
            )

    async def _drain(self, worker: Worker) -> None:
        status = WorkerStatus.SHUTDOWN_REQUESTED
        if await self._set_status(worker, status, expect=VIABLE):
            self._kit.notices.publish(Topic.POOL, worker.key.actor)

    async def _set_status(
        self, worker: Worker, status: WorkerStatus, *, expect: Collection[WorkerStatus]
    ) -> bool:
        """Compare-and-set; False also when the record is gone."""
        try:
            is_set = await persist(
                lambda: self._stores.workers.set_status(worker.key, status, expect=expect)
            )
        except NotFoundError:
            return False
        if is_set:
            _log.info("worker %s is %s", worker.id, status.value)
        return is_set

    async def _finish_deletion(self, actor: Actor) -> None:
        """Remove a deleted actor when its last worker is gone; each end comes by here again."""
        if actor.key in self._by_actor:
            return
        await persist(lambda: self._stores.actors.delete(actor.key))
        _log.info("actor %s is deleted", actor.id)
        self._kit.notices.publish(Topic.ACTOR, actor.key)

    async def _wanted(self, actor: Actor, counts: Counter[WorkerStatus]) -> tuple[int, int]:
        """Return how many workers to ask for, and how many there may be."""
        queued = await persist(lambda: self._stores.mailbox.count(actor.key))
        limit = self._limit(actor)
        is_new = actor.status is ActorStatus.SUBMITTED
        settings = self._kit.settings
        if is_new and not queued and settings.workers.init_count > 0:
            queued = limit = 1  # a worker of this revision shows whether the image can be run
        wanted = workers_wanted(
            queued=queued,
            pending=sum(counts[status] for status in _PENDING),
            viable=counts.total(),
            limit=limit,
            is_scaling=settings.workers.autoscaling and actor.definition.stateless,
            step=None if settings.runtime.scale_step == "fill" else 1,
        )
        return wanted, limit

    def _limit(self, actor: Actor) -> int:
        if not actor.definition.stateless:
            return 1
        spawner = self._kit.settings.spawner
        return pool_limit(
            own=actor.definition.max_workers,
            default=spawner.max_workers_per_actor,
            places=self._slots.queues[actor.definition.queue].count,
            spare=spawner.spare_slots,
        )

    async def _make_room(self, key: ActorKey, queue: str) -> None:
        """Let workers that have idled longest go, while more actors wait than leave.

        Busy workers hand their slots on by themselves, see ``QueueSlots.must_hand_on``.
        """
        slots = self._slots.queues[queue]
        while slots.is_short and (idle := slots.longest_idle(but=key)) is not None:
            slots.work(idle)  # nobody else is to pick it meanwhile
            if await self._retire(idle):
                slots.leave(idle)

    async def _retire(self, key: WorkerKey) -> bool:
        """Send an idle worker away for good; False when a message came first."""
        workers = self._stores.workers
        try:
            is_retired = await persist(lambda: workers.retire_idle(key, revocable=False))
        except NotFoundError:  # it has left by itself meanwhile, and its slot with it
            return True
        if is_retired:
            self._kit.notices.publish(Topic.POOL, key.actor)
        return is_retired

    # Live agents.

    def _launch(self, agent: WorkerAgent, queue: str) -> None:
        key = agent.worker.key
        self._live[key] = agent
        self._by_actor[key.actor] += 1
        self._slots.take(key, queue)
        self._supervisor.start_once(f"worker-{key.id}", agent.run, partial(self._ended, key))

    async def _ended(self, key: WorkerKey, failure: BaseException | None) -> None:
        if failure is not None:
            await self._recover(key)
        if self._live.pop(key, None) is not None:
            self._by_actor[key.actor] -= 1
            if not self._by_actor[key.actor]:
                del self._by_actor[key.actor]
        queue = self._slots.give_back(key)
        if queue is not None:
            self._wake_next(queue)
        self._kit.notices.publish(Topic.POOL, key.actor)

    async def _recover(self, key: WorkerKey) -> None:
        """Settle what a crashed worker had leased, then forget it."""
        try:
            revision = (await persist(lambda: self._stores.workers.get(key))).revision
        except NotFoundError:
            revision = None
        for execution in await persist(self._stores.executions.list_leased):
            if execution.worker_id == key.id:
                await self._take_over(execution, revision)
        await persist(lambda: self._stores.workers.delete(key))

    async def _take_over(self, execution: Execution, revision: int | None = None) -> None:
        """Finish an attempt that has no worker any more, found or lost, to its settlement.

        Args:
            execution: Which one.
            revision: Of the worker that had it; an update since then may be a reason to halt.

        """
        try:
            actor = await persist(lambda: self._stores.actors.get(execution.key.actor))
        except NotFoundError:
            await self._give_up(execution)
        else:
            await Attempt(self._kit, actor, execution, None, None, revision=revision).run()

    async def _give_up(self, execution: Execution) -> None:
        """End an attempt whose actor is gone; its container has nobody to work for."""
        key, attempt = execution.key, execution.attempt
        await persist(lambda: self._stores.mailbox.release(key, attempt, lost=True))
        _log.warning("execution %s is given up: its actor is gone", key.id)
        if execution.container_id:
            self._kit.remover.remove_soon(execution.container_id)
        self._kit.notices.publish(Topic.EXECUTION, key)

    def adopt(self, worker: Worker, execution: Execution, queue: str) -> None:
        """Go on with an attempt of an earlier process, under its old worker record."""
        queue = queue if self._slots.serves(queue) else DEFAULT_QUEUE
        self._launch(WorkerAgent(self._kit, worker, execution), queue)

    def adopt_without_worker(self, execution: Execution) -> None:
        """Go on with an attempt whose worker record is gone."""

        async def ended(_: BaseException | None) -> None:
            self._kit.notices.publish(Topic.MAILBOX, execution.key.actor)

        self._supervisor.start_once(
            f"attempt-{execution.id}", partial(self._take_over, execution), ended
        )

    def attends(self, actor: ActorKey) -> bool:
        """Tell whether the actor has a live worker, waits for a place, or can have neither now."""
        return actor in self._by_actor or actor in self._barred or self._slots.is_waiting(actor)

    def take_undecided(self) -> set[ActorKey]:
        """Return, and forget, the actors for which a decision failed."""
        undecided, self._undecided = self._undecided, set()
        return undecided

    def find_live(self, key: WorkerKey) -> WorkerAgent | None:
        """Return the live agent of a record."""
        return self._live.get(key)

    def recover_soon(self, key: WorkerKey) -> None:
        """Settle and delete a record that should have an agent and has none. Idempotent."""
        name = f"ghost-{key.id}"
        if name in self._recovering:
            return
        self._recovering.add(name)
        _log.warning("worker %s has a record and no agent", key.id)

        async def ended(_: BaseException | None) -> None:
            self._recovering.discard(name)
            self._kit.notices.publish(Topic.POOL, key.actor)

        self._supervisor.start_once(name, partial(self._recover, key), ended)

    def live_keys(self) -> list[WorkerKey]:
        """Return the keys of all live workers."""
        return list(self._live)

    async def drain(self, until_s: float) -> None:
        """Take no new work and wait until no worker is busy, or the monotonic clock says so."""
        self._slots.is_closed = True
        with self._kit.notices.subscribe(Topic.POOL, Topic.EXECUTION) as notices:
            for worker in [agent.worker for agent in self._live.values()]:
                await self._drain(worker)
            while self._live and (left_s := until_s - self._kit.clock.monotonic()) > 0:
                await notices.wait(left_s)
