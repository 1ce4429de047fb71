"""``abaco send --file`` and ``abaco results`` against a stub."""

import json
import os
import threading
from pathlib import Path

import pytest

from tests.unit.cli.conftest import an_actor, an_execution

RESULTS = "/actors/a1/executions/e1/results"
BODY = bytes(range(256)) * 1000


@pytest.fixture(autouse=True)
def _actor(stub):
    stub.answer("GET", "/actors/a1", an_actor())


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(BODY)
    return path


def accept(stub, query=""):
    answer = {"executionId": "e1", "msg": "binary - omitted"}
    stub.answer("POST", f"/actors/a1/messages{query}", answer)


def hand_back(stub, *results):
    for result in (*results, b""):
        stub.answer_raw("GET", RESULTS, result, Content_Type="application/octet-stream")


class TestSendFile:
    def test_its_bytes_are_the_message(self, stub, run, file):
        accept(stub)
        result = run("send", "a1", "--file", str(file))
        assert result.stdout == "e1\n"
        asked = stub.asked[-1]
        assert asked.body == BODY
        assert asked.headers["Content-Type"] == "application/octet-stream"
        assert asked.headers["Content-Length"] == str(len(BODY))

    def test_of_standard_input(self, stub, run):
        accept(stub)
        assert run("send", "a1", "--file", "-", stdin=BODY).exit_code == 0
        assert stub.asked[-1].body == BODY

    def test_of_a_pipe_with_a_name(self, stub, run, tmp_path):
        accept(stub)
        path = tmp_path / "pipe"
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(b"through a pipe",))
        writer.start()
        assert run("send", "a1", "--file", str(path)).exit_code == 0
        writer.join()
        assert stub.asked[-1].body == b"through a pipe"

    def test_an_empty_one(self, stub, run, tmp_path):
        accept(stub)
        (tmp_path / "empty").touch()
        assert run("send", "a1", "--file", str(tmp_path / "empty")).exit_code == 0
        assert stub.asked[-1].body == b""
        assert stub.asked[-1].headers["Content-Length"] == "0"

    def test_with_variables_and_a_key(self, stub, run, file):
        accept(stub, "?A=1")
        run("send", "a1", "--file", str(file), "-p", "A=1", "--idempotency-key", "k1")
        assert stub.asked[-1].headers["Idempotency-Key"] == "k1"

    def test_with_waiting(self, stub, run, file):
        accept(stub)
        stub.answer("GET", "/actors/a1/executions/e1", an_execution(exit_code=3))
        stub.answer("GET", "/actors/a1/executions/e1/logs", {"logs": "out\n"})
        result = run("send", "a1", "--file", str(file), "--exit-code", "-o", "json")
        assert result.exit_code == 3
        assert json.loads(result.stdout)["logs"] == "out\n"

    @pytest.mark.parametrize(
        "more", [["text"], ["--json", "1"], ["--batch", "x"]], ids=["text", "json", "batch"]
    )
    def test_goes_with_no_other_message(self, stub, run, file, more):
        result = run("send", "a1", "--file", str(file), *more)
        assert result.exit_code == 2
        assert stub.asked == []

    def test_one_that_is_not_there(self, stub, run):
        result = run("send", "a1", "--file", "/no/such/file")
        assert result.exit_code == 2
        assert "No such file" in result.stderr
        assert not stub.sent("POST")

    def test_one_that_is_refused(self, stub, run, file):
        stub.answer("POST", "/actors/a1/messages", "the body is too large", status=413)
        result = run("send", "a1", "--file", str(file))
        assert result.exit_code == 1
        assert "too large (HTTP 413)" in result.stderr


class TestResults:
    def test_the_oldest_as_it_is(self, stub, run):
        hand_back(stub, BODY, b"second")
        result = run("results", "a1", "e1")
        assert result.exit_code == 0
        assert result.stdout_bytes == BODY
        assert len(stub.sent("GET")) == 2

    def test_none(self, stub, run):
        hand_back(stub)
        result = run("results", "a1", "e1")
        assert result.exit_code == 1
        assert "no result" in result.stderr
        assert result.stdout == ""

    def test_all_into_files(self, stub, run, tmp_path):
        hand_back(stub, b"one", BODY, b"three")
        directory = tmp_path / "new" / "values"
        result = run("results", "a1", "e1", "--to", str(directory))
        names = [f"{directory}/result-{number:06d}" for number in range(3)]
        assert result.stdout.splitlines() == names
        assert [Path(name).read_bytes() for name in names] == [b"one", BODY, b"three"]

    def test_no_file_is_overwritten(self, stub, run, tmp_path):
        hand_back(stub, b"new")
        (tmp_path / "result-000000").write_bytes(b"old")
        result = run("results", "a1", "e1", "--to", str(tmp_path), "-o", "json")
        assert json.loads(result.stdout) == [f"{tmp_path}/result-000001"]
        assert (tmp_path / "result-000000").read_bytes() == b"old"
        assert (tmp_path / "result-000001").read_bytes() == b"new"

    def test_of_an_actor_that_is_not_there(self, stub, run):
        result = run("results", "nobody", "e1")
        assert result.exit_code == 1

    def test_refused(self, stub, run):
        stub.answer("GET", RESULTS, "you do not have access to this actor", status=400)
        result = run("results", "a1", "e1")
        assert result.exit_code == 1
        assert "access" in result.stderr
