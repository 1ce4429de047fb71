"""What a hostile image gets over every real engine: nothing it was not given, and no more.

The rows of the table are in ``tests.support.attempts``. Those that need the host's side, or
another actor's, are functions here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attempts import ATTEMPTS, PRELUDE
from tests.support.engines import ENGINE_PARAMS, Engine, EnginePool
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

ECHO = "abaco_test_echo"
PYTHON = "abaco_test_python"
SHELL = "abaco_test_shell"

#: processes a container may have
PIDS = 64


@pytest.fixture(scope="module", params=ENGINE_PARAMS)
def prison(
    request: pytest.FixtureRequest,
    engine_pool: EnginePool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Engine, Server]]:
    """One server per engine for all rows: whatever a row does, the next one finds it well."""
    directory: Path = tmp_path_factory.mktemp(f"prison-{request.param}")
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(engine_pool.lend(request.param, request.session))
        settings = settings_for(engine) | {
            "engine.network": "none",
            "engine.pids_limit": str(PIDS),
            "runtime.idle_grace": "0",
        }
        yield engine, stack.enter_context(a_server(directory, settings))


def run(
    server: Server, image: str, message: str, **fields: object
) -> tuple[dict[str, object], str]:
    """Run one message to its end; return the execution and its log."""
    actor = server.register(image, **fields)
    execution = server.send(actor, message)
    done = server.until_final(actor, execution)
    log = server.logs(actor, execution)
    server.call("DELETE", f"/actors/{actor}")
    return done, log


@pytest.mark.parametrize("name", ATTEMPTS)
def test_refused(prison: tuple[Engine, Server], name: str) -> None:
    engine, server = prison
    row = ATTEMPTS[name]
    environment = {
        "SCRIPT": PRELUDE + row.program,
        "HOST_PID": str(os.getpid()),
        "ENGINE_SOCKET": str(engine.socket_path),
        "SERVER_PORT": str(server.port),
    }
    done, log = run(server, PYTHON, "x", default_environment=environment, **row.fields)
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 0), log
    row.check(log)


@contextlib.contextmanager
def others_go_on(server: Server) -> Iterator[None]:
    """Demand that another actor answers, and so does the API, while something goes on."""
    actor = server.register(ECHO)
    server.ready(actor)
    answered: list[str] = []
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.is_set() or not answered:
            execution = server.send(actor, "still here")
            server.until_final(actor, execution)
            answered.append(server.logs(actor, execution))

    neighbour = threading.Thread(target=go_on)
    neighbour.start()
    try:
        yield
    finally:
        is_over.set()
        neighbour.join(60)
    assert answered
    assert all("Contents of MSG: still here\n" in log for log in answered)
    server.call("DELETE", f"/actors/{actor}")


def test_a_fork_bomb_stays_small(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    script = """
import os, signal, time
children = []
try:
    while True:
        pid = os.fork()
        if not pid:
            time.sleep(60)
        children.append(pid)
except OSError as error:
    print("refused", error.strerror)
print(len(children))
for child in children:
    os.kill(child, signal.SIGKILL)
"""
    with others_go_on(server):
        done, log = run(server, PYTHON, "x", default_environment={"SCRIPT": script})
    assert done["exit_code"] == 0, log
    refused, count = log.splitlines()
    assert refused == "refused Resource temporarily unavailable"
    assert PIDS // 2 < int(count) < PIDS


def test_a_fork_bomb_that_nobody_ends_is_ended_by_its_time_limit(
    prison: tuple[Engine, Server],
) -> None:
    _, server = prison
    with others_go_on(server):
        done, _ = run(server, SHELL, "bomb() { bomb | bomb & }; bomb; sleep 600", max_run_time=2)
    assert done["status"] == "COMPLETE"
    assert isinstance(done["final_state"], dict)
    assert done["final_state"]["AbacoReason"] == "timeout"


def test_a_memory_bomb_ends_itself_only(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    with others_go_on(server):
        done, _ = run(server, "abaco_test_oom", "x", mem_limit="48m")
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 137)
    assert isinstance(done["final_state"], dict)
    assert done["final_state"]["OOMKilled"] is True


def test_memory_under_tmp_counts_as_memory(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    script = "dd if=/dev/zero of=/tmp/x bs=1048576 count=200; echo wrote it all"
    done, log = run(server, SHELL, script, mem_limit="32m", read_only_rootfs=True)
    assert "wrote it all" not in log or "No space" in log or "Killed" in log
    assert done["status"] == "COMPLETE"


def test_a_flood_of_output_is_cut_and_kept_nowhere(prison: tuple[Engine, Server]) -> None:
    engine, server = prison
    line = "x" * 99
    flood = f"yes {line} | head -c 100000000; echo; echo last words"
    waits_s: list[float] = []
    actor = server.register(SHELL)
    execution = server.send(actor, flood)
    while server.execution(actor, execution)["status"] != "COMPLETE":
        began = time.monotonic()
        server.call("GET", f"/actors/{actor}")
        waits_s.append(time.monotonic() - began)
        time.sleep(0.1)
    log = server.logs(actor, execution)
    assert log.startswith(f"{line}\n" * 100)
    assert log.endswith(" LOG LIMIT EXCEEDED; this execution log was TRUNCATED!")
    assert len(log) < 1_000_200
    assert waits_s
    server.until(lambda: not engine.containers(), "the container, and its output, to be gone")
    server.call("DELETE", f"/actors/{actor}")
