"""The same stories over every real engine: what a user sees of actors and executions."""

from __future__ import annotations

import ast
import itertools
import time

import pytest

from tests.support.server import Server

ECHO = "abaco_test_echo"
#: runs its message as a script
SHELL = "abaco_test_shell"
NAP = "echo begun; sleep {}; echo ended"


def test_a_text_message_is_answered(server: Server) -> None:
    actor = server.register(ECHO, name="echo", default_environment={"GREETING": "good day"})
    execution = server.send(actor, "hello there")
    done = server.until_final(actor, execution)
    assert done["status"] == "COMPLETE"
    assert done["exit_code"] == 0
    assert done["worker_id"]
    assert done["final_state"]["Status"] == "exited"
    assert done["message_received_time"] <= done["start_time"] <= done["finish_time"]
    log = server.logs(actor, execution)
    assert "Contents of MSG: hello there" in log
    for line in (
        "GREETING=good day",
        f"_abaco_actor_id={actor}",
        f"_abaco_actor_dbid=DEV_{actor}",
        "_abaco_actor_name=echo",
        f"_abaco_container_repo={ECHO}",
        f"_abaco_execution_id={execution}",
        f"_abaco_worker_id={done['worker_id']}",
        "_abaco_username=anonymous",
        "_abaco_Content_Type=str",
        "_abaco_Content-Type=str",
        "_abaco_actor_state={}",
        "_abaco_actor_revision=1",
        "_abaco_access_token=",
        "_actor_configs={}",
    ):
        assert f"\n{line}\n" in log, line


def test_a_json_message_arrives_in_python_text_form(server: Server) -> None:
    actor = server.register(ECHO)
    execution = server.send(actor, {"a": True, "b": [1, None], "c": 'it\'s "x"'})
    server.until_final(actor, execution)
    log = server.logs(actor, execution)
    line = next(line for line in log.splitlines() if line.startswith("Contents of MSG: "))
    message = ast.literal_eval(line.removeprefix("Contents of MSG: "))
    assert message == {"a": True, "b": [1, None], "c": 'it\'s "x"'}
    assert "\n_abaco_Content_Type=application/json\n" in log


def test_query_parameters_become_variables_and_spoof_nothing(server: Server) -> None:
    actor = server.register(ECHO, default_environment={"A": "default", "B": "default"})
    path = f"/actors/{actor}/messages?A=query&MSG=spoof&_abaco_actor_id=spoof&PATH=/bin"
    execution = server.call("POST", path, {"message": "real"})["execution_id"]
    server.until_final(actor, execution)
    log = server.logs(actor, execution)
    for line in ("A=query", "B=default", "MSG=real", "PATH=/bin", f"_abaco_actor_id={actor}"):
        assert f"\n{line}\n" in log, line
    assert "spoof" not in log


def test_a_synchronous_message_answers_with_the_log(server: Server) -> None:
    actor = server.register(ECHO)
    answer = server.raw(
        "POST",
        f"/actors/{actor}/messages?_abaco_synchronous=true",
        fields={"message": "at once"},
    )
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"Contents of MSG: at once" in answer.data


def test_a_stateful_actor_counts_to_a_hundred_in_order(server: Server) -> None:
    actor = server.register("abaco_test_counter", stateless=False)
    executions = [server.send(actor, str(number)) for number in range(100)]
    for execution in executions:
        done = server.until_final(actor, execution)
        assert done["exit_code"] == 0, server.logs(actor, execution)
    assert server.call("GET", f"/actors/{actor}/state")["state"] == 100
    for number, execution in enumerate(executions):
        assert server.logs(actor, execution) == f"message {number} found {number}\n"
    ends = [(one["start_time"], one["finish_time"]) for one in server.executions(actor)]
    for (_, finish), (start, _) in itertools.pairwise(ends):
        assert finish <= start, "two messages of a stateful actor ran at once"


def test_a_stateless_actor_with_four_workers_runs_each_message_once(server: Server) -> None:
    actor = server.register(SHELL, max_workers=4)
    script = "echo begun {}; sleep 0.3; echo ended {}"
    batch = [{"message": script.format(number, number)} for number in range(40)]
    executions = server.call("POST", f"/actors/{actor}/messages/batch", {"messages": batch})[
        "execution_ids"
    ]
    most = 0
    while server.call("GET", f"/actors/{actor}/messages")["messages"]:
        most = max(most, len(server.call("GET", f"/actors/{actor}/workers")))
        time.sleep(0.05)
    for number, execution in enumerate(executions):
        done = server.until_final(actor, execution)
        assert (done["status"], done["exit_code"]) == ("COMPLETE", 0)
        assert server.logs(actor, execution) == f"begun {number}\nended {number}\n"
    assert most == 4
    assert len({one["id"] for one in server.executions(actor)}) == 40
    server.until(
        lambda: not server.call("GET", f"/actors/{actor}/workers"), "the idle workers to leave"
    )


def test_a_failing_program_is_complete_with_its_exit_code(server: Server) -> None:
    actor = server.register(SHELL)
    execution = server.send(actor, "echo to one; echo to the other >&2; exit 3")
    done = server.until_final(actor, execution)
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 3)
    assert sorted(server.logs(actor, execution).splitlines()) == ["to one", "to the other"]
    assert server.actor(actor)["status"] == "READY"


def test_a_program_out_of_memory_says_so(server: Server) -> None:
    actor = server.register("abaco_test_oom", mem_limit="32m")
    done = server.until_final(actor, server.send(actor, "x"))
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 137)
    assert done["final_state"]["OOMKilled"] is True


def test_a_halt_ends_a_run_within_two_seconds(server: Server) -> None:
    actor = server.register(SHELL)
    took_s = []
    for _ in range(3):  # a busy machine may be slow once
        execution = server.send(actor, NAP.format(600))
        server.until(lambda each=execution: "begun" in server.logs(actor, each), "the program")
        server.until_status(actor, execution, "RUNNING")
        began = time.monotonic()
        status, envelope = server.request("DELETE", f"/actors/{actor}/executions/{execution}")
        assert status == 200
        assert "Issued force quit command for execution" in envelope["message"]
        done = server.until_final(actor, execution)
        took_s.append(time.monotonic() - began)
    assert min(took_s) < 2.0
    assert done["status"] == "COMPLETE"
    assert done["exit_code"] in {137, 143}
    assert done["final_state"]["AbacoReason"] == "force_quit"
    status, envelope = server.request("DELETE", f"/actors/{actor}/executions/{execution}")
    assert status == 400
    assert "COMPLETE" in envelope["message"]


def test_an_unknown_image_puts_the_actor_into_error_with_a_reason(server: Server) -> None:
    actor = server.register("localhost:1/no/such-image:7")
    server.until(lambda: server.actor(actor)["status"] == "ERROR", "the actor to be in ERROR")
    message = server.actor(actor)["status_message"]
    assert "localhost:1/no/such-image:7" in message
    assert len(message) > len("localhost:1/no/such-image:7") + 20
    status, envelope = server.request("PUT", f"/actors/{actor}", {"image": ECHO})
    assert status == 200, envelope
    assert envelope["result"]["revision"] == 2
    server.ready(actor)
    assert server.actor(actor)["status_message"].strip() == ""


def test_an_update_lets_the_running_message_finish_on_the_old_image(server: Server) -> None:
    actor = server.register(SHELL)
    first = server.send(actor, NAP.format(8))
    server.until_status(actor, first, "RUNNING")
    server.call("PUT", f"/actors/{actor}", {"image": ECHO})
    second = server.send(actor, "new")
    assert server.until_final(actor, first)["exit_code"] == 0
    assert server.logs(actor, first) == "begun\nended\n"
    server.until_final(actor, second)
    log = server.logs(actor, second)
    assert f"\n_abaco_container_repo={ECHO}\n" in log
    assert "\n_abaco_actor_revision=2\n" in log


def test_a_log_grows_while_its_program_runs(server: Server) -> None:
    actor = server.register(SHELL)
    execution = server.send(actor, NAP.format(30))
    server.until(lambda: "begun" in server.logs(actor, execution), "the first line")
    assert server.execution(actor, execution)["status"] == "RUNNING"
    server.call("DELETE", f"/actors/{actor}")


def test_a_long_log_is_cut_and_marked_and_the_run_goes_on(server: Server) -> None:
    actor = server.register("abaco_test_spew")
    execution = server.send(actor, "300000")
    assert server.until_final(actor, execution)["exit_code"] == 0
    log = server.logs(actor, execution)
    assert log.endswith(" LOG LIMIT EXCEEDED; this execution log was TRUNCATED!")
    assert 1_000_000 <= len(log) < 1_000_200
    assert log.startswith("1\n2\n3\n")


def test_the_image_decides_the_user(server: Server) -> None:
    actor = server.register("abaco_test_user")
    execution = server.send(actor, "x")
    server.until_final(actor, execution)
    assert server.logs(actor, execution) == "1234\n5678\n"


def test_a_deleted_actor_leaves_nothing_but_its_accounts(server: Server) -> None:
    actor = server.register(SHELL, max_workers=1)
    running = server.send(actor, NAP.format(600))
    queued = server.send(actor, "queued")
    server.until_status(actor, running, "RUNNING")
    server.call("DELETE", f"/actors/{actor}")
    for path in ("", "/executions", f"/executions/{queued}", "/messages", "/state", "/workers"):
        status, envelope = server.request("GET", f"/actors/{actor}{path}")
        assert (status, envelope["status"]) == (404, "error"), path


@pytest.mark.parametrize("message", ["", " ", "line one\nline two", "ünïcödé ☃ 漢字", "'\"$(id)`"])
def test_any_text_arrives_as_it_was_sent(server: Server, message: str) -> None:
    actor = server.register(ECHO)
    status, envelope = server.request("POST", f"/actors/{actor}/messages", {"message": message})
    if not message:  # an empty message field is no message: the object itself is the message
        message = "{'message': ''}"
    assert status == 200, envelope
    execution = envelope["result"]["execution_id"]
    server.until_final(actor, execution)
    assert f"Contents of MSG: {message}\n" in server.logs(actor, execution)
