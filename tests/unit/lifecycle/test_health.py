"""How long a worker may stay where it is."""

from __future__ import annotations

import pytest

from abaco.domain.worker import WorkerStatus
from abaco.lifecycle.health import is_overdue

S = WorkerStatus


def overdue(status: WorkerStatus, age_s: float, max_run_time_s: float = -1) -> bool:
    return is_overdue(status, age_s, max_run_time_s=max_run_time_s, stop_grace_s=10)


@pytest.mark.parametrize(
    ("status", "limit_s"),
    [
        (S.REQUESTED, 300),
        (S.SPAWNER_SETUP, 120),
        (S.CREATING_CONTAINER, 120),
        (S.UPDATING_STORE, 60),
        (S.SHUTTING_DOWN, 300),
        (S.ERROR, 300),
    ],
)
def test_statuses_that_pass(status: WorkerStatus, limit_s: float) -> None:
    assert not overdue(status, limit_s)
    assert overdue(status, limit_s + 0.1)


@pytest.mark.parametrize(
    "status", [S.PULLING_IMAGE, S.READY, S.BUSY, S.SHUTDOWN_REQUESTED], ids=str
)
def test_statuses_that_may_last(status: WorkerStatus) -> None:
    assert not overdue(status, 10**9)


@pytest.mark.parametrize("status", [S.BUSY, S.SHUTDOWN_REQUESTED])
def test_a_run_has_its_own_limit_and_some_time_to_be_cleared_up(status: WorkerStatus) -> None:
    assert not overdue(status, 100 + 10 + 60, 100)
    assert overdue(status, 100 + 10 + 61, 100)


def test_a_limit_of_runs_is_none_of_idling() -> None:
    assert not overdue(S.READY, 10**9, 100)
