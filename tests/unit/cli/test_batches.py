"""``abaco send --batch`` and ``--idempotency-key`` against a stub."""

import json

import pytest

from abaco.cli import batches
from abaco.cli.batches import portions
from tests.unit.cli.conftest import an_actor

BATCH = "/actors/a1/messages/batch"


@pytest.fixture(autouse=True)
def _actor(stub):
    stub.answer("GET", "/actors/a1", an_actor())


@pytest.fixture
def lines(tmp_path):
    def write(*values):
        path = tmp_path / "orders.jsonl"
        path.write_text("".join(f"{json.dumps(value)}\n" for value in values))
        return str(path)

    return write


def accept(stub, *ids, query=""):
    stub.answer("POST", BATCH + query, {"execution_ids": list(ids)})


def sent(stub):
    return [asked.json["messages"] for asked in stub.sent("POST")]


def test_ids_in_the_order_of_the_lines(stub, run, lines):
    accept(stub, "e1", "e2")
    result = run("send", "a1", "--batch", lines({"n": 1}, "text"))
    assert result.stdout == "e1\ne2\n"
    assert "2 of 2 messages are accepted" in result.stderr
    assert sent(stub) == [[{"n": 1}, "text"]]


def test_a_long_file_goes_in_portions_and_tells_how_far(stub, run, lines):
    for ids in (("e1", "e2"), ("e3", "e4"), ("e5",)):
        accept(stub, *ids)
    result = run("send", "a1", "--batch", lines(*range(5)), "--batch-size", "2")
    assert result.stdout.split() == ["e1", "e2", "e3", "e4", "e5"]
    assert sent(stub) == [[0, 1], [2, 3], [4]]
    assert "2 of 5" in result.stderr
    assert "4 of 5" in result.stderr


def test_standard_input_and_empty_lines(stub, run):
    accept(stub, "e1", "e2")
    run("send", "a1", "--batch", "-", stdin='\n"a"\n\n  \n"b"')
    assert sent(stub) == [["a", "b"]]


def test_variables_for_all(stub, run, lines):
    accept(stub, "e1", query="?MODE=fast")
    assert run("send", "a1", "--batch", lines(1), "-p", "MODE=fast").exit_code == 0


def test_json_output(stub, run, lines):
    accept(stub, "e1")
    result = run("send", "a1", "--batch", lines(1), "-o", "json")
    assert json.loads(result.stdout) == {"execution_ids": ["e1"]}
    assert result.stderr == ""


def test_each_request_has_a_key_that_a_repeat_has_too(stub, run, lines):
    arguments = ("send", "a1", "--batch", lines(1, 2, 3), "--batch-size", "2")
    accept(stub, "e1")
    run(*arguments)
    for _ in range(2):
        run(*arguments, "--idempotency-key", "k")
    keys = [asked.headers.get("Idempotency-Key") for asked in stub.sent("POST")]
    assert keys == [None, None, "k-1", "k-2", "k-1", "k-2"]


def test_a_limit_is_waited_for(stub, run, lines, monkeypatch):
    pauses = []
    monkeypatch.setattr(batches.time, "sleep", pauses.append)
    stub.answer("POST", BATCH, "too many messages", status=429, Retry_After="7")
    stub.answer("POST", BATCH, "too many messages", status=429)
    accept(stub, "e1")
    result = run("send", "a1", "--batch", lines(1))
    assert (result.exit_code, result.stdout) == (0, "e1\n")
    assert pauses == [7, 1]
    assert "the server asks to wait 7 s: too many messages" in result.stderr


def test_what_was_accepted_before_a_fault_is_told(stub, run, lines):
    accept(stub, "e1")
    stub.answer("POST", BATCH, "messages: item 0: is bad", status=400)
    result = run("send", "a1", "--batch", lines(1, 2, 3), "--batch-size", "1")
    assert result.exit_code == 1
    assert result.stdout == "e1\n"
    assert "1 of 3 messages are accepted" in result.stderr
    assert "item 0: is bad" in result.stderr


def test_ctrl_c_tells_how_far_it_came(stub, run, lines, monkeypatch):
    def interrupt(pause_s):
        raise KeyboardInterrupt

    monkeypatch.setattr(batches.time, "sleep", interrupt)
    accept(stub, "e1")
    stub.answer("POST", BATCH, "too many", status=429)
    result = run("send", "a1", "--batch", lines(1, 2), "--batch-size", "1")
    assert (result.exit_code, result.stdout) == (130, "e1\n")
    assert "1 of 2 messages are accepted" in result.stderr


@pytest.mark.parametrize(
    "more", [["text"], ["--json", "1"], ["--wait"], ["--exit-code"], ["--batch-size", "0"]]
)
def test_what_does_not_go_together(stub, run, lines, more):
    result = run("send", "a1", "--batch", lines(1), *more)
    assert result.exit_code == 2
    assert stub.asked == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no messages"),
        (b"\n\n", "has no messages"),
        (b'"a"\n{"n": \n', "line 2 is not JSON"),
        (b"plain text\n", "line 1 is not JSON"),
        (b'"caf\xe9"\n', "is not UTF-8"),
    ],
)
def test_a_bad_file_is_found_before_anything_is_sent(stub, run, tmp_path, content, words):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    result = run("send", "a1", "--batch", str(path))
    assert (result.exit_code, words in result.stderr) == (2, True)
    assert stub.sent("POST") == []


def test_a_file_that_is_not_there(run, tmp_path):
    result = run("send", "a1", "--batch", str(tmp_path / "nothing"))
    assert "cannot be read" in result.stderr


def test_portions_are_bounded_in_length_too(monkeypatch):
    monkeypatch.setattr(batches, "PORTION_LENGTH", 100)
    messages = ["x" * 40, "y" * 40, "z" * 200, "a", "b"]
    assert list(portions(messages, 500)) == [messages[:2], messages[2:3], messages[3:]]


class TestSingle:
    def test_a_key_goes_along(self, stub, run):
        stub.answer("POST", "/actors/a1/messages", {"execution_id": "e1", "msg": "hi"})
        run("send", "a1", "hi", "--idempotency-key", "order 7")
        assert stub.asked[-1].headers["Idempotency-Key"] == "order 7"

    def test_none_without_being_asked(self, stub, run):
        stub.answer("POST", "/actors/a1/messages", {"execution_id": "e1", "msg": "hi"})
        run("send", "a1", "hi")
        assert "Idempotency-Key" not in stub.asked[-1].headers
