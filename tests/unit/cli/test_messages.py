"""``abaco send``, ``executions``, ``halt`` and ``logs`` against a stub."""

import json

import pytest

from tests.unit.cli.conftest import an_actor, an_execution

EXECUTION = "/actors/a1/executions/e1"


@pytest.fixture(autouse=True)
def _actor(stub):
    stub.answer("GET", "/actors/a1", an_actor())


def accept(stub, query=""):
    stub.answer("POST", f"/actors/a1/messages{query}", {"execution_id": "e1", "msg": "hi"})


def end(stub, log="hello\n", **execution):
    stub.answer("GET", EXECUTION, an_execution(**execution))
    stub.answer("GET", f"{EXECUTION}/logs", {"logs": log})


class TestSend:
    def test_text(self, stub, run):
        accept(stub)
        result = run("send", "a1", "How are you?")
        assert result.stdout == "e1\n"
        assert "abaco logs a1 e1 --follow" in result.stderr
        assert stub.asked[-1].json == {"message": "How are you?"}

    @pytest.mark.parametrize("value", [{"n": 3}, [1], 0, None, "text"])
    def test_json(self, stub, run, value):
        accept(stub)
        run("send", "a1", "--json", json.dumps(value))
        assert stub.asked[-1].json == value

    def test_json_from_a_file(self, stub, run, tmp_path):
        accept(stub)
        (tmp_path / "m.json").write_text('{"n": 4}')
        run("send", "a1", "--json", f"@{tmp_path / 'm.json'}")
        assert stub.asked[-1].json == {"n": 4}

    def test_standard_input(self, stub, run):
        accept(stub)
        run("send", "a1", stdin="from a pipe")
        assert stub.asked[-1].json == {"message": "from a pipe"}

    def test_standard_input_that_is_no_text(self, stub, run):
        result = run("send", "a1", stdin=b"caf\xe9")
        assert result.exit_code == 2
        assert "standard input is not UTF-8 text" in result.stderr
        assert stub.asked == []

    def test_an_argument_that_is_no_text(self, stub, run):
        result = run("send", "a1", b"caf\xe9".decode("utf-8", "surrogateescape"))
        assert result.exit_code == 2
        assert "TEXT is not UTF-8 text" in result.stderr
        assert stub.asked == []

    def test_parameters(self, stub, run):
        accept(stub, "?MODE=fast&X=a%26b")
        result = run("send", "a1", "hi", "-p", "MODE=fast", "-p", "X=a&b")
        assert result.exit_code == 0, result.output

    def test_json_output(self, stub, run):
        accept(stub)
        result = run("send", "a1", "hi", "-o", "json")
        assert json.loads(result.stdout) == {"execution_id": "e1", "msg": "hi"}
        assert result.stderr == ""

    @pytest.mark.parametrize(
        "arguments", [["hi", "--json", "1"], ["--json", "no json"], ["hi", "-p", "x"]]
    )
    def test_wrong_usage(self, stub, run, arguments):
        assert run("send", "a1", *arguments).exit_code == 2
        assert stub.asked == []


class TestSendAndWait:
    def test_log_on_stdout_and_the_end_on_stderr(self, stub, run):
        accept(stub)
        end(stub)
        result = run("send", "a1", "hi", "--wait")
        assert result.exit_code == 0
        assert result.stdout == "hello\n"
        assert "execution e1: COMPLETE, exit code 0, 1 s" in result.stderr

    def test_what_it_used_is_told_where_it_is_known(self, stub, run):
        accept(stub)
        end(stub, runtime_ms=1_234, cpu=560_000_000, memory_peak=7 * 1024**2)
        told = run("send", "a1", "hi", "--wait").stderr
        assert "exit code 0, 1.23 s, 0.56 s of CPU, 7 MiB of memory" in told

    def test_what_nobody_knows_is_not_told(self, stub, run):
        accept(stub)
        end(stub, runtime_ms=50, cpu=0, memory_peak=0)
        told = run("send", "a1", "hi", "--wait").stderr
        assert "exit code 0, 0.05 s" in told
        assert "CPU" not in told
        assert "memory" not in told

    def test_a_log_without_a_last_newline_gets_one(self, stub, run):
        accept(stub)
        end(stub, log="hello")
        assert run("send", "a1", "hi", "--wait").stdout == "hello\n"

    def test_an_exit_code_is_passed_on_only_when_asked(self, stub, run):
        accept(stub)
        end(stub, exit_code=3)
        assert run("send", "a1", "hi", "--wait").exit_code == 0
        result = run("send", "a1", "hi", "--exit-code")
        assert result.exit_code == 3
        assert "exit code 3" in result.stderr

    def test_an_exit_code_nobody_knows_is_1(self, stub, run):
        accept(stub)
        end(stub, exit_code="undetermined")
        assert run("send", "a1", "hi", "--exit-code").exit_code == 1

    def test_an_execution_that_could_not_run_ends_with_1(self, stub, run):
        accept(stub)
        end(stub, status="ERROR", log="")
        result = run("send", "a1", "hi", "--wait")
        assert result.exit_code == 1
        assert "ended with ERROR" in result.stderr

    def test_when_the_time_is_up(self, stub, run):
        accept(stub)
        end(stub, status="RUNNING")
        result = run("send", "a1", "hi", "--wait", "--timeout", "0")
        assert result.exit_code == 1
        assert "e1 is RUNNING and goes on" in result.stderr

    def test_the_reason_of_a_halt_is_told(self, stub, run):
        accept(stub)
        end(stub, exit_code=137, final_state={"AbacoReason": "timeout"})
        assert "timeout" in run("send", "a1", "hi", "--wait").stderr

    def test_json_output_holds_execution_and_log(self, stub, run, hasty):
        accept(stub)
        stub.answer("GET", EXECUTION, an_execution(status="RUNNING"))
        stub.answer("GET", f"{EXECUTION}/logs", {"logs": "he"})
        end(stub)
        result = run("send", "a1", "hi", "--wait", "-o", "json")
        assert json.loads(result.stdout)["logs"] == "hello\n"
        assert json.loads(result.stdout)["status"] == "COMPLETE"
        assert result.stderr == ""


class TestExecutions:
    @pytest.fixture
    def _two(self, stub):
        items = [{"id": "e0", "status": "ERROR"}, {"id": "e1", "status": "COMPLETE"}]
        stub.answer("GET", "/actors/a1/executions", {"executions": items, "total_executions": 2})

    @pytest.mark.usefixtures("_two")
    def test_a_list(self, run):
        lines = run("executions", "a1").stdout.splitlines()
        assert [line.split("\t")[:2] for line in lines[1:]] == [
            ["e0", "ERROR"],
            ["e1", "COMPLETE"],
        ]

    @pytest.mark.usefixtures("_two")
    def test_json_has_the_totals(self, run):
        assert json.loads(run("executions", "a1", "--json").stdout)["total_executions"] == 2

    def test_none_yet(self, stub, run):
        stub.answer("GET", "/actors/a1/executions", {"executions": []})
        assert "abaco send a1" in run("executions", "a1").stderr

    def test_one(self, stub, run):
        end(stub)
        assert "exit_code\t0" in run("executions", "a1", "e1").stdout

    @pytest.mark.usefixtures("_two")
    def test_logs_of_the_latest(self, stub, run):
        end(stub)
        assert run("logs", "a1").stdout == "hello\n"


class TestLogs:
    def test_of_an_execution_that_has_not_begun(self, stub, run):
        end(stub, log="", status="SUBMITTED")
        result = run("logs", "a1", "e1")
        assert result.exit_code == 0
        assert result.stdout == ""
        assert "execution e1 has not begun" in result.stderr
        assert "--follow" in result.stderr

    @pytest.mark.parametrize("status", ["RUNNING", "COMPLETE"])
    def test_of_one_that_wrote_nothing(self, stub, run, status):
        end(stub, log="", status=status)
        assert run("logs", "a1", "e1").stderr == ""

    def test_in_json_it_is_the_log_alone(self, stub, run):
        end(stub, log="", status="SUBMITTED")
        result = run("logs", "a1", "e1", "--json")
        assert json.loads(result.stdout) == {"execution_id": "e1", "logs": ""}
        assert result.stderr == ""

    @pytest.mark.parametrize(
        ("log", "shown"), [("", ""), ("a", "a\n"), ("a\n", "a\n"), ("a\n\n", "a\n\n")]
    )
    def test_a_log_ends_with_one_newline_of_ours_at_most(self, stub, run, log, shown):
        end(stub, log=log)
        assert run("logs", "a1", "e1").stdout == shown

    def test_json(self, stub, run):
        end(stub)
        result = run("logs", "a1", "e1", "--json")
        assert json.loads(result.stdout) == {"execution_id": "e1", "logs": "hello\n"}

    def test_follow(self, stub, run, hasty):
        stub.answer("GET", EXECUTION, an_execution(status="RUNNING"))
        stub.answer("GET", f"{EXECUTION}/logs", {"logs": "he"})
        end(stub)
        result = run("logs", "a1", "e1", "--follow")
        assert result.stdout == "hello\n"
        assert "COMPLETE" in result.stderr

    def test_an_actor_without_executions(self, stub, run):
        stub.answer("GET", "/actors/a1/executions", {"executions": []})
        result = run("logs", "a1")
        assert result.exit_code == 1
        assert "no executions yet" in result.stderr


def test_halt(stub, run):
    stub.answer("DELETE", EXECUTION, None)
    result = run("halt", "a1", "e1")
    assert result.exit_code == 0
    assert "asked execution e1 to stop" in result.stderr
    assert [asked.uri for asked in stub.sent("DELETE")] == [EXECUTION]


def test_halt_of_what_does_not_run(stub, run):
    stub.answer("DELETE", EXECUTION, "the execution is COMPLETE", status=400)
    result = run("halt", "a1", "e1")
    assert result.exit_code == 1
    assert "COMPLETE" in result.stderr
