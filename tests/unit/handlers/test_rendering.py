"""Records on the wire."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from abaco.domain.execution import ExecutionStatus, ExecutionTotals
from abaco.domain.worker import WorkerStatus
from abaco.operations.executions import ExecutionListing
from abaco.operations.messages import Posted
from handlers import rendering
from handlers.rendering import render_time
from tests.support import records

CASES = ("snake", "camel")


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2020, 5, 1, 14, 45, 41, 591_999, tzinfo=UTC), "2020-05-01T14:45:41.591Z"),
        (datetime(2020, 5, 1, 14, 45, 41, tzinfo=UTC), "2020-05-01T14:45:41.000Z"),
        (datetime(2020, 5, 1, 14, 45, 41, 700_000, tzinfo=UTC), "2020-05-01T14:45:41.700Z"),
        (
            datetime(2020, 5, 1, 1, 0, tzinfo=timezone(timedelta(hours=2))),
            "2020-04-30T23:00:00.000Z",
        ),
    ],
)
def test_times(time, text):
    assert render_time(time) == text


async def no_pages():
    """Stand for a list that nobody reads."""
    yield []


@pytest.mark.parametrize("case", CASES)
def test_everything_is_json(case):
    actor = records.an_actor(default_environment={"a": 1}, hints=("x",))
    execution = records.an_execution(
        actor, status=ExecutionStatus.COMPLETE, outcome=records.an_outcome()
    )
    posted = Posted(actor=actor, execution=execution, message=records.a_message(execution))
    listing = ExecutionListing(actor=actor, totals=ExecutionTotals(), pages=no_pages())
    items = [rendering.render_item(execution, case)]
    for record in (
        rendering.render_actor(actor, case),
        rendering.render_posted(posted, case),
        rendering.render_summary(listing, items, case),
        rendering.render_execution(execution, case),
        rendering.render_logs(actor.owner, execution, "text"),
        rendering.render_mailbox(actor, "messages", 0),
    ):
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        assert "tenant" not in record
        assert record["_links"]["owner"].startswith("http://127.0.0.1:8000/profiles/v2/")


@pytest.mark.parametrize("case", CASES)
def test_only_workers_show_their_tenant(case):
    worker = records.a_worker(records.an_actor(), status=WorkerStatus.BUSY, container_id="box")
    record = rendering.render_worker(worker, case)
    assert (record["tenant"], record["cid"], record["status"]) == ("DEV", "box", "BUSY")


def test_a_worker_without_container_shows_its_own_id():
    worker = records.a_worker(records.an_actor())
    assert rendering.render_worker(worker, "snake")["cid"] == worker.id


class TestExecution:
    def render(self, case="snake", **fields):
        execution = records.an_execution(records.an_actor(), **fields)
        return rendering.render_execution(execution, case)

    def test_waiting(self):
        record = self.render()
        nothing = ("worker_id", "start_time", "finish_time", "exit_code", "final_state")
        assert {name: record[name] for name in nothing} == dict.fromkeys(nothing)
        assert "exitCode" not in self.render("camel")

    def test_ended(self):
        record = self.render(outcome=records.an_outcome(runtime_ms=1_999, exit_code=0))
        assert (record["runtime"], record["exit_code"]) == (1, 0)
        assert "Error" not in record["final_state"]

    def test_ended_without_a_trace(self):
        record = self.render(outcome=records.an_outcome(exit_code=None, final_state=None))
        assert record["exit_code"] == "undetermined"
        assert record["final_state"] == {"unavailable": True}

    def test_the_reason_of_an_error_is_shown(self):
        record = self.render(outcome=records.an_error_outcome("purged"))
        assert record["final_state"] == {"unavailable": True, "Error": "purged"}

    def test_what_the_engine_said_is_not_changed(self):
        state = {"Status": "exited", "Error": ""}
        outcome = records.an_outcome(final_state=state, error="too late")
        assert self.render(outcome=outcome)["final_state"]["Error"] == "too late"
        assert state["Error"] == ""


@pytest.mark.parametrize("case", ["snake", "camel"])
def test_older_executors_find_the_id_of_an_execution(case):
    actor = records.an_actor()
    execution = records.an_execution(actor)
    posted = Posted(actor=actor, execution=execution, message=records.a_message(execution))
    record = rendering.render_posted(posted, case)
    assert record["executionId"] == execution.id
    assert ("execution_id" in record) == (case == "snake")


def test_a_message_that_is_null_is_shown_in_camel_too():
    actor = records.an_actor()
    execution = records.an_execution(actor)
    message = records.a_message(execution, body=None, content_type="application/json")
    record = rendering.render_posted(
        Posted(actor=actor, execution=execution, message=message), "camel"
    )
    assert (record["msg"], record["executionId"]) == (None, execution.id)
