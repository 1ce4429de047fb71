"""The server killed, the engine stopped, for real: every message ends once all the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Engine, running_engine
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

SHELL = "abaco_test_shell"
NAP = "echo begun; sleep {}; echo ended"


def check_counters(server: Server, accepted: int) -> None:
    """Conservation: everything accepted is final, and nothing else is."""
    text = server.raw("GET", "/metrics").data.decode()
    values = dict(
        line.split(" ") for line in text.splitlines() if line.startswith("abaco_messages")
    )
    assert float(values['abaco_messages{state="accepted"}']) == accepted
    assert float(values['abaco_messages{state="final"}']) == accepted
    assert float(values['abaco_messages{state="queued"}']) == 0
    assert float(values['abaco_messages{state="leased"}']) == 0


def test_a_killed_server_finishes_what_it_had_accepted(server: Server, engine: Engine) -> None:
    actor = server.register(SHELL, max_workers=3)
    # while the server is dead the first ends, the second goes on, the third is lost
    running = [server.send(actor, NAP.format(seconds)) for seconds in ("15", "45", "600")]
    for execution in running:
        server.until_status(actor, execution, "RUNNING")
    queued = [server.send(actor, f"echo {number}") for number in range(20)]
    assert server.call("GET", f"/actors/{actor}/messages")["messages"] == 20
    server.kill()
    found = {container_of(engine, execution) for execution in running}
    assert len(found) == 3
    engine.remove(container_of(engine, running[2]))
    server.until(lambda: has_ended(engine, running[0]), "the first to end, and nobody looks")
    began = time.monotonic()
    server.start()
    assert time.monotonic() - began < 20
    first, second = (server.until_final(actor, execution) for execution in running[:2])
    for done, execution in ((first, running[0]), (second, running[1])):
        assert (done["status"], done["exit_code"]) == ("COMPLETE", 0)
        assert server.logs(actor, execution) == "begun\nended\n"
    for number, execution in enumerate(queued):
        done = server.until_final(actor, execution)
        assert (done["status"], done["exit_code"]) == ("COMPLETE", 0)
        assert server.logs(actor, execution) == f"{number}\n"
    server.until_status(actor, running[2], "RUNNING")  # again, in a second container
    server.call("DELETE", f"/actors/{actor}/executions/{running[2]}")
    assert server.until_final(actor, running[2])["final_state"]["AbacoReason"] == "force_quit"
    listed = [one["id"] for one in server.executions(actor)]
    assert sorted(listed) == sorted(running + queued)
    assert server.call("GET", f"/actors/{actor}/executions")["total_executions"] == 23
    check_counters(server, 23)
    server.until(lambda: not engine.containers(), "every container to be removed")


def test_a_server_killed_again_and_again_under_load_loses_nothing(server: Server) -> None:
    actor = server.register(SHELL, max_workers=4)
    executions = []
    for round_ in range(4):
        executions += [server.send(actor, f"sleep 0.2; echo {round_}.{n}") for n in range(8)]
        time.sleep(0.4 + 0.3 * round_)
        server.kill()
        server.start()
    for number, execution in enumerate(executions):
        done = server.until_final(actor, execution)
        assert (done["status"], done["exit_code"]) == ("COMPLETE", 0), done
        assert server.logs(actor, execution) == f"{number // 8}.{number % 8}\n"
    assert sorted(one["id"] for one in server.executions(actor)) == sorted(executions)
    check_counters(server, 32)


def test_a_stopped_server_leaves_its_containers_and_finds_them_again(server: Server) -> None:
    actor = server.register(SHELL)
    execution = server.send(actor, "echo one; sleep 15; echo two")
    server.until(lambda: "one" in server.logs(actor, execution), "the first line")
    code, seconds = server.stop()
    assert code == 0, server.log()
    assert seconds < 10
    server.start()
    assert server.execution(actor, execution)["status"] == "RUNNING"
    done = server.until_final(actor, execution)
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 0)
    assert server.logs(actor, execution) == "one\ntwo\n"


@pytest.fixture(
    params=[
        pytest.param(("docker", {"live_restore": False}), marks=pytest.mark.docker),
        pytest.param(("docker", {"live_restore": True}), marks=pytest.mark.docker),
        pytest.param(("podman", {}), marks=pytest.mark.podman),
    ],
    ids=["docker", "docker-live-restore", "podman"],
)
def own_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine for one test, that may be stopped."""
    kind, options = request.param
    with running_engine(kind, **options) as engine:
        yield engine


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_engine_away_for_ten_seconds_under_load(
    own_engine: Engine, end: str, tmp_path: Path
) -> None:
    with a_server(tmp_path, settings_for(own_engine)) as server:
        actor = server.register(SHELL, max_workers=4)
        executions = [server.send(actor, f"sleep 0.5; echo {number}") for number in range(12)]
        server.until(
            lambda: sum(one["status"] == "COMPLETE" for one in server.executions(actor)) >= 2,
            "two messages to be done",
        )
        getattr(own_engine, end)()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            executions.append(server.send(actor, f"sleep 0.5; echo {len(executions)}"))
            assert server.actor(actor)["status"] != "ERROR"
            time.sleep(0.5)
        assert server.raw("GET", "/ready").status == 503
        assert server.raw("GET", "/health").status == 200
        own_engine.start()
        for number, execution in enumerate(executions):
            done = server.until_final(actor, execution)
            assert (done["status"], done["exit_code"]) == ("COMPLETE", 0), done
            # Docker drops what a program writes that ends while it is away; the run says so
            may_lose_output = done["final_state"].get("AbacoEngineOutage", False)
            assert server.logs(actor, execution) == f"{number}\n" or may_lose_output
        assert server.actor(actor)["status"] == "READY"
        check_counters(server, len(executions))
        assert server.raw("GET", "/ready").status == 200


def container_of(engine: Engine, execution: str) -> str:
    """The engine's id of an execution's container, by its label."""
    return next(
        str(one["Id"])
        for one in engine.containers()
        if one["Labels"].get("abaco.execution") == execution
    )


def has_ended(engine: Engine, execution: str) -> bool:
    """Tell whether the program of an execution has ended, as far as its engine knows."""
    return str(engine.inspect(container_of(engine, execution))["State"]["Status"]) == "exited"
