"""``abaco search``."""

import json
from urllib.parse import parse_qsl

import pytest

from tests.unit.cli.conftest import an_actor

URL = "https://api.example.org/actors/v2/a1/executions/e1"
EXECUTION = {
    "id": "e1", "actor_id": "a1", "status": "ERROR", "exit_code": 3, "finish_time": None,
    "message_received_time": "2024-05-01T14:45:41.591Z", "_links": {},
}  # fmt: skip


def page(*items, total=None, **names):
    """Make what a server answers."""
    spelled = names or {
        "count_returned": len(items), "record_limit": 100, "records_skipped": 0,
        "total_count": len(items) if total is None else total,
    }  # fmt: skip
    return {"_metadata": spelled, "search": list(items)}


def asked(stub):
    path, _, query = stub.asked[-1].uri.partition("?")
    return path, parse_qsl(query, keep_blank_values=True)


def test_everything_that_can_be_asked(stub, run):
    query = (
        "status=ERROR&status.neq=x%3Dy&final_state.ExitCode.gt=0"
        "&search=one+two&limit=5&skip=2&exactsearch=a+phrase&exactsearch=b"
    )
    stub.answer("GET", f"/actors/search/executions?{query}", page(EXECUTION))
    result = run(
        "search", "executions", "status=ERROR", "status.neq=x=y", "final_state.ExitCode.gt=0",
        "--words", "one two", "--exact", "a phrase", "--exact", "b", "--limit", "5", "--skip", "2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines == [
        ["id", "actor", "status", "exit", "received", "finished"],
        ["e1", "a1", "ERROR", "3", "2024-05-01T14:45:41.591Z", "-"],
    ]


def test_a_plain_search_asks_for_nothing_more(stub, run):
    stub.answer("GET", "/actors/search/workers", page())
    result = run("search", "Workers")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing found" in result.stderr


def test_in_one_actor(stub, run):
    stub.answer("GET", "/actors/hello", "there is no actor", status=404)
    stub.answer("GET", "/actors", [an_actor()])
    stub.answer("GET", "/actors/search/executions?actor_id=a1", page(EXECUTION))
    assert run("search", "executions", "--actor", "hello").exit_code == 0
    assert asked(stub) == ("/actors/search/executions", [("actor_id", "a1")])


def test_it_says_when_there_is_more(stub, run):
    stub.answer("GET", "/actors/search/executions?limit=1", page(EXECUTION, total=7))
    assert "1 of 7" in run("search", "executions", "--limit", "1").stderr


def test_a_server_that_writes_camel(stub, run):
    item = {"id": "e1", "actorId": "a1", "status": "ERROR", "exitCode": 3}
    spelled = {"countReturned": 1, "recordLimit": 100, "recordsSkipped": 0, "totalCount": 1}
    stub.answer("GET", "/actors/search/executions", page(item, **spelled))
    assert run("search", "executions").stdout.splitlines()[1].startswith("e1\ta1\tERROR\t3")
    answer = json.loads(run("search", "executions", "--json").stdout)
    assert answer["_metadata"]["total_count"] == 1
    assert answer["search"][0]["actor_id"] == "a1"


def test_logs_are_cut_for_people_only(stub, run):
    text = "line\n" * 100
    stub.answer("GET", "/actors/search/logs", page({"logs": text, "_links": {"execution": URL}}))
    line = run("search", "logs").stdout.splitlines()[1]
    assert line.startswith("e1\tline\\nline")
    assert line.endswith("...")
    assert len(line) < 300
    assert json.loads(run("search", "logs", "--json").stdout)["search"][0]["logs"] == text


@pytest.mark.parametrize(
    "words",
    [["nonces"], ["actors", "status"], ["actors", "=x"], ["actors", "--limit", "-1"], []],
)
def test_wrong_usage(stub, run, words):
    assert run("search", *words).exit_code == 2
    assert stub.asked == []


def test_a_refusal_of_the_server(stub, run):
    stub.answer("GET", "/actors/search/actors?a.like=%28", "a.like: bad", status=400)
    result = run("search", "actors", "a.like=(")
    assert result.exit_code == 1
    assert "a.like: bad (HTTP 400)" in result.stderr


def test_examples_stand_as_they_are_written(run):
    lines = run("search", "--help").stdout.splitlines()
    assert '    abaco search logs --exact "out of memory"' in lines
