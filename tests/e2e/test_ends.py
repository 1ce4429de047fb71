"""Ends that come from outside, and ends the engine does not tell."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import Engine, PrivateDocker, running_engine
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

SHELL = "abaco_test_shell"
#: a run that says when it begins and may be told to end
RUN = "echo begun; until test -e /tmp/go; do sleep 0.1; done; exit 7"


def container_of(engine: Engine, execution: str, but: str = "") -> str:
    """Return the id of an execution's container."""
    for item in engine.containers():
        if execution in json.dumps(item["Labels"]) and item["Id"] != but:
            return str(item["Id"])
    return ""


def begin(server: Server, engine: Engine, script: str = RUN) -> tuple[str, str, str]:
    """Start a run; return actor, execution and container."""
    actor = server.register(SHELL, stateless=False)
    execution = server.send(actor, script)
    server.until_status(actor, execution, "RUNNING")
    server.until(lambda: "begun" in server.logs(actor, execution), "the program to begin")
    return actor, execution, container_of(engine, execution)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def first_process(engine: Engine, container: str) -> int:
    return int(engine.inspect(container)["State"]["Pid"])


def goes_on(server: Server, engine: Engine, actor: str) -> None:
    """See that the worker runs the next message, and that no container stays."""
    execution = server.send(actor, "echo next")
    assert server.until_final(actor, execution)["exit_code"] == 0
    assert server.actor(actor)["status"] == "READY"
    server.until(lambda: not engine.containers(), "all containers to be gone")


def is_second(server: Server, engine: Engine, actor: str, execution: str, first: str) -> None:
    """Wait for the second attempt."""
    server.until(lambda: container_of(engine, execution, first), "the next attempt")
    server.until_status(actor, execution, "RUNNING")


def test_a_container_removed_by_somebody_ends_or_runs_again(server: Server, engine: Engine) -> None:
    actor, execution, container = begin(server, engine)
    engine.remove(container)  # which kills it first, and that may be seen
    server.until(
        lambda: (
            container_of(engine, execution, container)
            or server.execution(actor, execution)["exit_code"] in (137, 143)  # Podman asks first
        ),
        "it to be noticed",
    )
    if server.execution(actor, execution)["status"] != "COMPLETE":
        server.until_status(actor, execution, "RUNNING")
        server.call("DELETE", f"/actors/{actor}/executions/{execution}")
    assert server.until_final(actor, execution)["status"] == "COMPLETE"
    goes_on(server, engine, actor)


def test_a_container_killed_by_somebody_is_complete(server: Server, engine: Engine) -> None:
    actor, execution, container = begin(server, engine)
    engine.request("POST", f"{engine.base}/containers/{container}/kill")
    done = server.until_final(actor, execution)
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 137)
    goes_on(server, engine, actor)


def test_a_container_paused_by_somebody_can_be_halted(server: Server, engine: Engine) -> None:
    actor, execution, container = begin(server, engine)
    engine.request("POST", f"{engine.base}/containers/{container}/pause")
    server.call("DELETE", f"/actors/{actor}/executions/{execution}")
    done = server.until_final(actor, execution)
    assert done["status"] == "COMPLETE"
    assert done["final_state"]["AbacoReason"] == "force_quit"
    goes_on(server, engine, actor)


def test_a_monitor_that_dies_with_its_program_ends_the_run(server: Server, engine: Engine) -> None:
    actor, execution, container = begin(server, engine)
    pid = first_process(engine, container)
    for victim in (parent_of(pid), pid):
        with suppress(ProcessLookupError):  # the engine was quicker
            os.kill(victim, signal.SIGKILL)
    done = server.until_final(actor, execution)
    if engine.kind == "docker":  # containerd notices that its shim has gone
        assert (done["status"], done["exit_code"]) == ("COMPLETE", 137)
    else:
        assert (done["status"], done["exit_code"]) == ("ERROR", "undetermined")
        assert done["final_state"]["AbacoEndUnseen"] is True
    assert server.logs(actor, execution) == "begun\n"
    goes_on(server, engine, actor)


@pytest.fixture
def podman(
    engine_pool: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Server, Engine]]:
    """Only Podman has a monitor for each container that may end without a word."""
    with (
        engine_pool.lend("podman", request.session) as engine,
        a_server(tmp_path, settings_for(engine)) as server,
    ):
        yield server, engine


@pytest.mark.podman
def test_an_end_in_the_absence_of_the_server_is_found_at_its_start(
    podman: tuple[Server, Engine],
) -> None:
    server, engine = podman
    actor, execution, container = begin(server, engine)
    server.kill()
    pid = first_process(engine, container)
    for victim in (parent_of(pid), pid):
        os.kill(victim, signal.SIGKILL)
    server.start()
    done = server.until_final(actor, execution)
    assert (done["status"], done["exit_code"]) == ("ERROR", "undetermined")
    goes_on(server, engine, actor)


@pytest.mark.podman
def test_a_program_whose_monitor_died_runs_again(podman: tuple[Server, Engine]) -> None:
    server, engine = podman
    actor, execution, container = begin(server, engine)
    pid = first_process(engine, container)
    os.kill(parent_of(pid), signal.SIGKILL)
    is_second(server, engine, actor, execution, container)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    server.call("DELETE", f"/actors/{actor}/executions/{execution}")
    assert server.until_final(actor, execution)["status"] == "COMPLETE"
    goes_on(server, engine, actor)


@pytest.fixture
def own_docker() -> Iterator[PrivateDocker]:
    """A Docker whose containerd may be killed."""
    with running_engine("docker") as engine:
        assert isinstance(engine, PrivateDocker)
        yield engine


@pytest.mark.docker
@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_end_that_containerd_did_not_pass_on_is_learned(
    own_docker: PrivateDocker, tmp_path: Path, is_restarted: bool
) -> None:
    with a_server(tmp_path, settings_for(own_docker)) as server:
        actor, execution, container = begin(
            server, own_docker, "echo begun; sleep 10; echo later; exit 7"
        )
        pid = first_process(own_docker, container)
        assert pid, "the program has ended already"
        own_docker.kill_containerd()
        if is_restarted:
            server.kill()
        server.until(lambda: not Path(f"/proc/{pid}").exists(), "the program to end")
        own_docker.start_containerd()
        if is_restarted:
            server.start()
        done = server.until_final(actor, execution)
        assert (done["status"], done["exit_code"]) == ("COMPLETE", 7)
        assert server.logs(actor, execution) == "begun\nlater\n"
        goes_on(server, own_docker, actor)
