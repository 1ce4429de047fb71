"""The attempt machine: named stories, then random ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.execution import ExecutionStatus, Exit, HaltReason
from abaco.errors import InvalidTransitionError
from abaco.lifecycle.execution import (
    TABLE,
    UNSEEN_END,
    AttemptMachine,
    CompleteLog,
    ContainerLost,
    ContextRefused,
    EngineLost,
    Exited,
    FailActor,
    Finalize,
    FindContainer,
    HaltRequested,
    LogCompleted,
    Phase,
    Release,
    RemoveContainer,
    Settled,
    Started,
    StartFailed,
    StopContainer,
    StopFailed,
    Supervise,
)
from abaco.lifecycle.retry import RetryPolicy

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = RetryPolicy(max_start_failures=5, start_backoff_s=5.0, max_attempts=3)
STARTED = Started("c1", NOW)
SUPERVISE = Supervise("c1", NOW)


def an_exit(code: int = 0, *, oom: bool = False) -> Exit:
    return Exit(
        exit_code=code,
        oom_killed=oom,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2),
        state={"ExitCode": code},
    )


def a_machine(**changes: object) -> AttemptMachine:
    return AttemptMachine(POLICY, **changes)  # type: ignore[arg-type]


def play(machine: AttemptMachine, *stimuli: object) -> list[object]:
    """Feed stimuli; return the instructions of the last one."""
    instructions: list[object] = []
    for stimulus in stimuli:
        instructions = list(machine.handle(stimulus))  # type: ignore[arg-type]
        machine.check()
    return instructions


def test_a_run_goes_through_its_phases_in_order() -> None:
    machine = a_machine(start_failures=3)
    assert play(machine, STARTED) == [SUPERVISE]
    assert machine.phase is Phase.RUNNING
    assert machine.start_failures == 0
    assert play(machine, Exited(an_exit(3))) == [CompleteLog()]
    assert play(machine, LogCompleted()) == [
        Finalize(ExecutionStatus.COMPLETE, exit=an_exit(3), final_state={"ExitCode": 3})
    ]
    assert play(machine, Settled()) == [RemoveContainer()]
    assert machine.phase is Phase.SETTLED


@pytest.mark.parametrize("failures", range(5))
def test_a_failed_start_is_tried_again_after_a_pause(failures: int) -> None:
    machine = a_machine(start_failures=failures)
    assert play(machine, StartFailed("no such command")) == [Release(is_lost=False, delay_s=5.0)]
    assert machine.start_failures == failures + 1


def test_the_sixth_failed_start_fails_execution_and_actor() -> None:
    machine = a_machine(start_failures=5)
    reason = "the container could not be started 6 times in a row: no such command"
    assert play(machine, StartFailed("no such command")) == [
        FailActor(reason),
        Finalize(ExecutionStatus.ERROR, error=reason),
    ]


def test_a_context_that_does_not_fit_is_final_at_once() -> None:
    assert play(a_machine(), ContextRefused("state is too large")) == [
        Finalize(ExecutionStatus.ERROR, error="state is too large")
    ]


@pytest.mark.parametrize("reason", list(HaltReason))
def test_a_halt_stops_the_container_and_is_named_in_the_final_state(reason: HaltReason) -> None:
    machine = a_machine()
    assert play(machine, STARTED, HaltRequested(reason)) == [StopContainer()]
    (final,) = play(machine, Exited(an_exit(137)), LogCompleted())
    assert final == Finalize(
        ExecutionStatus.COMPLETE,
        exit=an_exit(137),
        final_state={"ExitCode": 137, "AbacoReason": reason.value},
    )


def test_a_halt_before_the_start_takes_effect_at_the_start() -> None:
    machine = a_machine()
    assert play(machine, HaltRequested(HaltReason.ACTOR_DELETED)) == []
    assert play(machine, STARTED) == [SUPERVISE, StopContainer()]
    assert machine.phase is Phase.STOPPING


def test_the_first_reason_to_halt_wins() -> None:
    machine = a_machine()
    play(machine, HaltRequested(HaltReason.TIMEOUT), HaltRequested(HaltReason.FORCE_QUIT))
    assert machine.halt is HaltReason.TIMEOUT
    play(machine, STARTED, HaltRequested(HaltReason.FORCE_QUIT))
    assert machine.halt is HaltReason.TIMEOUT


def test_a_halted_attempt_that_cannot_start_is_not_tried_again() -> None:
    machine = a_machine()
    (final,) = play(machine, HaltRequested(HaltReason.ACTOR_DELETED), StartFailed("no"))
    assert final == Finalize(ExecutionStatus.ERROR, error="stopped before its start: actor_deleted")


def test_a_container_that_will_not_stop_fails_execution_and_actor() -> None:
    machine = a_machine()
    play(machine, STARTED, HaltRequested(HaltReason.FORCE_QUIT))
    reason = "the container could not be stopped: it is stuck"
    assert play(machine, StopFailed("it is stuck")) == [
        FailActor(reason),
        Finalize(ExecutionStatus.ERROR, error=reason),
    ]


def test_an_engine_that_comes_back_with_the_container_changes_nothing() -> None:
    machine = a_machine()
    assert play(machine, STARTED, EngineLost()) == [FindContainer()]
    assert machine.phase is Phase.UNCERTAIN
    assert play(machine, EngineLost()) == [FindContainer()]
    assert play(machine, STARTED) == [SUPERVISE]
    (final,) = play(machine, Exited(an_exit(0)), LogCompleted())
    assert isinstance(final, Finalize)
    assert final.status is ExecutionStatus.COMPLETE
    assert final.final_state == {"ExitCode": 0, "AbacoEngineOutage": True}


def test_an_end_the_engine_did_not_see_is_final_without_an_exit_code() -> None:
    unseen = replace(an_exit(0), exit_code=None)
    machine = a_machine()
    (final,) = play(machine, STARTED, Exited(unseen), LogCompleted())
    assert final == Finalize(
        ExecutionStatus.ERROR,
        exit=unseen,
        final_state={"ExitCode": 0, "AbacoEndUnseen": True},
        error=UNSEEN_END,
    )


def test_a_halted_program_has_ended_also_when_the_engine_did_not_see_it() -> None:
    unseen = replace(an_exit(0), exit_code=None)
    machine = a_machine()
    play(machine, STARTED, HaltRequested(HaltReason.TIMEOUT))
    (final,) = play(machine, Exited(unseen), LogCompleted())
    assert isinstance(final, Finalize)
    assert final.status is ExecutionStatus.COMPLETE
    assert final.final_state == {
        "ExitCode": 0,
        "AbacoReason": "timeout",
        "AbacoEndUnseen": True,
    }


@pytest.mark.parametrize("code", [137, 143, 255])
def test_a_container_stopped_together_with_its_engine_runs_again(code: int) -> None:
    machine = a_machine()
    play(machine, STARTED, EngineLost(), STARTED, Exited(an_exit(code)))
    assert play(machine, LogCompleted()) == [Release(is_lost=True)]


@pytest.mark.parametrize(("code", "again"), [(137, False), (143, False), (0, False), (255, True)])
def test_an_end_while_this_process_was_dead_counts_unless_the_engine_missed_it(
    code: int, again: bool
) -> None:
    machine = a_machine(has_started=True)
    play(machine, EngineLost(), STARTED, Exited(an_exit(code)))
    (settle,) = play(machine, LogCompleted())
    assert isinstance(settle, Release) == again


@pytest.mark.parametrize("code", [137, 143, 255])
def test_without_an_outage_any_exit_code_is_the_programs_own(code: int) -> None:
    (final,) = play(a_machine(), STARTED, Exited(an_exit(code)), LogCompleted())
    assert isinstance(final, Finalize)


def test_a_memory_kill_during_an_outage_is_the_programs_own() -> None:
    machine = a_machine()
    play(machine, STARTED, EngineLost(), STARTED, Exited(an_exit(137, oom=True)))
    (final,) = play(machine, LogCompleted())
    assert isinstance(final, Finalize)


def test_an_engine_lost_while_the_log_is_completed_keeps_the_exit() -> None:
    machine = a_machine()
    play(machine, STARTED, Exited(an_exit(4)), EngineLost())
    assert play(machine, STARTED) == [SUPERVISE, CompleteLog()]
    assert play(machine, Exited(an_exit(4))) == []
    (final,) = play(machine, LogCompleted())
    assert isinstance(final, Finalize)
    assert final.exit == an_exit(4)


def test_a_container_gone_after_its_exit_is_still_complete() -> None:
    machine = a_machine()
    (final,) = play(machine, STARTED, Exited(an_exit(4)), ContainerLost())
    assert isinstance(final, Finalize)
    assert final.status is ExecutionStatus.COMPLETE


@pytest.mark.parametrize(("losses", "again"), [(0, True), (1, True), (2, False)])
def test_a_lost_container_runs_again_up_to_the_limit(losses: int, again: bool) -> None:
    machine = a_machine(losses=losses)
    (settle,) = play(machine, STARTED, EngineLost(), ContainerLost())
    if again:
        assert settle == Release(is_lost=True)
    else:
        assert isinstance(settle, Finalize)
        assert settle.error == "lost: its container was lost, for the 3. time"


def test_a_container_removed_behind_our_back_is_lost() -> None:
    assert play(a_machine(), STARTED, ContainerLost()) == [Release(is_lost=True)]


def test_a_lost_container_that_was_being_stopped_does_not_run_again() -> None:
    machine = a_machine()
    play(machine, STARTED, HaltRequested(HaltReason.FORCE_QUIT), EngineLost())
    (final,) = play(machine, ContainerLost())
    assert isinstance(final, Finalize)
    assert "force_quit" in final.error


def test_an_engine_lost_before_the_start_costs_no_attempt() -> None:
    machine = a_machine(losses=2)
    assert play(machine, EngineLost(), ContainerLost()) == [Release(is_lost=False)]


def test_an_attempt_taken_over_without_its_container_is_lost() -> None:
    machine = a_machine(has_started=True)
    assert play(machine, EngineLost(), ContainerLost()) == [Release(is_lost=True)]


def test_a_stimulus_that_cannot_happen_is_a_bug_with_its_history() -> None:
    machine = a_machine()
    play(machine, STARTED)
    with pytest.raises(InvalidTransitionError) as caught:
        machine.handle(Settled())
    assert caught.value.history[-1] == "running <- Settled()"
    assert caught.value.history[0].startswith("starting <- Started(")
    assert machine.phase is Phase.RUNNING


STIMULI = st.sampled_from(
    [
        STARTED,
        StartFailed("x"),
        ContextRefused("x"),
        EngineLost(),
        ContainerLost(),
        HaltRequested(HaltReason.FORCE_QUIT),
        HaltRequested(HaltReason.TIMEOUT),
        Exited(an_exit(0)),
        Exited(an_exit(137)),
        Exited(an_exit(143, oom=True)),
        StopFailed("x"),
        LogCompleted(),
        Settled(),
    ]
)


@given(
    stimuli=st.lists(STIMULI, max_size=40),
    losses=st.integers(0, 4),
    failures=st.integers(0, 7),
    has_started=st.booleans(),
)
def test_whatever_happens_an_attempt_settles_once(
    stimuli: list[object], losses: int, failures: int, has_started: bool
) -> None:
    machine = a_machine(losses=losses, start_failures=failures, has_started=has_started)
    settlements = removals = 0
    for stimulus in stimuli:
        before = machine.phase
        if (before, type(stimulus)) not in TABLE:
            with pytest.raises(InvalidTransitionError):
                machine.handle(stimulus)  # type: ignore[arg-type]
            assert machine.phase is before
            continue
        instructions = machine.handle(stimulus)  # type: ignore[arg-type]
        machine.check()
        settlements += sum(isinstance(one, Finalize | Release) for one in instructions)
        removals += instructions.count(RemoveContainer())
        assert settlements <= 1
        assert removals == (machine.phase is Phase.SETTLED)
        for one in instructions:
            if isinstance(one, Finalize) and one.status is ExecutionStatus.COMPLETE:
                assert one.exit is not None
            if isinstance(one, Release) and one.is_lost:
                assert losses + 1 < POLICY.max_attempts
                assert machine.halt is None
    assert settlements == (machine.phase in {Phase.SETTLING, Phase.SETTLED})


@given(data=st.data(), losses=st.integers(0, 4))
def test_every_attempt_can_be_brought_to_its_end(data: st.DataObject, losses: int) -> None:
    """However the story began, an engine that stays leads to a settlement in a few steps."""
    machine = a_machine(losses=losses)
    for stimulus in data.draw(st.lists(STIMULI, max_size=15)):
        if (machine.phase, type(stimulus)) in TABLE:
            machine.handle(stimulus)
    ending = {
        Phase.STARTING: STARTED,
        Phase.UNCERTAIN: STARTED,
        Phase.RUNNING: Exited(an_exit(0)),
        Phase.STOPPING: Exited(an_exit(137)),
        Phase.DRAINING: LogCompleted(),
        Phase.SETTLING: Settled(),
    }
    for _ in range(6):
        if machine.phase is Phase.SETTLED:
            return
        machine.handle(ending[machine.phase])  # type: ignore[arg-type]
    assert machine.phase is Phase.SETTLED
