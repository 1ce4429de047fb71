"""Retry and scaling: pure arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.worker import STARTING, VIABLE, Worker, WorkerStatus
from abaco.errors import InvalidTransitionError
from abaco.lifecycle.retry import RetryPolicy
from abaco.lifecycle.scaling import idle_limit_s, kept_for_s, pool_limit, workers_wanted
from abaco.lifecycle.table import HISTORY_LENGTH, Journal
from abaco.lifecycle.worker import TABLE, Spawned, WorkerMachine
from tests.support.records import a_worker, an_actor, at, new_id

S = WorkerStatus

COUNTS = st.integers(0, 50)


def test_five_failed_starts_are_tried_again_and_the_sixth_is_not() -> None:
    policy = RetryPolicy(max_start_failures=5, start_backoff_s=5, max_attempts=3)
    assert [policy.may_start_again(count) for count in range(1, 8)] == [True] * 5 + [False] * 2


def test_a_message_runs_at_most_max_attempts_times() -> None:
    policy = RetryPolicy(max_start_failures=5, start_backoff_s=5, max_attempts=3)
    assert [policy.may_run_again(losses) for losses in (1, 2, 3, 4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("queued", "pending", "viable", "limit", "is_scaling", "wanted"),
    [
        (0, 0, 0, 20, True, 0),  # nothing waits
        (1, 0, 0, 20, True, 1),
        (1, 0, 0, 20, False, 1),  # the first worker comes in any case
        (9, 0, 0, 20, False, 1),
        (9, 0, 1, 20, False, 0),
        (9, 1, 1, 20, True, 8),  # one message each, less those who will take one
        (9, 0, 4, 4, True, 0),  # the actor's limit
        (9, 0, 3, 4, True, 1),
        (1, 1, 1, 1, False, 0),  # a stateful actor's one worker is coming
        (2, 5, 5, 20, True, 0),  # more than enough
    ],
)
def test_how_many_workers_are_wanted(
    queued: int, pending: int, viable: int, limit: int, is_scaling: bool, wanted: int
) -> None:
    asked = {"queued": queued, "pending": pending, "viable": viable, "limit": limit}
    assert wanted == workers_wanted(**asked, is_scaling=is_scaling)
    one = workers_wanted(**asked, is_scaling=is_scaling, step=1)
    assert one == min(wanted, 1)


@given(
    queued=COUNTS,
    pending=COUNTS,
    busy=COUNTS,
    limit=st.integers(1, 50),
    is_scaling=st.booleans(),
    step=st.none() | st.integers(1, 5),
)
def test_no_limit_is_ever_passed(
    queued: int, pending: int, busy: int, limit: int, is_scaling: bool, step: int | None
) -> None:
    viable = pending + busy
    wanted = workers_wanted(
        queued=queued,
        pending=pending,
        viable=viable,
        limit=limit,
        is_scaling=is_scaling,
        step=step,
    )
    assert wanted >= 0
    assert wanted == 0 or viable + wanted <= (limit if is_scaling else 1)
    assert pending + wanted <= max(queued, pending)
    assert step is None or wanted <= step
    if queued and not viable:
        assert wanted >= 1
    if is_scaling and step is None and viable < limit:
        assert wanted == max(0, min(queued - pending, limit - viable))


@pytest.mark.parametrize(
    ("own", "places", "spare", "limit"),
    [
        (None, 20, 1, 19),  # one place is left for a newcomer
        (None, 50, 1, 20),  # the default of all actors
        (3, 20, 1, 3),
        (100, 20, 0, 20),
        (100, 20, 9, 15),  # never more than a quarter
        (100, 3, 1, 3),  # a small host has none to spare
        (100, 4, 1, 3),
        (None, 1, 5, 1),
    ],
)
def test_pool_limits(own: int | None, places: int, spare: int, limit: int) -> None:
    assert pool_limit(own=own, default=20, places=places, spare=spare) == limit


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


ACTOR = an_actor()


def a_pool(*members: tuple[WorkerStatus, float]) -> list[Worker]:
    """Build workers by status and second of their last execution."""
    return [a_worker(ACTOR, status=status, last_execution_time=at(s)) for status, s in members]


def kept(pool: list[Worker], now_s: float) -> list[float]:
    return [kept_for_s(one.id, pool, at(now_s), sync_max_idle_s=600) for one in pool]


def test_sync_keeps_the_worker_that_was_active_last() -> None:
    pool = a_pool((S.READY, 5), (S.READY, 50), (S.READY, 20))
    assert kept(pool, 100) == [0, 550, 0]


def test_sync_keeps_it_only_so_long() -> None:
    pool = a_pool((S.READY, 0))
    assert [kept(pool, s) for s in (0, 599, 600, 9999)] == [[600], [1], [0], [0]]


@pytest.mark.parametrize("status", sorted(STARTING | {WorkerStatus.BUSY}))
def test_a_busy_or_starting_worker_is_the_one_that_is_kept(status: WorkerStatus) -> None:
    assert kept(a_pool((S.READY, 50), (status, 0)), 60) == [0, 0]


@pytest.mark.parametrize("status", sorted(set(WorkerStatus) - VIABLE))
def test_workers_on_their_way_out_do_not_count(status: WorkerStatus) -> None:
    assert kept(a_pool((S.READY, 50), (status, 55)), 60) == [590, 0]


def test_a_worker_that_never_ran_counts_from_its_creation() -> None:
    fresh = a_worker(ACTOR, status=S.READY, create_time=at(70))
    old = a_worker(ACTOR, status=S.READY, last_execution_time=at(60))
    assert kept([old, fresh], 100) == [0, 570]


def test_sync_keeps_nobody_of_an_empty_pool() -> None:
    assert kept_for_s(new_id(), [], at(0), sync_max_idle_s=600) == 0


@given(
    members=st.lists(
        st.tuples(st.sampled_from(WorkerStatus), st.integers(0, 1000)), min_size=1, max_size=8
    ),
    now_s=st.integers(0, 2000),
)
def test_sync_keeps_at_most_one_and_the_pool_never_empties_too_soon(
    members: list[tuple[WorkerStatus, float]], now_s: int
) -> None:
    pool = a_pool(*members)
    left = kept(pool, now_s)
    assert sum(seconds > 0 for seconds in left) <= 1
    viable = [one for one in pool if one.status in VIABLE]
    idle = [seconds for status, seconds in members if status is S.READY]
    if viable and len(idle) == len(viable) and now_s - max(idle) < 600:
        assert max(left) == 600 - (now_s - max(idle))


def test_the_journal_keeps_the_last_steps_only() -> None:
    journal = Journal()
    for _ in range(HISTORY_LENGTH + 5):
        assert journal.look_up(TABLE, WorkerStatus.REQUESTED, Spawned()) is not None
    with pytest.raises(InvalidTransitionError) as caught:
        journal.look_up(TABLE, WorkerStatus.BUSY, Spawned())
    assert len(caught.value.history) == HISTORY_LENGTH
    assert caught.value.history[-1] == "BUSY <- Spawned()"
    assert WorkerMachine().status is WorkerStatus.REQUESTED
