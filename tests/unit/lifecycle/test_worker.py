"""The worker machine: named stories, then random ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.worker import STARTING, WorkerStatus
from abaco.errors import InvalidTransitionError
from abaco.lifecycle.worker import (
    TABLE,
    ActorAnnounced,
    ActorChecked,
    AnnounceActor,
    AwaitMessage,
    CalledBack,
    CheckActor,
    Claimed,
    DeleteRecord,
    DrainRequested,
    FailActor,
    ImageReady,
    Leave,
    Overruled,
    Prepare,
    Prepared,
    PullImage,
    RecordDeleted,
    RecordStatus,
    Retired,
    RunMessage,
    RunSettled,
    Spawned,
    StartFailed,
    WorkerMachine,
)

S = WorkerStatus
WAY_UP = [Spawned(), ActorChecked(), ImageReady(), Prepared(), ActorAnnounced()]


def play(machine: WorkerMachine, *stimuli: object) -> list[object]:
    instructions: list[object] = []
    for stimulus in stimuli:
        instructions = list(machine.handle(stimulus))  # type: ignore[arg-type]
        machine.check()
    return instructions


def a_ready_worker() -> WorkerMachine:
    machine = WorkerMachine()
    play(machine, *WAY_UP)
    return machine


def test_the_way_up_records_each_status_before_its_work() -> None:
    machine = WorkerMachine()
    assert play(machine, Spawned()) == [RecordStatus(S.SPAWNER_SETUP, S.REQUESTED), CheckActor()]
    assert play(machine, ActorChecked()) == [
        RecordStatus(S.PULLING_IMAGE, S.SPAWNER_SETUP),
        PullImage(),
    ]
    assert play(machine, ImageReady()) == [
        RecordStatus(S.CREATING_CONTAINER, S.PULLING_IMAGE),
        Prepare(),
    ]
    assert play(machine, Prepared()) == [
        RecordStatus(S.UPDATING_STORE, S.CREATING_CONTAINER),
        AnnounceActor(),
    ]
    assert play(machine, ActorAnnounced()) == [
        RecordStatus(S.READY, S.UPDATING_STORE),
        AwaitMessage(),
    ]


def test_ready_and_busy_alternate() -> None:
    machine = a_ready_worker()
    assert play(machine, Claimed()) == [RunMessage()]
    assert machine.status is S.BUSY
    assert play(machine, RunSettled(5.0)) == [AwaitMessage(5.0)]
    assert machine.status is S.READY


def test_a_drain_lets_the_running_message_finish() -> None:
    machine = a_ready_worker()
    assert play(machine, Claimed(), DrainRequested()) == []
    assert machine.status is S.SHUTDOWN_REQUESTED
    assert play(machine, RunSettled()) == [DeleteRecord()]
    assert play(machine, RecordDeleted()) == []
    assert machine.is_over


@pytest.mark.parametrize("steps", range(len(WAY_UP) + 1))
@pytest.mark.parametrize("word", [DrainRequested(), Overruled()])
def test_who_is_not_busy_leaves_at_once(steps: int, word: object) -> None:
    machine = WorkerMachine()
    play(machine, *WAY_UP[:steps])
    if steps == len(WAY_UP):
        assert machine.status is S.READY
    assert play(machine, word) == [DeleteRecord()]
    assert machine.status is S.SHUTTING_DOWN


def test_an_idle_worker_may_retire() -> None:
    machine = a_ready_worker()
    assert play(machine, Retired()) == [Leave()]
    assert machine.status is S.SHUTDOWN_REQUESTED
    assert play(machine, RecordDeleted()) == []
    assert (machine.status, machine.is_over) == (S.SHUTTING_DOWN, True)


def test_a_message_calls_a_retiring_worker_back() -> None:
    machine = a_ready_worker()
    assert play(machine, Retired(), CalledBack()) == [AwaitMessage()]
    assert machine.status is S.READY
    assert play(machine, Claimed()) == [RunMessage()]
    assert play(machine, RunSettled(), Retired()) == [Leave()]


def test_a_drained_worker_is_not_called_back() -> None:
    machine = a_ready_worker()
    play(machine, DrainRequested())
    with pytest.raises(InvalidTransitionError):
        machine.handle(CalledBack())


@pytest.mark.parametrize("steps", [2, 3])
def test_an_image_that_cannot_be_had_fails_the_actor(steps: int) -> None:
    machine = WorkerMachine()
    before = play(machine, *WAY_UP[:steps])[0]
    assert isinstance(before, RecordStatus)
    assert play(machine, StartFailed("no such image")) == [
        RecordStatus(S.ERROR, before.status),
        FailActor("no such image"),
        DeleteRecord(),
    ]
    assert play(machine, Overruled()) == []
    play(machine, RecordDeleted())
    assert machine.is_over


def test_a_worker_that_takes_over_begins_busy() -> None:
    machine = WorkerMachine(S.BUSY)
    assert play(machine, RunSettled()) == [AwaitMessage()]


def test_no_worker_begins_elsewhere() -> None:
    with pytest.raises(ValueError, match="READY"):
        WorkerMachine(S.READY)


def test_a_stimulus_that_cannot_happen_changes_nothing() -> None:
    machine = a_ready_worker()
    with pytest.raises(InvalidTransitionError, match="Prepared cannot happen in READY"):
        machine.handle(Prepared())
    assert machine.status is S.READY


STIMULI = st.sampled_from(
    [
        *WAY_UP,
        StartFailed("x"),
        Claimed(),
        RunSettled(),
        RunSettled(5.0),
        DrainRequested(),
        Retired(),
        CalledBack(),
        Overruled(),
        RecordDeleted(),
    ]
)


@given(stimuli=st.lists(STIMULI, max_size=60), takes_over=st.booleans())
def test_whatever_happens_the_record_is_deleted_once(
    stimuli: list[object], takes_over: bool
) -> None:
    machine = WorkerMachine(S.BUSY if takes_over else S.REQUESTED)
    deletions = 0
    for stimulus in stimuli:
        before = machine.status
        if (before, type(stimulus)) not in TABLE or machine.is_over:
            if not machine.is_over:
                with pytest.raises(InvalidTransitionError):
                    machine.handle(stimulus)  # type: ignore[arg-type]
                assert machine.status is before
            continue
        instructions = machine.handle(stimulus)  # type: ignore[arg-type]
        machine.check()
        deletions += instructions.count(DeleteRecord())
        for one in instructions:
            if isinstance(one, RecordStatus):
                assert one.expect is before
                assert one.status is machine.status
        if before in {S.BUSY, S.SHUTDOWN_REQUESTED} and machine.status is not before:
            assert isinstance(stimulus, RunSettled | DrainRequested | CalledBack | RecordDeleted)
        if before not in STARTING and machine.status in STARTING:
            pytest.fail("a worker never goes back to its start")
        is_down = machine.status in {S.SHUTTING_DOWN, S.ERROR}
        left_by_itself = before is S.SHUTDOWN_REQUESTED and isinstance(stimulus, RecordDeleted)
        assert deletions == (is_down and not left_by_itself)
