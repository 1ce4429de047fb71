"""Retry and scaling: pure arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.worker import WorkerStatus
from abaco.errors import InvalidTransitionError
from abaco.lifecycle.retry import RetryPolicy
from abaco.lifecycle.scaling import idle_limit_s, workers_wanted
from abaco.lifecycle.table import HISTORY_LENGTH, Journal
from abaco.lifecycle.worker import TABLE, Spawned, WorkerMachine

COUNTS = st.integers(0, 50)


def test_five_failed_starts_are_tried_again_and_the_sixth_is_not() -> None:
    policy = RetryPolicy(max_start_failures=5, start_backoff_s=5, max_attempts=3)
    assert [policy.may_start_again(count) for count in range(1, 8)] == [True] * 5 + [False] * 2


def test_a_message_runs_at_most_max_attempts_times() -> None:
    policy = RetryPolicy(max_start_failures=5, start_backoff_s=5, max_attempts=3)
    assert [policy.may_run_again(losses) for losses in (1, 2, 3, 4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("queued", "pending", "viable", "limit", "free", "is_scaling", "wanted"),
    [
        (0, 0, 0, 20, 20, True, 0),  # nothing waits
        (1, 0, 0, 20, 20, True, 1),
        (1, 0, 0, 20, 20, False, 1),  # the first worker comes in any case
        (9, 0, 0, 20, 20, False, 1),
        (9, 0, 1, 20, 20, False, 0),
        (9, 1, 1, 20, 20, True, 8),  # one message each, less those who will take one
        (9, 0, 4, 4, 20, True, 0),  # the actor's limit
        (9, 0, 3, 4, 20, True, 1),
        (9, 0, 0, 20, 2, True, 2),  # the host's slots
        (9, 0, 0, 20, 0, False, 0),
        (1, 1, 1, 1, 20, False, 0),  # a stateful actor's one worker is coming
    ],
)
def test_how_many_workers_are_wanted(
    queued: int, pending: int, viable: int, limit: int, free: int, is_scaling: bool, wanted: int
) -> None:
    assert wanted == workers_wanted(
        queued=queued,
        pending=pending,
        viable=viable,
        limit=limit,
        free_slots=free,
        is_scaling=is_scaling,
    )


@given(
    queued=COUNTS,
    pending=COUNTS,
    busy=COUNTS,
    limit=st.integers(1, 50),
    free=COUNTS,
    is_scaling=st.booleans(),
)
def test_no_limit_is_ever_passed(
    queued: int, pending: int, busy: int, limit: int, free: int, is_scaling: bool
) -> None:
    viable = pending + busy
    wanted = workers_wanted(
        queued=queued,
        pending=pending,
        viable=viable,
        limit=limit,
        free_slots=free,
        is_scaling=is_scaling,
    )
    assert 0 <= wanted <= free
    assert wanted == 0 or viable + wanted <= (limit if is_scaling else 1)
    assert pending + wanted <= max(queued, pending)
    if queued and not viable and free:
        assert wanted >= 1


@pytest.mark.parametrize(
    ("is_stateless", "is_scaling", "ttl_s", "limit_s"),
    [
        (True, True, -1, 5.0),
        (True, False, -1, None),
        (True, False, 60, 60),
        (False, True, -1, None),
        (False, True, 0, 0),
    ],
)
def test_idle_limits(
    is_stateless: bool, is_scaling: bool, ttl_s: float, limit_s: float | None
) -> None:
    limit = idle_limit_s(
        is_stateless=is_stateless, is_scaling=is_scaling, idle_grace_s=5.0, worker_ttl_s=ttl_s
    )
    assert limit == limit_s


def test_the_journal_keeps_the_last_steps_only() -> None:
    journal = Journal()
    for _ in range(HISTORY_LENGTH + 5):
        assert journal.look_up(TABLE, WorkerStatus.REQUESTED, Spawned()) is not None
    with pytest.raises(InvalidTransitionError) as caught:
        journal.look_up(TABLE, WorkerStatus.BUSY, Spawned())
    assert len(caught.value.history) == HISTORY_LENGTH
    assert caught.value.history[-1] == "BUSY <- Spawned()"
    assert WorkerMachine().status is WorkerStatus.REQUESTED
