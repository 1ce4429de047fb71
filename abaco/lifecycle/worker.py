"""The life of a worker, from its request to the end of its record.

Rules of this file: everything that moves a worker's status lives here; nothing here waits, reads
a clock or makes an id. The shell performs each instruction and answers with a stimulus.

* The way up: REQUESTED, SPAWNER SETUP, PULLING IMAGE, CREATING CONTAINER, UPDATING STORE, READY.
  A worker that adopts a container left by an earlier process begins in BUSY instead.
* READY and BUSY alternate; the store changes both in the transactions of claim and settlement.
* A drain lets the running message finish. Whoever is idle or on the way up leaves at once.
* A worker that retires because it was idle asks the store last: a message calls it back.
* Every other way down ends in DeleteRecord, exactly once; all of them end in ``is_over``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from abaco.domain.worker import STARTING, WorkerStatus
from abaco.lifecycle.table import Journal

# Stimuli: facts fed to the machine.


@dataclass(frozen=True, slots=True)
class Spawned:
    """The spawner gave the worker a place on this host."""


@dataclass(frozen=True, slots=True)
class ActorChecked:
    """The actor exists, is runnable and has this worker's revision."""


@dataclass(frozen=True, slots=True)
class ImageReady:
    """The image is on the engine's host."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A container can be run for the next message."""


@dataclass(frozen=True, slots=True)
class ActorAnnounced:
    """The actor is READY in the store."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The worker cannot be started: image not to be had, or the engine refuses its containers."""

    reason: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message is leased to this worker; the store has it BUSY."""


@dataclass(frozen=True, slots=True)
class RunSettled:
    """The attempt is over. ``delay_s``: seconds to wait before the next claim."""

    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """Finish the running message, take no other."""


@dataclass(frozen=True, slots=True)
class Retired:
    """The store agreed that this idle worker goes (SHUTDOWN_REQUESTED is written)."""


@dataclass(frozen=True, slots=True)
class CalledBack:
    """A message came before the record was deleted: the store has the worker READY again."""


@dataclass(frozen=True, slots=True)
class Overruled:
    """The store's record says otherwise: stale, gone, or its actor stopped."""


@dataclass(frozen=True, slots=True)
class RecordDeleted:
    """The record is gone."""


Stimulus = (
    Spawned
    | ActorChecked
    | ImageReady
    | Prepared
    | ActorAnnounced
    | StartFailed
    | Claimed
    | RunSettled
    | DrainRequested
    | Retired
    | CalledBack
    | Overruled
    | RecordDeleted
)


# Instructions: what the machine asks for.


@dataclass(frozen=True, slots=True)
class RecordStatus:
    """Compare-and-set the record from ``expect`` to ``status``.

    Answer: none, or Overruled on refusal.
    """

    status: WorkerStatus
    expect: WorkerStatus


@dataclass(frozen=True, slots=True)
class CheckActor:
    """Answer: ActorChecked or Overruled."""


@dataclass(frozen=True, slots=True)
class PullImage:
    """Answer: ImageReady or StartFailed. An engine that is away is waited for."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Answer: Prepared or StartFailed. An engine that is away is waited for."""


@dataclass(frozen=True, slots=True)
class AnnounceActor:
    """Set the actor READY if this revision is its present one.

    Answer: ActorAnnounced or Overruled.
    """


@dataclass(frozen=True, slots=True)
class AwaitMessage:
    """After ``delay_s`` seconds wait for a message. Answer: Claimed, Retired or Overruled."""

    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RunMessage:
    """Run the claimed message. Answer: RunSettled."""


@dataclass(frozen=True, slots=True)
class FailActor:
    """Set the actor to ERROR with this text, if this revision is its present one. No answer."""

    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Delete the record unless a message has come. Answer: RecordDeleted or CalledBack."""


@dataclass(frozen=True, slots=True)
class DeleteRecord:
    """Give back what is prepared and delete the record. Answer: RecordDeleted."""


Instruction = (
    RecordStatus
    | CheckActor
    | PullImage
    | Prepare
    | AnnounceActor
    | AwaitMessage
    | RunMessage
    | FailActor
    | Leave
    | DeleteRecord
)

_S = WorkerStatus


class WorkerMachine:
    """Decides the life of one worker.

    Args:
        status: REQUESTED for a new worker, BUSY for one that adopts a running container.

    """

    def __init__(self, status: WorkerStatus = _S.REQUESTED) -> None:
        if status not in {_S.REQUESTED, _S.BUSY}:
            raise ValueError(f"a worker cannot begin in {status}")
        self._journal = Journal()
        #: changed by ``handle`` only
        self.status: WorkerStatus = status
        #: the record is gone; nothing more will be asked for
        self.is_over = False
        #: there is no way back; invariant: exactly when on the way down
        self._is_leaving = False

    def check(self) -> None:
        """Assert the invariants; tests call it after each step."""
        down = self.status in {_S.SHUTTING_DOWN, _S.ERROR}
        assert self._is_leaving == down  # noqa: S101
        assert self.is_over <= self._is_leaving  # noqa: S101

    def handle(self, stimulus: Stimulus) -> list[Instruction]:
        """Take a stimulus, move, and say what to do.

        Raises:
            InvalidTransitionError: The stimulus cannot happen in this status.

        """
        return self._journal.look_up(TABLE, self.status, stimulus)(self, stimulus)

    def _on_spawned(self, _: Spawned) -> list[Instruction]:
        return [self._advance(_S.SPAWNER_SETUP), CheckActor()]

    def _on_actor_checked(self, _: ActorChecked) -> list[Instruction]:
        return [self._advance(_S.PULLING_IMAGE), PullImage()]

    def _on_image_ready(self, _: ImageReady) -> list[Instruction]:
        return [self._advance(_S.CREATING_CONTAINER), Prepare()]

    def _on_prepared(self, _: Prepared) -> list[Instruction]:
        return [self._advance(_S.UPDATING_STORE), AnnounceActor()]

    def _on_actor_announced(self, _: ActorAnnounced) -> list[Instruction]:
        return [self._advance(_S.READY), AwaitMessage()]

    def _on_start_failed(self, stimulus: StartFailed) -> list[Instruction]:
        return [self._advance(_S.ERROR), FailActor(stimulus.reason), *self._leave(_S.ERROR)]

    def _on_claimed(self, _: Claimed) -> list[Instruction]:
        self.status = _S.BUSY  # the claim's transaction wrote it
        return [RunMessage()]

    def _on_settled(self, stimulus: RunSettled) -> list[Instruction]:
        self.status = _S.READY  # the settlement's transaction wrote it
        return [AwaitMessage(stimulus.delay_s)]

    def _on_drain_idle(self, _: DrainRequested) -> list[Instruction]:
        return self._leave(_S.SHUTTING_DOWN)

    def _on_drain_busy(self, _: DrainRequested) -> list[Instruction]:
        self.status = _S.SHUTDOWN_REQUESTED  # whoever asked wrote it
        return []

    def _on_last_settled(self, _: RunSettled) -> list[Instruction]:
        return self._leave(_S.SHUTTING_DOWN)

    def _on_retired(self, _: Retired) -> list[Instruction]:
        self.status = _S.SHUTDOWN_REQUESTED  # the store wrote it
        return [Leave()]

    def _on_called_back(self, _: CalledBack) -> list[Instruction]:
        self.status = _S.READY  # the store wrote it
        return [AwaitMessage()]

    def _on_left(self, _: RecordDeleted) -> list[Instruction]:
        self.status = _S.SHUTTING_DOWN
        self._is_leaving = self.is_over = True
        return []

    def _on_overruled(self, _: Overruled) -> list[Instruction]:
        return self._leave(_S.SHUTTING_DOWN)

    def _on_record_deleted(self, _: RecordDeleted) -> list[Instruction]:
        self.is_over = True
        return []

    def _ignore(self, _: Stimulus) -> list[Instruction]:
        return []

    def _advance(self, status: WorkerStatus) -> RecordStatus:
        record = RecordStatus(status=status, expect=self.status)
        self.status = status
        return record

    def _leave(self, status: WorkerStatus) -> list[Instruction]:
        self.status = status
        self._is_leaving = True
        return [DeleteRecord()]


_M = WorkerMachine
_Decision = Callable[[WorkerMachine, Any], list[Instruction]]

#: Every pair that can happen. A pair that is not here is a bug of the shell, which drops the
#: answer of an instruction it cancelled.
TABLE: Mapping[tuple[Enum, type], _Decision] = {
    (_S.REQUESTED, Spawned): _M._on_spawned,
    (_S.SPAWNER_SETUP, ActorChecked): _M._on_actor_checked,
    (_S.PULLING_IMAGE, ImageReady): _M._on_image_ready,
    (_S.PULLING_IMAGE, StartFailed): _M._on_start_failed,
    (_S.CREATING_CONTAINER, Prepared): _M._on_prepared,
    (_S.CREATING_CONTAINER, StartFailed): _M._on_start_failed,
    (_S.UPDATING_STORE, ActorAnnounced): _M._on_actor_announced,
    (_S.READY, Claimed): _M._on_claimed,
    (_S.READY, Retired): _M._on_retired,
    (_S.BUSY, RunSettled): _M._on_settled,
    (_S.BUSY, DrainRequested): _M._on_drain_busy,
    (_S.SHUTDOWN_REQUESTED, RunSettled): _M._on_last_settled,
    (_S.SHUTDOWN_REQUESTED, CalledBack): _M._on_called_back,
    (_S.SHUTDOWN_REQUESTED, RecordDeleted): _M._on_left,
    (_S.SHUTTING_DOWN, RecordDeleted): _M._on_record_deleted,
    (_S.ERROR, RecordDeleted): _M._on_record_deleted,
    # the record was drained meanwhile; it is deleted all the same
    (_S.ERROR, Overruled): _M._ignore,
    **{(status, DrainRequested): _M._on_drain_idle for status in (*STARTING, _S.READY)},
    **{(status, Overruled): _M._on_overruled for status in (*STARTING, _S.READY)},
}
