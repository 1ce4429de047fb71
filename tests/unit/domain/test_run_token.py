"""Who gets a token, how long it lasts, and when it is dead."""

from __future__ import annotations

import pytest

from abaco.domain.execution import ExecutionStatus
from abaco.domain.ids import WorkerId
from abaco.domain.run_token import SPARE_S, Run, valid_for_s, wants_token
from tests.support.records import an_actor, an_execution

WORKER = WorkerId("w1")


def a_run(execution, **changes):
    fields = {
        "actor_id": execution.actor_id,
        "execution_id": execution.id,
        "worker_id": WORKER,
        "attempt": 2,
    }
    return Run(**{**fields, **changes})


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("True", True),
        (" yes ", True),
        ("1", True),
        ("false", False),
        ("", False),
        ("maybe", False),
    ],
)
def test_the_attribute_is_a_bool_or_the_configured_text(token, wanted):
    assert wants_token(an_actor(token=token)) is wanted


def test_the_life_follows_the_run():
    assert valid_for_s(60, ttl_s=100, max_ttl_s=1000) == 60 + SPARE_S
    assert valid_for_s(-1, ttl_s=100, max_ttl_s=1000) == 100 + SPARE_S
    assert valid_for_s(0, ttl_s=100, max_ttl_s=1000) == 100 + SPARE_S
    assert valid_for_s(5000, ttl_s=100, max_ttl_s=1000) == 1000 + SPARE_S
    assert valid_for_s(-1, ttl_s=5000, max_ttl_s=1000) == 1000 + SPARE_S


@pytest.mark.parametrize("status", [ExecutionStatus.SUBMITTED, ExecutionStatus.RUNNING])
def test_a_run_is_under_way_from_its_claim_on(status):
    execution = an_execution(an_actor(), status=status, worker_id=WORKER, attempt=2)
    assert a_run(execution).is_under_way(execution)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": ExecutionStatus.COMPLETE},
        {"status": ExecutionStatus.ERROR},
        {"worker_id": None},
        {"worker_id": WorkerId("w2")},
        {"attempt": 3},
        {"attempt": 1},
    ],
    ids=str,
)
def test_and_not_once_it_has_ended_or_went_back_or_runs_again(changes):
    fields = {"status": ExecutionStatus.RUNNING, "worker_id": WORKER, "attempt": 2}
    execution = an_execution(an_actor(), **{**fields, **changes})
    assert not a_run(execution).is_under_way(execution)


def test_a_run_names_its_execution():
    execution = an_execution(an_actor())
    assert a_run(execution).key(execution.tenant) == execution.key
