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
from abaco.errors import NotFoundError
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
        #: live worker agents of this process
        self._live: dict[WorkerKey, WorkerAgent] = {}
        #: actors with messages that found the host full, oldest first
        self._hungry: dict[ActorKey, None] = {}
        #: set when the records of an earlier process have been dealt with
        self.is_reconciled = asyncio.Event()
        #: the process is about to stop: nothing is launched any more
        self._is_draining = False

    async def run(self) -> None:
        """Watch and decide until cancelled."""
        topics = (Topic.MAILBOX, Topic.ACTOR, Topic.POOL)
        with self._kit.notices.subscribe(*topics) as notices:
            await self.is_reconciled.wait()
            for known in await self._all_keys():
                await self._decide(known)
            while True:
                await notices.wait()
                for key in notices.take():
                    if isinstance(key, ActorKey):
                        await self._decide(key)

    async def _all_keys(self) -> list[ActorKey]:
        keys = []
        last: Actor | None = None
        while page := await self._stores.actors.list_actors(after=last):
            keys += [actor.key for actor in page]
            last = page[-1]
        return keys

    # Deciding for one actor.

    async def _decide(self, key: ActorKey) -> None:
        try:
            actor = await persist(lambda: self._stores.actors.get(key))
        except NotFoundError:
            return
        workers = await persist(lambda: self._stores.workers.list_workers(key))
        counts: Counter[WorkerStatus] = Counter()
        for worker in workers:
            if await self._keep(actor, worker):
                counts[worker.status] += 1
        if actor.status is ActorStatus.SHUTTING_DOWN:
            await self._finish_deletion(actor)
        elif actor.status in RUNNABLE:
            await self._scale(actor, counts)

    async def _keep(self, actor: Actor, worker: Worker) -> bool:
        """Start the agent of a requested record; drain a record that must go. False then."""
        is_wanted = actor.status in RUNNABLE and worker.revision == actor.revision
        if worker.status in VIABLE and not is_wanted:
            await self._drain(worker)
            return False
        if worker.key not in self._live:
            if worker.status is WorkerStatus.REQUESTED:
                await self._place(worker)
            elif worker.status is WorkerStatus.SHUTDOWN_REQUESTED:
                await persist(lambda: self._stores.workers.delete(worker.key))
        return worker.status in VIABLE

    async def _place(self, worker: Worker) -> None:
        if self._free_slots() > 0:
            self._launch(WorkerAgent(self._kit, worker), worker)
        else:
            await self._make_room(worker.key.actor)

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

    async def _scale(self, actor: Actor, counts: Counter[WorkerStatus]) -> None:
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
        granted = min(wanted, self._free_slots())
        for _ in range(granted):
            worker = await persist(partial(request_worker, self._services, actor, limit=limit))
            if worker is not None:
                await self._place(worker)
        if granted < wanted:
            await self._make_room(actor.key)
        else:
            self._hungry.pop(actor.key, None)

    def _limit(self, actor: Actor) -> int:
        if not actor.definition.stateless:
            return 1
        own = actor.definition.max_workers
        return own or self._kit.settings.spawner.max_workers_per_actor

    def _free_slots(self) -> int:
        if self._is_draining:
            return 0
        return self._kit.settings.spawner.max_workers_per_host - len(self._live)

    async def _make_room(self, key: ActorKey) -> None:
        """Let the worker that has idled longest go, because the host is full."""
        self._hungry[key] = None
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
        waiting = [records[worker.key] for worker in idle if worker.key in records]
        waiting.sort(key=lambda worker: worker.last_execution_time or worker.create_time)
        for worker in waiting:
            if await persist(partial(self._stores.workers.retire_idle, worker.key)):
                self._kit.notices.publish(Topic.POOL, worker.key.actor)
                return

    # Live agents.

    def _launch(self, agent: WorkerAgent, worker: Worker) -> None:
        self._live[worker.key] = agent
        self._supervisor.start_once(
            f"worker-{worker.id}", agent.run, partial(self._ended, worker.key)
        )

    async def _ended(self, key: WorkerKey, failure: BaseException | None) -> None:
        if failure is not None:
            await self._recover(key)
        self._live.pop(key, None)
        self._kit.notices.publish(Topic.POOL, key.actor)
        for hungry in self._hungry:
            self._kit.notices.publish(Topic.MAILBOX, hungry)

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

    def live_keys(self) -> list[WorkerKey]:
        """Return the keys of all live workers."""
        return list(self._live)

    async def drain(self, until_s: float) -> None:
        """Take no new work and wait until no worker is busy, or the monotonic clock says so."""
        self._is_draining = True
        with self._kit.notices.subscribe(Topic.POOL, Topic.EXECUTION) as notices:
            for worker in [agent.worker for agent in self._live.values()]:
                await self._drain(worker)
            while self._live and (left_s := until_s - self._kit.clock.monotonic()) > 0:
                await notices.wait(left_s)
