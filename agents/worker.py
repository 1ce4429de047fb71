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
from abaco.errors import DriverError, ImageMissingError, NotFoundError
from abaco.lifecycle import worker as life
from abaco.lifecycle.scaling import idle_limit_s
from abaco.ports.driver import ContainerSpec, ImageInfo, Limits
from abaco.ports.notices import Subscription, Topic
from abaco.ports.store import Claim, Refusal
from agents.attempt import UNCERTAIN, Attempt
from agents.kit import Kit, persist
from agents.progress import PullProgress

_log = logging.getLogger(__name__)


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
        self._actor: Actor | None = None
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
            while not self._machine.is_over:
                for stimulus in await self._perform(pending.popleft()):
                    following = self._machine.handle(stimulus)
                    if following:
                        pending = deque(following)

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
            pull = group.create_task(self._ensure_image())
            leave = group.create_task(self._wait_for_drain())
            done, _ = await asyncio.wait({pull, leave}, return_when=asyncio.FIRST_COMPLETED)
            pull.cancel()
            leave.cancel()
        return pull.result() if pull in done else life.Overruled()

    async def _wait_for_drain(self) -> None:
        while await self._find_actor() is not None and not await self._is_drained():
            await self._notices.wait()

    async def _ensure_image(self) -> life.Stimulus:
        """Bring the image. An engine that fails without saying why gets a few more tries."""
        failures = 0
        while True:
            await self._wait_for_engine()
            try:
                async with PullProgress(self._kit, self._key.actor, self.worker) as progress:
                    self._image = await self._kit.images.ensure(self.worker.image, progress.note)
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
        idle_until_s = self._idle_until_s()
        has_offered = False
        while True:
            await self._kit.engine.wait_until_up()
            if self._has_run and await self._hands_on():
                return life.DrainRequested()
            got = await persist(self._try_claim)
            if isinstance(got, Claim):
                self._claim = got
                return life.Claimed()
            if got is not Refusal.EMPTY:
                return life.Overruled()
            left_s = None
            if self._kit.slots.is_wanted(self._key.actor) and not has_offered:
                left_s, has_offered = 0.0, True
            elif idle_until_s is not None:
                left_s = max(0.0, idle_until_s - self._kit.clock.monotonic())
            if not await self._notices.wait(left_s):
                if await self._retire():
                    return life.Retired()
                idle_until_s = self._idle_until_s()

    async def _try_claim(self) -> Claim | Refusal:
        mailbox = self._kit.stores.mailbox
        return await mailbox.claim(self._key, self.worker.revision, self._kit.clock.now())

    async def _stay_for(self, delay_s: float) -> bool:
        """Wait, but not through a drain. False when drained."""
        until_s = self._kit.clock.monotonic() + delay_s
        while (left_s := until_s - self._kit.clock.monotonic()) > 0:
            if await self._notices.wait(left_s) and await self._is_drained():
                return False
        return True

    async def _hands_on(self) -> bool:
        """Leave between two messages when another actor's turn for the slot has come."""
        if not self._kit.slots.must_hand_on(self._key):
            return False
        status = WorkerStatus.SHUTDOWN_REQUESTED
        with suppress(NotFoundError):  # somebody has deleted the record: all the more
            await persist(
                lambda: self._kit.stores.workers.set_status(
                    self._key, status, expect={WorkerStatus.READY}
                )
            )
        return True

    def _idle_until_s(self) -> float | None:
        workers = self._kit.settings.workers
        limit_s = idle_limit_s(
            is_stateless=self._actor is None or self._actor.definition.stateless,
            is_scaling=workers.autoscaling,
            idle_grace_s=self._kit.settings.runtime.idle_grace,
            worker_ttl_s=workers.worker_ttl,
        )
        return None if limit_s is None else self._kit.clock.monotonic() + limit_s

    async def _retire(self) -> bool:
        try:
            return await persist(lambda: self._kit.stores.workers.retire_idle(self._key))
        except NotFoundError:
            return False  # the next claim is refused and says why

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
            return Attempt(self._kit, actor, self._takes_over, None, None)
        claim = self._claim
        assert claim is not None  # noqa: S101 - the machine was told Claimed
        self._actor = claim.actor
        return Attempt(
            self._kit,
            claim.actor,
            claim.execution,
            claim.message,
            self._make_spec,
            start_failures=self._start_failures,
            may_be_halted=bool(self._changes.take()),
        )

    async def _make_spec(self) -> ContainerSpec:
        actor = self._actor
        assert actor is not None  # noqa: S101 - set with the claim
        if self._image is None:  # taken over, so never pulled here
            self._image = await self._kit.images.ensure(self.worker.image)
        user = await self._kit.identity.resolve(actor)
        uid, gid = user.uid, user.gid
        return ContainerSpec(
            image=self._image,
            tenant=self._key.tenant,
            actor_id=self._key.actor_id,
            worker_id=self._key.id,
            revision=self.worker.revision,
            limits=self._limits(actor),
            user=None if uid is None else str(uid) if gid is None else f"{uid}:{gid}",
            privileged=actor.definition.privileged,
        )

    def _limits(self, actor: Actor) -> Limits:
        settings = self._kit.settings
        max_cpus = actor.definition.max_cpus or settings.workers.max_cpus
        pids = settings.engine.pids_limit
        return Limits(
            memory_bytes=parse_memory(actor.definition.mem_limit or settings.workers.mem_limit),
            nano_cpus=max_cpus if max_cpus > 0 else None,
            pids=pids if pids > 0 else None,
        )
