"""Serves one actor revision: performs what the worker machine asks, and answers it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress

from abaco.domain.actor import RUNNABLE, Actor, ActorStatus
from abaco.domain.execution import Execution
from abaco.domain.limits import parse_memory
from abaco.domain.worker import Worker, WorkerStatus
from abaco.errors import DriverError, ImageMissingError, NotFoundError, StartFailedError
from abaco.lifecycle import worker as life
from abaco.lifecycle.scaling import SYNC, idle_limit_s, kept_for_s
from abaco.metrics import STAGE_SECONDS
from abaco.ports.driver import Bind, ContainerSpec, ImageInfo, Limits
from abaco.ports.notices import Subscription, Topic
from abaco.ports.store import Claim, Refusal
from agents.attempt import UNCERTAIN, Attempt
from agents.images import Wanted
from agents.kit import Kit
from agents.persist import persist
from agents.progress import PullProgress
from agents.slots import QueueSlots

_log = logging.getLogger(__name__)

#: before an idle worker that could not retire tries again, if nothing happens meanwhile
RETIRE_AGAIN_S = 1.0


class WorkerAgent:
    """The shell of one worker machine.

    Args:
        kit: What workers share.
        worker: The record as found.
        takes_over: An execution of an earlier process that this worker has leased.

    """

    def __init__(self, kit: Kit, worker: Worker, takes_over: Execution | None = None) -> None:
        self._kit = kit
        #: the record as found; its status is the machine's
        self.worker = worker
        self._key = worker.key
        self._takes_over = takes_over
        self._machine = life.WorkerMachine(
            WorkerStatus.REQUESTED if takes_over is None else WorkerStatus.BUSY
        )
        #: monotonic time of the last change of status
        self.since_s = kit.clock.monotonic()
        self._deadline = asyncio.timeout(None)
        #: may be aborted, once
        self._is_running = False
        self._actor: Actor | None = None
        self._wanted = Wanted(worker.key.actor, worker.revision, worker.image)
        self._image: ImageInfo | None = None
        self._claim: Claim | None = None
        self._start_failures = 0
        #: a message was run, so that handing the slot on is no waste
        self._has_run = False
        self._notices: Subscription
        self._drains: Subscription
        self._changes: Subscription

    @property
    def status(self) -> WorkerStatus:
        """Where the worker is."""
        return self._machine.status

    async def run(self) -> None:
        """Serve until the record is gone. Cancelling leaves record and container behind."""
        topics = (Topic.MAILBOX, Topic.ACTOR, Topic.POOL)
        with (
            self._kit.notices.subscribe(*topics, key=self._key.actor) as self._notices,
            self._kit.notices.subscribe(Topic.POOL, key=self._key.actor) as self._drains,
            self._kit.notices.subscribe(Topic.ACTOR, key=self._key.actor) as self._changes,
        ):
            pending = deque[life.Instruction]()
            if self._takes_over is None:
                pending.extend(self._machine.handle(life.Spawned()))
            else:
                pending.append(life.RunMessage())
            self._is_running = True
            try:
                async with self._deadline:
                    await self._go_on(pending)
            finally:
                self._is_running = False
            await self._kit.tokens.retire(self._key.id)
            if self._image is not None:
                await self._kit.images.release(self._image)

    async def _go_on(self, pending: deque[life.Instruction]) -> None:
        while not self._machine.is_over:
            for stimulus in await self._perform(pending.popleft()):
                following = self._handle(stimulus)
                if following:
                    pending = deque(following)

    def abort(self) -> bool:
        """End a worker that got stuck, as if it had crashed; False when it is ending already."""
        if not self._is_running:
            return False
        self._is_running = False
        self._deadline.reschedule(asyncio.get_running_loop().time())
        return True

    def _handle(self, stimulus: life.Stimulus) -> list[life.Instruction]:
        before = self._machine.status
        following = self._machine.handle(stimulus)
        if self._machine.status is not before:
            self.since_s = self._kit.clock.monotonic()
        return following

    async def _perform(self, instruction: life.Instruction) -> list[life.Stimulus]:
        match instruction:
            case life.RecordStatus(status=status, expect=expect):
                return await self._record(status, expect)
            case life.CheckActor():
                return [await self._check_actor()]
            case life.PullImage():
                return [await self._pull()]
            case life.Prepare():
                return [life.Prepared()]  # containers are made on demand
            case life.AnnounceActor():
                return [await self._announce()]
            case life.AwaitMessage(delay_s=delay_s):
                return [await self._await_message(delay_s)]
            case life.RunMessage():
                return await self._run_message()
            case life.FailActor(reason=reason):
                await self._kit.set_actor_status(
                    self._key.actor, self.worker.revision, ActorStatus.ERROR, reason
                )
                return []
            case life.Leave():
                return [await self._leave()]
            case life.DeleteRecord():
                await persist(lambda: self._kit.stores.workers.delete(self._key))
                _log.info("worker %s is gone", self._key.id)
                return [life.RecordDeleted()]

    async def _record(self, status: WorkerStatus, expect: WorkerStatus) -> list[life.Stimulus]:
        try:
            is_set = await persist(
                lambda: self._kit.stores.workers.set_status(self._key, status, expect={expect})
            )
        except NotFoundError:
            is_set = False
        if not is_set:
            return [life.Overruled()]
        _log.info("worker %s is %s", self._key.id, status.value)
        return []

    async def _find_actor(self) -> Actor | None:
        """Return the actor if this worker may serve it."""
        try:
            actor = await persist(lambda: self._kit.stores.actors.get(self._key.actor))
        except NotFoundError:
            return None
        is_served = actor.status in RUNNABLE and actor.revision == self.worker.revision
        return actor if is_served else None

    async def _check_actor(self) -> life.Stimulus:
        self._actor = await self._find_actor()
        return life.Overruled() if self._actor is None else life.ActorChecked()

    async def _pull(self) -> life.Stimulus:
        """Bring the image, but leave when the worker is not wanted any more."""
        async with asyncio.TaskGroup() as group:
            pull = group.create_task(self._bring_image())
            leave = group.create_task(self._wait_for_drain())
            done, _ = await asyncio.wait({pull, leave}, return_when=asyncio.FIRST_COMPLETED)
            pull.cancel()
            leave.cancel()
        return pull.result() if pull in done else life.Overruled()

    async def _wait_for_drain(self) -> None:
        while await self._find_actor() is not None and not await self._is_drained():
            await self._notices.wait()

    async def _bring_image(self) -> life.Stimulus:
        """Bring the image. An engine that fails without saying why gets a few more tries."""
        failures = 0
        while True:
            await self._wait_for_engine()
            try:
                async with PullProgress(self._kit, self._key.actor, self.worker) as progress:
                    self._image = await self._kit.images.ensure(self._wanted, progress.note)
            except UNCERTAIN as error:
                self._kit.engine.report_down(error)
            except ImageMissingError as error:
                return life.StartFailed(error.message)
            except DriverError as error:
                failures += 1
                if not self._kit.retry.may_start_again(failures):
                    return life.StartFailed(error.message)
                _log.warning("image %s, try %d: %s", self.worker.image, failures, error)
                await asyncio.sleep(self._kit.retry.start_backoff_s)
            else:
                return life.ImageReady()

    async def _wait_for_engine(self) -> None:
        """Wait for the engine, and let whoever waits for the actor know."""
        absence = self._kit.engine.absence
        if absence is not None:
            await self._kit.set_actor_status(
                self._key.actor,
                self.worker.revision,
                ActorStatus.SUBMITTED,
                f"waiting for the container engine: {absence.message}",
                expect=frozenset({ActorStatus.SUBMITTED}),
            )
        await self._kit.engine.wait_until_up()

    async def _announce(self) -> life.Stimulus:
        is_set = await self._kit.set_actor_status(
            self._key.actor, self.worker.revision, ActorStatus.READY, " "
        )
        return life.ActorAnnounced() if is_set else life.Overruled()

    # Waiting for a message.

    async def _await_message(self, delay_s: float) -> life.Stimulus:
        if delay_s and not await self._stay_for(delay_s):
            return life.DrainRequested()
        slots = self._kit.slots.of(self._key)
        idle_since_s = self._kit.clock.monotonic()
        has_offered = False
        while True:
            await self._kit.engine.wait_until_up()
            if self._has_run and await self._hands_on(slots):
                return life.DrainRequested()
            got = await persist(self._try_claim)
            if isinstance(got, Claim):
                slots.work(self._key)
                self._claim = got
                return life.Claimed()
            if got is not Refusal.EMPTY:
                return life.Overruled()
            slots.rest(self._key)
            if slots.is_wanted(self._key.actor) and not has_offered:
                has_offered = True
                if await self._retire(revocable=False):
                    slots.leave(self._key)
                    return life.Retired()
                continue
            left_s = await self._stays_for_s(idle_since_s)
            if left_s == 0.0 and await self._retire(revocable=True):
                return life.Retired()
            if left_s == 0.0:  # a message waits that cannot be taken yet, or is taken by now
                idle_since_s, left_s = self._kit.clock.monotonic(), RETIRE_AGAIN_S
            await self._notices.wait(left_s)

    async def _try_claim(self) -> Claim | Refusal:
        mailbox = self._kit.stores.mailbox
        with STAGE_SECONDS.labels("claim").time():
            return await mailbox.claim(self._key, self.worker.revision, self._kit.clock.now())

    async def _stay_for(self, delay_s: float) -> bool:
        """Wait, but not through a drain. False when drained."""
        until_s = self._kit.clock.monotonic() + delay_s
        while (left_s := until_s - self._kit.clock.monotonic()) > 0:
            if await self._notices.wait(left_s) and await self._is_drained():
                return False
        return True

    async def _hands_on(self, slots: QueueSlots) -> bool:
        """Leave between two messages when another actor's turn for the slot has come."""
        if not slots.must_hand_on(self._key):
            return False
        status = WorkerStatus.SHUTDOWN_REQUESTED
        with suppress(NotFoundError):  # somebody has deleted the record: all the more
            await persist(
                lambda: self._kit.stores.workers.set_status(
                    self._key, status, expect={WorkerStatus.READY}
                )
            )
        return True

    async def _stays_for_s(self, idle_since_s: float) -> float | None:
        """Return how many seconds more this idle worker stays; None for ever."""
        limit_s = self._idle_limit_s()
        idle_s = self._kit.clock.monotonic() - idle_since_s
        if limit_s is None or idle_s < limit_s:
            return limit_s and limit_s - idle_s
        self._actor = await self._find_actor()  # it may have been updated meanwhile
        if self._actor is None:
            return 0.0
        limit_s = self._idle_limit_s()
        if limit_s is None or SYNC not in self._actor.definition.hints:
            return limit_s and max(0.0, limit_s - idle_s)
        if not (self._actor.definition.stateless and self._kit.settings.workers.autoscaling):
            return 0.0
        return kept_for_s(
            self._key.id,
            await persist(lambda: self._kit.stores.workers.list_workers(self._key.actor)),
            self._kit.clock.now(),
            sync_max_idle_s=self._kit.settings.workers.sync_max_idle_time,
        )

    def _idle_limit_s(self) -> float | None:
        workers = self._kit.settings.workers
        return idle_limit_s(
            is_stateless=self._actor is None or self._actor.definition.stateless,
            is_scaling=workers.autoscaling,
            idle_grace_s=self._kit.settings.runtime.idle_grace,
            worker_ttl_s=workers.worker_ttl,
        )

    async def _retire(self, *, revocable: bool) -> bool:
        workers = self._kit.stores.workers
        try:
            return await persist(lambda: workers.retire_idle(self._key, revocable=revocable))
        except NotFoundError:
            return True  # somebody has deleted the record

    async def _leave(self) -> life.Stimulus:
        if await persist(lambda: self._kit.stores.workers.leave(self._key)):
            _log.info("worker %s is gone", self._key.id)
            return life.RecordDeleted()
        _log.info("worker %s is called back by a message", self._key.id)
        return life.CalledBack()

    async def _is_drained(self) -> bool:
        try:
            worker = await persist(lambda: self._kit.stores.workers.get(self._key))
        except NotFoundError:
            return True
        return worker.status in {WorkerStatus.SHUTDOWN_REQUESTED, WorkerStatus.SHUTTING_DOWN}

    # Running a message.

    async def _run_message(self) -> list[life.Stimulus]:
        attempt = await self._make_attempt()
        settlement = await attempt.run()
        self._claim, self._takes_over = None, None
        self._start_failures = settlement.start_failures
        self._has_run = True
        settled = life.RunSettled(settlement.delay_s)
        is_drained = bool(self._drains.take()) and await self._is_drained()
        return [life.DrainRequested(), settled] if is_drained else [settled]

    async def _make_attempt(self) -> Attempt:
        if self._takes_over is not None:
            key = self._key.actor
            actor = await persist(lambda: self._kit.stores.actors.get(key))
            return Attempt(
                self._kit, actor, self._takes_over, None, None, revision=self.worker.revision
            )
        claim = self._claim
        assert claim is not None  # noqa: S101 - the machine was told Claimed
        self._actor = claim.actor
        return Attempt(
            self._kit,
            claim.actor,
            claim.execution,
            claim.message,
            self._make_spec,
            revision=self.worker.revision,
            start_failures=self._start_failures,
            may_be_halted=bool(self._changes.take()),
        )

    async def _make_spec(self) -> ContainerSpec:
        actor = self._actor
        assert actor is not None  # noqa: S101 - set with the claim
        if self._image is None:  # taken over, so never pulled here
            self._image = await self._kit.images.ensure(self._wanted)
        if actor.definition.privileged and not self._kit.settings.workers.allow_privileged:
            raise StartFailedError(
                "privileged actors are switched off ([workers] allow_privileged)"
            )
        settings, tenant = self._kit.settings, self._key.tenant
        return ContainerSpec(
            image=self._image,
            tenant=tenant,
            actor_id=self._key.actor_id,
            worker_id=self._key.id,
            revision=self.worker.revision,
            limits=self._limits(actor),
            user=actor.host.user,
            privileged=actor.definition.privileged,
            network=actor.definition.network or settings.engine.for_tenant("network", tenant),
            read_only_rootfs=actor.definition.read_only_rootfs
            or settings.workers.for_tenant("read_only_rootfs", tenant),
            binds=await self._binds(actor),
        )

    async def _binds(self, actor: Actor) -> tuple[Bind, ...]:
        bundle = self._kit.ca_bundle
        return (*await self._kit.host_files.binds(actor), *([bundle] if bundle else []))

    def _limits(self, actor: Actor) -> Limits:
        settings = self._kit.settings
        max_cpus = actor.definition.max_cpus or settings.workers.max_cpus
        pids = settings.engine.pids_limit
        return Limits(
            memory_bytes=parse_memory(actor.definition.mem_limit or settings.workers.mem_limit),
            nano_cpus=max_cpus if max_cpus > 0 else None,
            pids=pids if pids > 0 else None,
        )
