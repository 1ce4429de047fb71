"""Waiting: what is shown, when it ends, how often the server is asked."""

import pytest

from abaco.cli.client import AbacoClient, ClientError
from abaco.cli.follow import (
    FIRST_INTERVAL_S,
    LONGEST_INTERVAL_S,
    Pace,
    follow_execution,
    wait_until_ready,
)
from tests.unit.cli.conftest import an_actor, an_execution

EXECUTION = "/actors/a1/executions/e1"


@pytest.fixture
def client(stub):
    return AbacoClient(stub.url)


def follow(client, **options):
    logs, statuses = [], []
    execution = follow_execution(
        client, "a1", "e1", on_log=logs.append, on_status=statuses.append, **options
    )
    return execution, logs, statuses


def lay_out(stub, *rounds):
    for status, log in rounds:
        stub.answer("GET", EXECUTION, an_execution(status=status))
        stub.answer("GET", f"{EXECUTION}/logs", {"logs": log})
    stub.answer("GET", "/actors/a1", an_actor(status="SUBMITTED"))
    stub.answer("GET", "/actors/a1/workers", [{"status": "PULLING IMAGE"}])


def test_the_log_is_handed_over_piece_by_piece(stub, client, hasty):
    lay_out(
        stub,
        ("SUBMITTED", ""),
        ("RUNNING", ""),
        ("RUNNING", "one\n"),
        ("RUNNING", "one\n"),
        ("COMPLETE", "one\ntwo\n"),
    )
    execution, logs, statuses = follow(client)
    assert execution["status"] == "COMPLETE"
    assert logs == ["one\n", "two\n"]
    assert statuses == ["the message waits (worker: pulling image)", "execution e1 is running"]


def test_half_a_character_waits_for_its_other_half(stub, client, hasty):
    lay_out(stub, ("RUNNING", "caf\ufffd"), ("RUNNING", "café"), ("COMPLETE", "café\ufffd"))
    _, logs, _ = follow(client)
    assert logs == ["caf", "é", "\ufffd"]


def test_the_status_is_asked_before_the_log(stub, client, hasty):
    # The log is complete once the status is final, not the other way round.
    lay_out(stub, ("COMPLETE", "all"))
    follow(client)
    assert [asked.uri for asked in stub.asked] == [EXECUTION, f"{EXECUTION}/logs"]


def test_an_actor_in_error_is_told(stub, client, hasty):
    lay_out(stub, ("SUBMITTED", ""), ("ERROR", ""))
    stub._answers["GET", "/actors/a1"] = []
    stub.answer("GET", "/actors/a1", an_actor(status="ERROR", status_message="no such image"))
    _, _, statuses = follow(client)
    assert statuses == ["the message waits: the actor is in ERROR (no such image)"]


def test_when_the_time_is_up_the_execution_comes_back_as_it_is(stub, client):
    lay_out(stub, ("RUNNING", "x"))
    execution, logs, _ = follow(client, timeout_s=0)
    assert execution["status"] == "RUNNING"
    assert logs == ["x"]


def test_pauses_grow_while_nothing_happens_and_shrink_when_something_does(stub, client, hasty):
    quiet = [("RUNNING", "")] * 12
    lay_out(stub, *quiet, ("RUNNING", "news"), ("COMPLETE", "news"))
    follow(client)
    before, after = hasty[:-1], hasty[-1]
    assert before[0] == FIRST_INTERVAL_S
    assert before == sorted(before)
    assert before[-1] == LONGEST_INTERVAL_S
    assert after == FIRST_INTERVAL_S
    assert min(hasty) >= 0.3


def test_a_pace_ends_with_the_time(monkeypatch, hasty):
    now = [0.0]
    monkeypatch.setattr("abaco.cli.follow.time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "abaco.cli.follow.time.sleep", lambda pause: now.__setitem__(0, now[0] + pause)
    )
    rounds = len(list(Pace(1.0).rounds()))
    assert now[0] == pytest.approx(1.0)
    assert rounds == 4


class TestReady:
    def wait(self, client, **options):
        statuses = []
        return wait_until_ready(client, "a1", on_status=statuses.append, **options), statuses

    def test_it_waits_and_tells_what_for(self, stub, client, hasty):
        for status in ("SUBMITTED", "SUBMITTED", "READY"):
            stub.answer("GET", "/actors/a1", an_actor(status=status))
        stub.answer("GET", "/actors/a1/workers", [])
        stub.answer("GET", "/actors/a1/workers", [{"status": "PULLING IMAGE"}])
        actor, statuses = self.wait(client)
        assert actor["status"] == "READY"
        assert statuses == ["no worker yet", "worker: pulling image"]

    def test_how_far_a_pull_is_is_shown(self, stub, client, hasty):
        stub.answer("GET", "/actors/a1", an_actor(status="SUBMITTED", status_message="pulling 3/5"))
        stub.answer("GET", "/actors/a1", an_actor(status="READY"))
        _, statuses = self.wait(client)
        assert statuses == ["pulling 3/5"]

    def test_an_actor_in_error_ends_it_with_the_reason(self, stub, client):
        stub.answer("GET", "/actors/a1", an_actor(status="ERROR", status_message="no image"))
        with pytest.raises(ClientError, match="a1 is ERROR: no image"):
            self.wait(client)

    def test_the_time_ends_it(self, stub, client):
        stub.answer("GET", "/actors/a1", an_actor(status="SUBMITTED"))
        stub.answer("GET", "/actors/a1/workers", [])
        with pytest.raises(ClientError, match="still SUBMITTED; waited 0 s"):
            self.wait(client, timeout_s=0)
