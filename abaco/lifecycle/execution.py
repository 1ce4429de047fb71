"""The life of one attempt to run a message, from its claim to its settlement.

Rules of this file: everything that moves the phase of an attempt lives here. Nothing here waits,
reads a clock or makes an id: times and ids arrive inside stimuli. The shell performs each
instruction and answers with a stimulus, also on failure.

* Phase order: STARTING, RUNNING, (STOPPING), DRAINING, SETTLING, SETTLED. UNCERTAIN is entered
  from the first four when the engine vanishes, and left when it is back.
* The log is complete before the outcome is written: DRAINING comes before SETTLING.
* One attempt settles exactly once: with Finalize or with Release, never with both.
* A container that ended because its engine was stopped is lost, not complete: it may run again.
* One that ended by itself while the engine did not look is final, without an exit code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any

from abaco.domain.execution import ExecutionStatus, Exit, HaltReason
from abaco.lifecycle.retry import RetryPolicy
from abaco.lifecycle.table import Journal

#: exit codes of a program that somebody ended with SIGKILL or SIGTERM
SIGNALLED_EXITS = frozenset({137, 143})

#: what Docker says of an end it did not see. Source: measured, Docker 20.10 restarted in mid-run
UNSEEN_EXIT = 255
#: said of a program that ended by itself, nobody knows how; running it again would be no better
UNSEEN_END = "the container ended, but its engine did not see how: the exit code is lost"


class Phase(StrEnum):
    """Where an attempt is. Finer than the execution's public status."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    UNCERTAIN = "uncertain"
    DRAINING = "draining"
    SETTLING = "settling"
    SETTLED = "settled"


# Stimuli: facts fed to the machine.


@dataclass(frozen=True, slots=True)
class Started:
    """The program was started, or found again."""

    container_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The program certainly did not start."""

    reason: str


@dataclass(frozen=True, slots=True)
class ContextRefused:
    """The context cannot be given to any container (too large by now)."""

    reason: str


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The engine vanished in mid-call; what became of the container is unknown."""


@dataclass(frozen=True, slots=True)
class ContainerLost:
    """The engine is there, the attempt's container is not."""


@dataclass(frozen=True, slots=True)
class HaltRequested:
    """Somebody, or the run-time limit, wants the program to end."""

    reason: HaltReason


@dataclass(frozen=True, slots=True)
class Exited:
    """The container ended."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class StopFailed:
    """The container would not stop."""

    reason: str


@dataclass(frozen=True, slots=True)
class LogCompleted:
    """Every byte of output is stored."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The settlement is durable, or was refused because a later attempt holds the message."""


Stimulus = (
    Started
    | StartFailed
    | ContextRefused
    | EngineLost
    | ContainerLost
    | HaltRequested
    | Exited
    | StopFailed
    | LogCompleted
    | Settled
)


# Instructions: what the machine asks for.


@dataclass(frozen=True, slots=True)
class Supervise:
    """Record RUNNING, follow output and exit, arm the run-time limit from ``started_at``."""

    container_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Stop the container, gently, then by force. Answer: Exited comes, or StopFailed."""


@dataclass(frozen=True, slots=True)
class FindContainer:
    """When the engine is back, look for the attempt's container.

    Answer: Started (also for one that has ended), ContainerLost, or EngineLost again.
    """


@dataclass(frozen=True, slots=True)
class CompleteLog:
    """Store the rest of the output. Answer: LogCompleted or EngineLost."""


@dataclass(frozen=True, slots=True)
class Finalize:
    """Write the outcome. ``exit`` is None when no container ended. Answer: Settled."""

    status: ExecutionStatus
    exit: Exit | None = None
    final_state: Mapping[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """Put the message back at its place. Answer: Settled.

    Units: ``delay_s`` seconds this worker waits before its next claim.
    """

    is_lost: bool
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FailActor:
    """Set the actor to ERROR with this text. No answer."""

    reason: str


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Have the attempt's container removed, off the path. No answer."""


Instruction = (
    Supervise
    | StopContainer
    | FindContainer
    | CompleteLog
    | Finalize
    | Release
    | FailActor
    | RemoveContainer
)


class AttemptMachine:
    """Decides the life of one attempt.

    Args:
        policy: Limits of the retry classes.
        start_failures: Failures to start in a row before this attempt.
        losses: Earlier attempts of this message whose container was lost.
        has_started: The program is known to have started: the attempt is taken over from an
            earlier process.

    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        start_failures: int = 0,
        losses: int = 0,
        has_started: bool = False,
    ) -> None:
        self._policy = policy
        self._losses = losses
        self._journal = Journal()
        #: changed by ``handle`` only
        self.phase = Phase.STARTING
        #: failures to start in a row, this attempt's included; 0 after a start
        self.start_failures = start_failures
        #: first reason wins
        self.halt: HaltReason | None = None
        #: the engine vanished while this process followed the container
        self._was_uncertain = False
        #: the container was found again, after an outage or by a new process
        self._was_found = False
        #: RUNNING was reached, by us or by an earlier process
        self._has_started = has_started
        #: set when DRAINING begins
        self._exit: Exit | None = None
        #: Finalize or Release was asked for; invariant: one of them, once
        self._has_settled_instruction = False

    def check(self) -> None:
        """Assert the invariants; tests call it after each step."""
        assert (self._exit is not None) <= self._has_started  # noqa: S101
        assert self.phase is not Phase.DRAINING or self._exit is not None  # noqa: S101
        assert self._has_settled_instruction == (  # noqa: S101
            self.phase in {Phase.SETTLING, Phase.SETTLED}
        )

    def handle(self, stimulus: Stimulus) -> list[Instruction]:
        """Take a stimulus, move, and say what to do.

        Raises:
            InvalidTransitionError: The stimulus cannot happen in this phase.

        """
        return self._journal.look_up(TABLE, self.phase, stimulus)(self, stimulus)

    def _on_started(self, stimulus: Started) -> list[Instruction]:
        self._has_started = True
        self.start_failures = 0
        if self._exit is not None:  # the exit was known when the engine vanished: log only
            self.phase = Phase.DRAINING
            return [Supervise(stimulus.container_id, stimulus.started_at), CompleteLog()]
        supervise = Supervise(stimulus.container_id, stimulus.started_at)
        if self.halt is not None:
            self.phase = Phase.STOPPING
            return [supervise, StopContainer()]
        self.phase = Phase.RUNNING
        return [supervise]

    def _on_start_failed(self, stimulus: StartFailed) -> list[Instruction]:
        self.start_failures += 1
        if self.halt is not None:
            return self._settle(
                Finalize(ExecutionStatus.ERROR, error=f"stopped before its start: {self.halt}")
            )
        if self._policy.may_start_again(self.start_failures):
            return self._settle(Release(is_lost=False, delay_s=self._policy.start_backoff_s))
        reason = (
            f"the container could not be started {self.start_failures} times in a row:"
            f" {stimulus.reason}"
        )
        return [FailActor(reason), *self._settle(Finalize(ExecutionStatus.ERROR, error=reason))]

    def _on_context_refused(self, stimulus: ContextRefused) -> list[Instruction]:
        return self._settle(Finalize(ExecutionStatus.ERROR, error=stimulus.reason))

    def _on_engine_lost(self, _: EngineLost) -> list[Instruction]:
        self._was_uncertain |= self.phase in {Phase.RUNNING, Phase.STOPPING, Phase.DRAINING}
        self._was_found = True
        self.phase = Phase.UNCERTAIN
        return [FindContainer()]

    def _on_container_lost(self, _: ContainerLost) -> list[Instruction]:
        if self._exit is not None:  # it had ended before; only the rest of its log is gone
            return self._finalize_exit(self._exit)
        if not self._has_started:
            return self._settle(Release(is_lost=False))
        return self._settle_lost("its container was lost")

    def _on_halt(self, stimulus: HaltRequested) -> list[Instruction]:
        if self.halt is not None:
            return []
        self.halt = stimulus.reason
        if self.phase is not Phase.RUNNING:
            return []
        self.phase = Phase.STOPPING
        return [StopContainer()]

    def _on_exited(self, stimulus: Exited) -> list[Instruction]:
        self._exit = stimulus.exit
        self.phase = Phase.DRAINING
        return [CompleteLog()]

    def _on_log_completed(self, _: LogCompleted) -> list[Instruction]:
        assert self._exit is not None  # noqa: S101 - DRAINING is entered with an exit only
        return self._finalize_exit(self._exit)

    def _on_stop_failed(self, stimulus: StopFailed) -> list[Instruction]:
        reason = f"the container could not be stopped: {stimulus.reason}"
        return [FailActor(reason), *self._settle(Finalize(ExecutionStatus.ERROR, error=reason))]

    def _on_settled(self, _: Settled) -> list[Instruction]:
        self.phase = Phase.SETTLED
        return [RemoveContainer()]

    def _ignore(self, _: Stimulus) -> list[Instruction]:
        return []

    def _finalize_exit(self, ended: Exit) -> list[Instruction]:
        is_engines_doing = (self._was_uncertain and ended.exit_code in SIGNALLED_EXITS) or (
            self._was_found and ended.exit_code == UNSEEN_EXIT
        )
        is_engines_doing = is_engines_doing and self.halt is None and not ended.oom_killed
        if is_engines_doing:
            return self._settle_lost("its container was stopped together with the engine")
        state = dict(ended.state)
        if self.halt is not None:
            state["AbacoReason"] = self.halt.value
        if ended.exit_code is None:
            state["AbacoEndUnseen"] = True
        if self._was_uncertain:  # the engine may have dropped output while it was away
            state["AbacoEngineOutage"] = True
        if ended.exit_code is None and self.halt is None:
            return self._settle(
                Finalize(ExecutionStatus.ERROR, exit=ended, final_state=state, error=UNSEEN_END)
            )
        return self._settle(Finalize(ExecutionStatus.COMPLETE, exit=ended, final_state=state))

    def _settle_lost(self, reason: str) -> list[Instruction]:
        losses = self._losses + 1
        if self.halt is not None:
            return self._settle(
                Finalize(ExecutionStatus.ERROR, error=f"{reason} while it was stopped: {self.halt}")
            )
        if self._policy.may_run_again(losses):
            return self._settle(Release(is_lost=True))
        return self._settle(
            Finalize(ExecutionStatus.ERROR, error=f"lost: {reason}, for the {losses}. time")
        )

    def _settle(self, instruction: Finalize | Release) -> list[Instruction]:
        self.phase = Phase.SETTLING
        self._has_settled_instruction = True
        return [instruction]


_M = AttemptMachine
_Decision = Callable[[AttemptMachine, Any], list[Instruction]]

#: Every pair that can happen. A pair that is not here is a bug of the shell, which drops the
#: answers of whatever it cancelled (the watch of a container when the engine vanishes or the
#: attempt settles).
TABLE: Mapping[tuple[Enum, type], _Decision] = {
    (Phase.STARTING, Started): _M._on_started,
    (Phase.STARTING, StartFailed): _M._on_start_failed,
    (Phase.STARTING, ContextRefused): _M._on_context_refused,
    (Phase.STARTING, EngineLost): _M._on_engine_lost,
    (Phase.STARTING, HaltRequested): _M._on_halt,
    (Phase.RUNNING, HaltRequested): _M._on_halt,
    (Phase.RUNNING, Exited): _M._on_exited,
    (Phase.RUNNING, EngineLost): _M._on_engine_lost,
    (Phase.RUNNING, ContainerLost): _M._on_container_lost,
    (Phase.STOPPING, HaltRequested): _M._ignore,
    (Phase.STOPPING, Exited): _M._on_exited,
    (Phase.STOPPING, EngineLost): _M._on_engine_lost,
    (Phase.STOPPING, ContainerLost): _M._on_container_lost,
    (Phase.STOPPING, StopFailed): _M._on_stop_failed,
    (Phase.UNCERTAIN, Started): _M._on_started,
    (Phase.UNCERTAIN, ContainerLost): _M._on_container_lost,
    (Phase.UNCERTAIN, EngineLost): _M._on_engine_lost,
    (Phase.UNCERTAIN, HaltRequested): _M._on_halt,
    (Phase.DRAINING, LogCompleted): _M._on_log_completed,
    (Phase.DRAINING, EngineLost): _M._on_engine_lost,
    (Phase.DRAINING, ContainerLost): _M._on_container_lost,
    (Phase.DRAINING, HaltRequested): _M._ignore,
    (Phase.DRAINING, Exited): _M._ignore,
    (Phase.DRAINING, StopFailed): _M._ignore,
    (Phase.SETTLING, Settled): _M._on_settled,
    (Phase.SETTLING, HaltRequested): _M._ignore,
}
