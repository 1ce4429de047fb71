"""Runs one claimed message: performs what the attempt machine asks, and answers it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.context import build_environment
from abaco.domain.execution import Execution, HaltReason, Outcome
from abaco.domain.limits import run_time_limit_s
from abaco.domain.message import Message
from abaco.errors import (
    ContainerMissingError,
    DriverError,
    EngineTimeoutError,
    EngineUnavailableError,
    ImageMissingError,
    NotFoundError,
    RequestError,
    StartFailedError,
    StopFailedError,
    StoreError,
    TokenError,
)
from abaco.lifecycle import execution as life
from abaco.metrics import EXECUTIONS, REDELIVERIES, STAGE_SECONDS, START_FAILURES, observe_use
from abaco.ports.driver import ContainerSpec, Context, Running
from abaco.ports.notices import Topic
from abaco.ports.token_provider import NO_TOKEN, Token
from agents.configs import read_configs
from agents.exchange import Exchange
from agents.images import Wanted
from agents.kit import Kit
from agents.logpump import LogPump
from agents.persist import persist
from agents.tokens import acquire_token

_log = logging.getLogger(__name__)

#: errors after which nobody knows what became of a call
UNCERTAIN = (EngineUnavailableError, EngineTimeoutError)

#: seconds between two looks for a container, when an engine that is there cannot tell
FIRST_FIND_PAUSE_S = 0.05
MAX_FIND_PAUSE_S = 5.0
#: seconds an engine gets to remove a container that never started
UNSTARTED_REMOVE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How an attempt left its worker."""

    delay_s: float
    start_failures: int


class Attempt:
    """The shell of one attempt machine.

    Args:
        kit: What workers share.
        actor: As read in the claim.
        execution: As read in the claim, or as found after a restart.
        message: None when an attempt of an earlier process is taken over.
        make_spec: Says what to run, with the image made sure of; None when taking over.
        revision: Of the actor when the message was claimed; None when nobody knows.
        start_failures: Failures in a row before.

    """

    def __init__(
        self,
        kit: Kit,
        actor: Actor,
        execution: Execution,
        message: Message | None,
        make_spec: Callable[[], Awaitable[ContainerSpec]] | None,
        *,
        revision: int | None = None,
        start_failures: int = 0,
        may_be_halted: bool = True,
    ) -> None:
        self._kit = kit
        self._may_be_halted = may_be_halted
        self._actor = actor
        self._revision = actor.revision if revision is None else revision
        self._execution = execution
        self._key = execution.key
        self._message = message
        self._make_spec = make_spec
        self._machine = life.AttemptMachine(
            kit.retry,
            start_failures=start_failures,
            losses=execution.losses,
            has_started=execution.start_time is not None,
        )
        self._stimuli: asyncio.Queue[life.Stimulus] = asyncio.Queue()
        self._group = asyncio.TaskGroup()
        #: tasks that follow the container; their answers are void once they are cancelled
        self._watch: set[asyncio.Task[None]] = set()
        self._running: Running | None = None
        self._is_recorded = execution.start_time is not None
        self._recording: asyncio.Task[None] | None = None
        self._log_done = asyncio.Event()
        self._log = LogPump(kit, actor, self._key)
        self._exchange = Exchange(kit, execution, message)
        self._token: Token = NO_TOKEN
        #: set with the first request to stop
        self._is_halted = asyncio.Event()
        self._delay_s = 0.0
        #: before the next look for the container; grows while looks fail
        self._find_pause_s = 0.0

    async def run(self) -> Settlement:
        """Run until the attempt is settled. Cancelling leaves the container to be adopted."""
        try:
            await self._settle()
        finally:
            self._exchange.detach()
        await self._exchange.close()
        await self._kit.tokens.release(self._token)
        return Settlement(delay_s=self._delay_s, start_failures=self._machine.start_failures)

    async def _settle(self) -> None:
        with (
            self._kit.notices.subscribe(Topic.HALT, key=self._key) as halts,
            self._kit.notices.subscribe(Topic.ACTOR, key=self._key.actor) as changes,
        ):
            async with self._group:
                if self._may_be_halted and (reason := await persist(self._halt_reason)):
                    self._answer(life.HaltRequested(reason))
                listeners = [
                    self._group.create_task(self._listen(subscription.wait))
                    for subscription in (halts, changes)
                ]
                self._begin()
                while self._machine.phase is not life.Phase.SETTLED:
                    stimulus = await self._stimuli.get()
                    for instruction in self._machine.handle(stimulus):
                        self._obey(instruction)
                for task in listeners:
                    task.cancel()

    def _begin(self) -> None:
        if self._message is not None and self._make_spec is not None:
            self._follow(self._start(self._message, self._make_spec))
        else:
            self._answer(life.EngineLost())  # taking over begins like a return of the engine

    # The way of instructions and answers.

    def _answer(self, stimulus: life.Stimulus) -> None:
        if isinstance(stimulus, life.HaltRequested):
            self._is_halted.set()
        self._stimuli.put_nowait(stimulus)

    def _follow(self, work: Coroutine[Any, Any, life.Stimulus | None]) -> None:
        """Perform an instruction in a task that dies when the container's watch ends."""

        async def answer() -> None:
            try:
                stimulus = await work
            except ContainerMissingError:
                stimulus = life.ContainerLost()
            except DriverError as error:  # what became of the call is not known
                if isinstance(error, UNCERTAIN):
                    self._kit.engine.report_down(error)
                else:
                    _log.warning("execution %s: %s", self._key.id, error)
                stimulus = life.EngineLost()
            if stimulus is None:
                return
            if isinstance(stimulus, life.EngineLost | life.ContainerLost):
                self._watch.discard(task)
                self._end_watch()
            self._answer(stimulus)

        task = self._group.create_task(answer())
        self._watch.add(task)
        task.add_done_callback(self._watch.discard)

    def _end_watch(self) -> None:
        """Cancel whatever follows the container, and void the answers it has given."""
        for task in self._watch:
            task.cancel()
        self._watch.clear()
        kept = []
        while not self._stimuli.empty():
            stimulus = self._stimuli.get_nowait()
            if isinstance(stimulus, life.HaltRequested):
                kept.append(stimulus)
        for stimulus in kept:
            self._answer(stimulus)

    def _obey(self, instruction: life.Instruction) -> None:
        match instruction:
            case life.Supervise(container_id=container_id, started_at=started_at):
                self._supervise(container_id, started_at)
            case life.StopContainer():
                self._follow(self._stop())
            case life.FindContainer():
                self._follow(self._find())
            case life.CompleteLog():
                self._follow(self._complete_log())
            case life.Finalize():
                self._end_watch()
                self._group.create_task(self._finalize(instruction))
            case life.Release():
                self._end_watch()
                self._group.create_task(self._release(instruction))
            case life.FailActor(reason=reason):
                self._group.create_task(self._fail_actor(reason))
            case life.RemoveContainer():
                self._remove()

    # Performing.

    async def _start(
        self, message: Message, make_spec: Callable[[], Awaitable[ContainerSpec]]
    ) -> life.Stimulus:
        if self._execution.losses:  # output of the attempt that was lost
            await persist(lambda: self._kit.stores.logs.clear(self._key))
            await persist(lambda: self._kit.stores.results.clear(self._key))
        waited = self._kit.clock.now() - message.enqueued_at
        STAGE_SECONDS.labels("queue_wait").observe(max(0.0, waited.total_seconds()))
        worker_id = self._execution.worker_id
        assert worker_id is not None  # noqa: S101 - the claim wrote it
        try:
            with STAGE_SECONDS.labels("token").time():
                self._token = await acquire_token(
                    self._kit, self._actor, self._execution, self._is_halted
                )
            environment = build_environment(
                self._actor,
                message,
                worker_id,
                access_token=self._token.value,
                configs=await read_configs(self._kit, self._actor.key),
                has_json=self._kit.settings.runtime.json_variables,
                has_ca_bundle=self._kit.ca_bundle is not None,
            )
            binds = await self._exchange.open()
        except (RequestError, TokenError) as error:
            return life.ContextRefused(error.message)
        except StartFailedError as error:
            return life.StartFailed(error.message)
        if binds:
            self._group.create_task(self._exchange.run())
        context = Context(
            execution=self._key,
            attempt=self._execution.attempt,
            environment=environment,
            binds=binds,
        )
        try:
            with STAGE_SECONDS.labels("start").time():
                self._running = await self._dispatch(make_spec, context)
        except (StartFailedError, ImageMissingError) as error:  # and nothing else says that surely
            START_FAILURES.labels(error.code).inc()
            return life.StartFailed(error.message)
        return life.Started(self._running.container_id, self._running.started_at)

    async def _dispatch(
        self, make_spec: Callable[[], Awaitable[ContainerSpec]], context: Context
    ) -> Running:
        driver = self._kit.driver
        spec = await make_spec()
        try:
            return await driver.dispatch(await driver.prepare(spec), context)
        except ImageMissingError:  # removed from the host since the worker started
            wanted = Wanted(self._actor.key, spec.revision, spec.image.reference)
            image = await self._kit.images.ensure(wanted)
            return await driver.dispatch(await driver.prepare(replace(spec, image=image)), context)

    def _supervise(self, container_id: str, started_at: datetime) -> None:
        running = self._running
        assert running is not None  # noqa: S101 - set by whoever answered Started
        self._log_done.clear()
        if not self._is_recorded:
            self._is_recorded = True
            recording = self._record_running(container_id, started_at)
            self._recording = self._group.create_task(recording)
        self._follow(self._pump(running))
        self._follow(self._await_exit(running))
        cap_s = self._kit.settings.workers.max_run_time
        limit_s = run_time_limit_s(self._actor.definition.max_run_time, cap_s)
        if limit_s is not None:
            self._follow(self._time_out(started_at, limit_s))

    async def _record_running(self, container_id: str, started_at: datetime) -> None:
        is_recorded = await persist(
            lambda: self._kit.stores.mailbox.mark_running(
                self._key, self._execution.attempt, container_id, started_at
            )
        )
        if is_recorded:
            _log.info("execution %s is RUNNING in %s", self._key.id, container_id[:12])
            self._kit.notices.publish(Topic.EXECUTION, self._key)

    async def _pump(self, running: Running) -> None:
        await self._log.run(running)
        self._log_done.set()

    async def _complete_log(self) -> life.Stimulus:
        await self._log_done.wait()
        await self._exchange.finish()
        await self._exchange.collect()
        if note := self._exchange.note():
            await self._log.note(note)
        return life.LogCompleted()

    async def _await_exit(self, running: Running) -> life.Stimulus:
        ended = await running.wait()
        if ended.exit_code in {*life.SIGNALLED_EXITS, life.UNSEEN_EXIT} and not ended.oom_killed:
            # An engine that is being stopped ends its containers first: see whether it is there.
            await self._kit.driver.info()
        return life.Exited(ended)

    async def _time_out(self, started_at: datetime, limit_s: float) -> life.Stimulus:
        elapsed_s = (self._kit.clock.now() - started_at).total_seconds()
        await asyncio.sleep(max(0.0, limit_s - elapsed_s))
        return life.HaltRequested(HaltReason.TIMEOUT)

    async def _stop(self) -> life.Stimulus | None:
        assert self._running is not None  # noqa: S101 - only what runs is stopped
        try:
            await self._running.stop(self._kit.settings.runtime.stop_grace)
        except StopFailedError as error:
            return life.StopFailed(error.message)
        return None

    async def _find(self) -> life.Stimulus:
        await asyncio.sleep(self._find_pause_s)
        self._find_pause_s = min(MAX_FIND_PAUSE_S, 2 * self._find_pause_s or FIRST_FIND_PAUSE_S)
        await self._kit.engine.wait_until_up()
        container_id = self._execution.container_id
        if self._running is not None:
            container_id = self._running.container_id
        if not container_id:
            container_id = await self._look_up()
        try:
            self._running = await self._kit.driver.adopt(container_id)
        except StartFailedError:  # created, never started: nothing of the user's ran
            await self._remove_unstarted(container_id)
            return life.ContainerLost()
        self._find_pause_s = 0.0
        return life.Started(self._running.container_id, self._running.started_at)

    async def _remove_unstarted(self, container_id: str) -> None:
        """Remove a container before its message runs in another: it must not start after all."""
        try:
            async with asyncio.timeout(UNSTARTED_REMOVE_S):
                await self._kit.driver.remove(container_id)
        except UNCERTAIN:
            raise
        except (TimeoutError, DriverError) as error:
            # what an engine is too broken to remove it will not start either
            _log.warning("container %s is left to the sweep: %s", container_id[:12], error)
            self._kit.remover.remove_soon(container_id)

    async def _look_up(self) -> str:
        for owned in await self._kit.driver.list_owned():
            is_ours = owned.execution_id == self._key.id
            if is_ours and owned.attempt == self._execution.attempt:
                return owned.container_id
        raise ContainerMissingError(f"no container of execution {self._key.id}")

    async def _finalize(self, instruction: life.Finalize) -> None:
        if self._recording is not None:
            await self._recording  # RUNNING never comes after the end
        await self._exchange.finish()
        outcome = self._outcome(instruction)
        with STAGE_SECONDS.labels("finalize").time():
            is_final = await persist(
                lambda: self._kit.stores.mailbox.finalize(
                    self._key, self._execution.attempt, outcome, now=self._kit.clock.now()
                )
            )
        await self._drop_blob()
        if is_final:
            reason = str(self._machine.halt or ("error" if outcome.error else "exit"))
            EXECUTIONS.labels(outcome.status.value, reason).inc()
            if instruction.exit is not None:
                STAGE_SECONDS.labels("run").observe(outcome.runtime_ms / 1000)
                observe_use(outcome)
            _log.info(
                "execution %s is %s, exit code %s%s",
                self._key.id,
                outcome.status.value,
                outcome.exit_code,
                f": {outcome.error}" if outcome.error else "",
            )
        self._settled()

    def _outcome(self, instruction: life.Finalize) -> Outcome:
        ended = instruction.exit
        if ended is None:
            return Outcome(
                status=instruction.status,
                finish_time=self._kit.clock.now(),
                error=instruction.error,
            )
        runtime = ended.finished_at - ended.started_at
        return Outcome(
            status=instruction.status,
            finish_time=ended.finished_at,
            exit_code=ended.exit_code,
            final_state={**(instruction.final_state or {}), **self._exchange.report()},
            cpu_ns=ended.cpu_ns,
            io_bytes=ended.io_bytes,
            io_detail=ended.io_detail,
            memory_peak_bytes=ended.memory_peak_bytes,
            runtime_ms=max(0, round(runtime.total_seconds() * 1000)),
            error=instruction.error,
        )

    async def _drop_blob(self) -> None:
        """Remove the message's file; of a message that is not known, a file it may have had."""
        if self._message is not None and self._message.blob is None:
            return
        try:
            await self._kit.stores.blobs.delete([self._key.id])
        except StoreError as error:
            _log.warning("the file of message %s is left to a sweep: %s", self._key.id, error)

    async def _release(self, instruction: life.Release) -> None:
        self._delay_s = instruction.delay_s
        await self._exchange.finish()
        await persist(
            lambda: self._kit.stores.mailbox.release(
                self._key, self._execution.attempt, lost=instruction.is_lost
            )
        )
        kind = "lost" if instruction.is_lost else "not_started"
        REDELIVERIES.labels(kind).inc()
        _log.warning("execution %s goes back to its mailbox (%s)", self._key.id, kind)
        self._settled()

    def _settled(self) -> None:
        self._kit.notices.publish(Topic.EXECUTION, self._key)
        # a stateful actor's next message, or a released one, can be taken now
        self._kit.notices.publish(Topic.MAILBOX, self._key.actor)
        self._answer(life.Settled())

    async def _fail_actor(self, reason: str) -> None:
        await self._kit.set_actor_status(
            self._actor.key, self._actor.revision, ActorStatus.ERROR, reason
        )

    def _remove(self) -> None:
        if self._running is not None and not self._kit.settings.workers.leave_containers:
            self._kit.remover.remove_soon(self._running.container_id)

    # Requests from outside.

    async def _listen(self, wait: Callable[[], Awaitable[bool]]) -> None:
        while True:
            await wait()
            reason = await persist(self._halt_reason)
            if reason is not None:
                self._answer(life.HaltRequested(reason))
                return

    async def _halt_reason(self) -> HaltReason | None:
        execution = await self._kit.stores.executions.get(self._key)
        if execution.halt_requested is not None:
            return execution.halt_requested
        try:
            actor = await self._kit.stores.actors.get(self._key.actor)
        except NotFoundError:
            return HaltReason.ACTOR_DELETED
        if actor.status is ActorStatus.SHUTTING_DOWN:
            return HaltReason.ACTOR_DELETED
        is_old = actor.revision > self._revision
        if is_old and self._kit.settings.runtime.update_running == "halt":
            return HaltReason.ACTOR_UPDATED
        return None
