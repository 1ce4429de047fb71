"""Turns demand into workers and retires them.

One place decides for each actor, whenever a notice names it: are there records to serve, stale
workers to drain, messages without a worker, a deleted actor to finish. The records are the
truth; notices only say where to look.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial

from abaco.domain.actor import RUNNABLE, Actor, ActorKey, ActorStatus
from abaco.domain.execution import Execution
from abaco.domain.worker import STARTING, VIABLE, Worker, WorkerKey, WorkerStatus
from abaco.errors import AbacoError, NotFoundError
from abaco.lifecycle.scaling import workers_wanted
from abaco.operations.services import Services
from abaco.operations.workers import request_worker
from abaco.ports.notices import Topic
from agents.attempt import Attempt
from agents.kit import Kit, persist
from agents.supervisor import Supervisor
from agents.worker import WorkerAgent

_log = logging.getLogger(__name__)

_PENDING = STARTING | {WorkerStatus.READY}


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
        #: set when the records of an earlier process have been dealt with
        self.is_reconciled = asyncio.Event()

    async def run(self) -> None:
        """Watch and decide until cancelled."""
        topics = (Topic.MAILBOX, Topic.ACTOR, Topic.POOL)
        with self._kit.notices.subscribe(*topics) as notices:
            await self.is_reconciled.wait()
            for known in await self._all_keys():
                await self._decide_alone(known)
            while True:
                await notices.wait()
                for key in notices.take():
                    if isinstance(key, ActorKey):
                        await self._decide_alone(key)

    async def _all_keys(self) -> list[ActorKey]:
        keys = []
        last: Actor | None = None
        while page := await self._stores.actors.list_actors(after=last):
            keys += [actor.key for actor in page]
            last = page[-1]
        return keys

    # Deciding for one actor.

    async def _decide_alone(self, key: ActorKey) -> None:
        """Decide for one actor, so that its fault is not that of the others."""
        try:
            await self._decide(key)
        except AbacoError:
            _log.exception("no decision for actor %s; the next health round asks again", key.id)

    async def _decide(self, key: ActorKey) -> None:
        try:
            actor = await persist(lambda: self._stores.actors.get(key))
        except NotFoundError:
            self._slots.stop_waiting(key)
            return
        counts: Counter[WorkerStatus] = Counter()
        unplaced = 0
        for worker in await persist(lambda: self._stores.workers.list_workers(key)):
            if not await self._keep(actor, worker):
                continue
            counts[worker.status] += 1
            if worker.status is WorkerStatus.REQUESTED and worker.key not in self._live:
                unplaced += not self._place(worker)
        if actor.status is ActorStatus.SHUTTING_DOWN:
            await self._finish_deletion(actor)
        elif actor.status in RUNNABLE and not unplaced:
            unplaced = await self._scale(actor, counts)
        await self._queue_up(key, is_waiting=unplaced > 0)

    async def _queue_up(self, key: ActorKey, *, is_waiting: bool) -> None:
        """Keep the actor's turn for a slot, and see that one becomes free."""
        if not is_waiting:
            self._slots.stop_waiting(key)
            return
        self._slots.wait(key)
        first = self._slots.waiting()[0]
        if first != key:  # it may be served, or have lost interest
            self._kit.notices.publish(Topic.POOL, first)
        await self._make_room(key)

    async def _keep(self, actor: Actor, worker: Worker) -> bool:
        """Drain a record that must go, clear up one without an agent. False for both."""
        is_wanted = actor.status in RUNNABLE and worker.revision == actor.revision
        if worker.status in VIABLE and not is_wanted:
            await self._drain(worker)
            return False
        if worker.key not in self._live and worker.status is WorkerStatus.SHUTDOWN_REQUESTED:
            await persist(lambda: self._stores.workers.delete(worker.key))
        return worker.status in VIABLE

    def _place(self, worker: Worker) -> bool:
        """Start the agent of a requested record, if there is a slot for its actor."""
        if self._slots.available(worker.key.actor) == 0:
            return False
        self._launch(WorkerAgent(self._kit, worker), worker)
        return True

    async def _drain(self, worker: Worker) -> None:
        status = WorkerStatus.SHUTDOWN_REQUESTED
        try:
            is_set = await persist(
                lambda: self._stores.workers.set_status(worker.key, status, expect=VIABLE)
            )
        except NotFoundError:
            return
        if is_set:
            _log.info("worker %s is %s", worker.id, status.value)
            self._kit.notices.publish(Topic.POOL, worker.key.actor)

    async def _finish_deletion(self, actor: Actor) -> None:
        """Remove a deleted actor when its last worker is gone; each end comes by here again."""
        if any(key.actor == actor.key for key in self._live):
            return
        await persist(lambda: self._stores.actors.delete(actor.key))
        _log.info("actor %s is deleted", actor.id)
        self._kit.notices.publish(Topic.ACTOR, actor.key)

    async def _scale(self, actor: Actor, counts: Counter[WorkerStatus]) -> int:
        """Request and place the workers the actor should have; return how many found no slot."""
        queued = await persist(lambda: self._stores.mailbox.count(actor.key))
        limit = self._limit(actor)
        is_new = actor.status is ActorStatus.SUBMITTED
        if is_new and not queued and self._kit.settings.workers.init_count > 0:
            queued = limit = 1  # a worker of this revision shows whether the image can be run
        settings = self._kit.settings
        wanted = workers_wanted(
            queued=queued,
            pending=sum(counts[status] for status in _PENDING),
            viable=sum(counts[status] for status in VIABLE),
            limit=limit,
            free_slots=settings.spawner.max_workers_per_host,
            is_scaling=settings.workers.autoscaling and actor.definition.stateless,
        )
        granted = min(wanted, self._slots.available(actor.key))
        for _ in range(granted):
            worker = await persist(partial(request_worker, self._services, actor, limit=limit))
            if worker is not None:
                self._place(worker)
        return wanted - granted

    def _limit(self, actor: Actor) -> int:
        if not actor.definition.stateless:
            return 1
        own = actor.definition.max_workers
        return own or self._kit.settings.spawner.max_workers_per_actor

    async def _make_room(self, key: ActorKey) -> None:
        """Let the worker that has idled longest go, if some actor waits for its slot.

        Busy workers hand their slots on by themselves, see ``Slots.must_hand_on``.
        """
        idle = [
            agent.worker
            for agent in self._live.values()
            if agent.status is WorkerStatus.READY and agent.worker.key.actor != key
        ]
        records = {
            worker.key: worker
            for actor in {worker.key.actor for worker in idle}
            for worker in await persist(partial(self._stores.workers.list_workers, actor))
        }
        resting = [records[worker.key] for worker in idle if worker.key in records]
        resting.sort(key=lambda worker: worker.last_execution_time or worker.create_time)
        for worker in resting:
            if await self._retire(worker):
                return

    async def _retire(self, worker: Worker) -> bool:
        try:
            is_retired = await persist(partial(self._stores.workers.retire_idle, worker.key))
        except NotFoundError:  # it has left by itself meanwhile, and its slot with it
            return True
        if is_retired:
            self._kit.notices.publish(Topic.POOL, worker.key.actor)
        return is_retired

    # Live agents.

    def _launch(self, agent: WorkerAgent, worker: Worker) -> None:
        self._live[worker.key] = agent
        self._slots.take(worker.key)
        self._supervisor.start_once(
            f"worker-{worker.id}", agent.run, partial(self._ended, worker.key)
        )

    async def _ended(self, key: WorkerKey, failure: BaseException | None) -> None:
        if failure is not None:
            await self._recover(key)
        self._live.pop(key, None)
        self._slots.give_back(key)
        for waiting in self._slots.waiting():
            self._kit.notices.publish(Topic.POOL, waiting)
        self._kit.notices.publish(Topic.POOL, key.actor)

    async def _recover(self, key: WorkerKey) -> None:
        """Settle what a crashed worker had leased, then forget it."""
        for execution in await persist(self._stores.executions.list_leased):
            if execution.worker_id == key.id:
                await self._take_over(execution)
        await persist(lambda: self._stores.workers.delete(key))

    async def _take_over(self, execution: Execution) -> None:
        """Finish an attempt that has no worker any more, found or lost, to its settlement."""
        actor = await persist(lambda: self._stores.actors.get(execution.key.actor))
        await Attempt(self._kit, actor, execution, None, None).run()

    def adopt(self, worker: Worker, execution: Execution) -> None:
        """Go on with an attempt of an earlier process, under its old worker record."""
        self._launch(WorkerAgent(self._kit, worker, execution), worker)

    def adopt_without_worker(self, execution: Execution) -> None:
        """Go on with an attempt whose worker record is gone."""

        async def ended(_: BaseException | None) -> None:
            self._kit.notices.publish(Topic.MAILBOX, execution.key.actor)

        self._supervisor.start_once(
            f"attempt-{execution.id}", partial(self._take_over, execution), ended
        )

    def unserved(self) -> list[ActorKey]:
        """Return the actors that wait for a slot."""
        return self._slots.waiting()

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
