"""Following a log that the server sends as it grows, and one that it does not."""

import json

import pytest

from abaco.cli.client import AbacoClient
from abaco.cli.follow import follow_execution
from tests.unit.cli.conftest import an_actor, an_execution

EXECUTION = "/actors/a1/executions/e1"
LOGS = f"{EXECUTION}/logs"
STREAM = f"{LOGS}?follow=true"
END = ("end", "end", {"status": "COMPLETE"})


@pytest.fixture
def follow(stub):
    def run(**options):
        logs, statuses = [], []
        execution = follow_execution(
            AbacoClient(stub.url),
            "a1",
            "e1",
            on_log=logs.append,
            on_status=statuses.append,
            **options,
        )
        return execution, logs, statuses

    return run


def send(stub, *events):
    text = ": the log follows\n\n" + "".join(
        f"event: {name}\nid: {id_}\ndata: {json.dumps(data)}\n\n: still here\n\n"
        for name, id_, data in events
    )
    stub.answer_raw("GET", STREAM, text.encode(), Content_Type="text/event-stream")


def log(text, offset):
    return ("log", str(offset), {"logs": text})


def statuses_are(stub, *statuses):
    for status in statuses:
        stub.answer("GET", EXECUTION, an_execution(status=status))


def test_one_request_for_the_whole_log(stub, follow, hasty):
    statuses_are(stub, "RUNNING", "COMPLETE")
    send(stub, log("one\n", 4), log("é\r\n", 8), END)
    execution, logs, _ = follow()
    assert logs == ["one\n", "é\r\n"]
    assert execution["status"] == "COMPLETE"
    assert [asked.uri for asked in stub.asked] == [EXECUTION, STREAM, EXECUTION]
    assert stub.asked[1].headers["Accept"] == "text/event-stream"
    assert hasty == []


def test_a_lost_connection_goes_on_where_it_was(stub, follow, hasty):
    statuses_are(stub, "RUNNING", "RUNNING", "COMPLETE")
    send(stub, log("one ", 4))
    send(stub, log("two", 7), END)
    _, logs, _ = follow()
    assert logs == ["one ", "two"]
    streams = [asked for asked in stub.asked if asked.uri == STREAM]
    assert [asked.headers.get("Last-Event-Id") for asked in streams] == [None, "4"]
    assert len(hasty) == 1


def test_what_came_after_the_connection_was_lost(stub, follow, hasty):
    statuses_are(stub, "RUNNING", "COMPLETE")
    send(stub, log("one ", 4))
    stub.answer("GET", LOGS, {"logs": "one two"})
    _, logs, _ = follow()
    assert logs == ["one ", "two"]


def test_a_run_that_was_lost_is_told(stub, follow, hasty):
    statuses_are(stub, "RUNNING", "COMPLETE")
    send(stub, log("one ", 4), ("restart", "0", {}), log("1", 1), END)
    _, logs, statuses = follow()
    assert logs == ["one ", "1"]
    assert "the run was lost" in statuses[0]


@pytest.mark.parametrize("status", [400, 404, 429])
def test_a_server_that_does_not_offer_it_is_asked_again_and_again(stub, follow, hasty, status):
    statuses_are(stub, "RUNNING", "RUNNING", "COMPLETE")
    stub.answer("GET", STREAM, "searching and paging are not supported", status=status)
    for text in ("a", "a", "ab"):
        stub.answer("GET", LOGS, {"logs": text})
    _, logs, _ = follow()
    assert logs == ["a", "b"]
    assert [asked.uri for asked in stub.asked].count(STREAM) == 1


def test_a_server_that_takes_the_wish_for_something_else(stub, follow, hasty):
    statuses_are(stub, "RUNNING", "COMPLETE")
    stub.answer("GET", STREAM, {"_metadata": {}, "search": []})
    stub.answer("GET", LOGS, {"logs": "all"})
    assert follow()[1] == ["all"]


def test_who_is_in_a_hurry_asks_again_and_again(stub, follow):
    statuses_are(stub, "RUNNING")
    stub.answer("GET", LOGS, {"logs": "x"})
    assert follow(timeout_s=0)[1] == ["x"]
    assert STREAM not in [asked.uri for asked in stub.asked]


def test_the_command(stub, run):
    stub.answer("GET", "/actors/a1", an_actor())
    statuses_are(stub, "RUNNING", "COMPLETE")
    send(stub, log("hello\n", 6), END)
    result = run("logs", "a1", "e1", "--follow")
    assert result.stdout == "hello\n"
    assert "COMPLETE, exit code 0" in result.stderr
