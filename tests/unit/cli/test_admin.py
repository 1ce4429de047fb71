"""``abaco admin`` against a stub."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from abaco.cli import admin as module

ACTOR = {
    "tenant": "DEV",
    "id": "a1",
    "name": "hello",
    "owner": "jane",
    "status": "READY",
    "image": "abaco/hello",
    "workers": [{"id": "w1"}, {"id": "w2"}],
    "messages": 3,
    "executions": 4,
    "runtime": 5,
}
WORKER = {
    "tenant": "DEV",
    "actorId": "a1",
    "id": "w1",
    "status": "BUSY",
    "image": "abaco/hello",
    "createTime": "2024-05-01T14:45:41.591Z",
    "lastExecutionTime": "None",
}
RECORD = {
    "id": 7,
    "time": "2024-05-01T14:45:41.591Z",
    "tenant": "DEV",
    "user": "jane",
    "action": "permission.grant",
    "object": "actor:a1",
    "outcome": "done",
    "detail": {"user": "joe", "level": "READ"},
    "proof": "token",
    "remote_address": "127.0.0.1",
}


def rows(result):
    assert result.exit_code == 0, result.output
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_utilization(stub, run):
    numbers = {"currentActors": 1, "totalActors": 2, "workers": 3, "commandQueue": 0}
    stub.answer("GET", "/actors/utilization", numbers)
    assert rows(run("admin", "utilization")) == [
        ["current_actors", "1"],
        ["total_actors", "2"],
        ["workers", "3"],
        ["command_queue", "0"],
    ]


class TestActors:
    def test_for_people_workers_are_a_number(self, stub, run):
        stub.answer("GET", "/actors/admin", [ACTOR])
        head, row = rows(run("admin", "actors"))
        assert dict(zip(head, row, strict=True)) == {
            "tenant": "DEV",
            "id": "a1",
            "name": "hello",
            "owner": "jane",
            "status": "READY",
            "image": "abaco/hello",
            "workers": "2",
            "waiting": "3",
            "executions": "4",
            "runtime, s": "5",
        }

    def test_for_programs_they_are_as_sent(self, stub, run):
        stub.answer("GET", "/actors/admin", [ACTOR])
        assert json.loads(run("admin", "actors", "--json").stdout) == [ACTOR]

    def test_a_refusal(self, stub, run):
        stub.answer("GET", "/actors/admin", "only administrators may do this", status=400)
        result = run("admin", "actors")
        assert result.exit_code == 1
        assert "only administrators" in result.stderr


class TestSummaries:
    def test_workers_on_a_server_that_writes_camel(self, stub, run):
        answer = {"summary": {"totalWorkers": 1, "actorsNoWorkers": 0}, "workers": [WORKER]}
        stub.answer("GET", "/actors/admin/workers", answer)
        total, none, head, row = rows(run("admin", "workers"))
        assert (total, none) == (["total_workers", "1"], ["actors_no_workers", "0"])
        assert dict(zip(head, row, strict=True))["actor"] == "a1"
        assert row[-1] == "-"

    def test_executions(self, stub, run):
        item = {
            "actor_id": "a1",
            "owner": "jane",
            "image": "i",
            "total_executions": 2,
            "total_execution_cpu": 7,
            "total_execution_io": 8,
            "total_execution_runtime": 9,
        }
        answer = {"summary": {"total_executions_all": 5}, "actors": [item]}
        stub.answer("GET", "/actors/admin/executions", answer)
        assert rows(run("admin", "executions")) == [
            ["total_executions_all", "5"],
            ["actor", "owner", "image", "executions", "runtime, s", "cpu, ns", "io, bytes"],
            ["a1", "jane", "i", "2", "9", "7", "8"],
        ]
        assert json.loads(run("admin", "executions", "--json").stdout) == answer

    def test_nothing_there(self, stub, run):
        stub.answer("GET", "/actors/admin/workers", {"summary": {}, "workers": []})
        assert "no workers" in run("admin", "workers").stderr


class PagedStub:
    """Answers any page of an audit log of so many records, whatever the time asked for."""

    def __init__(self, stub, monkeypatch, count):
        self.queries = []
        take = stub.take

        def page(request):
            take(request)  # which notes it
            query = {name: values[0] for name, values in parse_qs(request.query).items()}
            self.queries.append(query)
            first, size = int(query["after"]) + 1, int(query["limit"])
            records = [{**RECORD, "id": n} for n in range(first, min(first + size, count + 1))]
            return 200, json.dumps({"message": "", "result": records}).encode(), {}

        monkeypatch.setattr(stub, "take", page)


class TestAudit:
    def test_a_record(self, stub, run, monkeypatch):
        pages = PagedStub(stub, monkeypatch, 1)
        head, row = rows(run("admin", "audit"))
        shown = dict(zip(head, row, strict=True))
        assert shown["action"] == "permission.grant"
        assert shown["object"] == "actor:a1"
        assert json.loads(shown["detail"]) == {"user": "joe", "level": "READ"}
        (query,) = pages.queries
        assert (query["after"], query["limit"]) == ("0", "1000")
        age = datetime.now(UTC) - datetime.fromisoformat(query["since"])
        assert timedelta(hours=24) <= age < timedelta(hours=25)
        assert urlsplit(stub.asked[0].uri).path == "/actors/admin/audit"

    @pytest.mark.parametrize(
        ("count", "limit", "asked", "shown"),
        [
            (0, None, [3], 0),
            (3, None, [3, 3], 3),
            (7, None, [3, 3, 3], 7),
            (7, 3, [3], 3),
            (7, 4, [3, 1], 4),
            (2, 4, [3], 2),
        ],
    )
    def test_pages(self, stub, run, monkeypatch, count, limit, asked, shown):
        monkeypatch.setattr(module, "_PAGE", 3)
        pages = PagedStub(stub, monkeypatch, count)
        options = [] if limit is None else ["--limit", str(limit)]
        result = run("admin", "audit", "--json", *options)
        assert [record["id"] for record in json.loads(result.stdout)] == [*range(1, shown + 1)]
        assert [int(query["limit"]) for query in pages.queries] == asked

    def test_how_far_back(self, stub, run, monkeypatch):
        pages = PagedStub(stub, monkeypatch, 0)
        result = run("admin", "audit", "--hours", "0.5")
        assert "nothing in the last 0.5 hours" in result.stderr
        age = datetime.now(UTC) - datetime.fromisoformat(pages.queries[0]["since"])
        assert timedelta(minutes=30) <= age < timedelta(minutes=31)

    @pytest.mark.parametrize("words", [["--hours", "0"], ["--limit", "0"], ["--hours", "1e9"]])
    def test_wrong_usage(self, stub, run, words):
        assert run("admin", "audit", *words).exit_code == 2
        assert stub.asked == []
