"""What uses a machine up, in real containers: it ends by itself, and the others go on.

Each row demands that another actor runs its messages and that the API answers meanwhile. The
numbers are bounded for every run of the tests; ``tests.benchmarks.bench_flood`` has whole ones.
"""

from __future__ import annotations

import sqlite3

import pytest

from tests.support.beside import others_go_on
from tests.support.engines import Engine
from tests.support.memory import Memory
from tests.support.prison import LOG, PIDS, SHELL, TMP, program, run
from tests.support.server import Server

TRUNCATED = " LOG LIMIT EXCEEDED; this execution log was TRUNCATED!"
#: megabytes a flood may cost the server
GROWTH_MB = 48

SEND = """
results = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
results.connect("/_abaco_results.sock")
"""


def test_a_fork_bomb_stays_small(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    script = """
import signal, time
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
        done, log = program(server, script)
    assert done["exit_code"] == 0, log
    refused, count = log.splitlines()
    assert refused == "refused Resource temporarily unavailable"
    assert PIDS // 2 < int(count) < PIDS


def test_a_fork_bomb_that_nobody_ends_is_ended_by_its_time_limit(
    prison: tuple[Engine, Server],
) -> None:
    _, server = prison
    # one process is begun here, and exec begins none, because then there may be none left to have
    script = "bomb() { bomb | bomb & }; (bomb) & exec sleep 600"
    with others_go_on(server):
        done, log = run(server, SHELL, script, max_run_time=2)
    assert done["status"] == "COMPLETE"
    assert done["final_state"].get("AbacoReason") == "timeout", (done, log)


def test_a_memory_bomb_ends_itself_only(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    with others_go_on(server):
        done, _ = run(server, "abaco_test_oom", "x", mem_limit="48m")
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 137)
    assert done["final_state"]["OOMKilled"] is True


def test_descriptors_end_before_those_of_the_host_do(prison: tuple[Engine, Server]) -> None:
    """A container has as many as its limit and its memory allow, in all its processes."""
    _, server = prison
    script = """
root = os.getpid()
while True:  # one process after the other fills its table
    try:
        while True:
            os.open("/dev/null", os.O_RDONLY)
    except OSError as error:
        assert error.errno == errno.EMFILE, error
    try:
        child = os.fork()
    except OSError:
        break
    if child:
        os.waitpid(child, 0)
        break
    os.closerange(3, 1 << 20)  # shared with the parent, which has them still
if os.getpid() != root:
    os._exit(0)
print("full", flush=True)
"""
    with others_go_on(server):
        done, log = program(server, script, mem_limit="64m", max_run_time=60)
    assert done["status"] == "COMPLETE"
    is_bounded_by_memory = bool(done["final_state"]["OOMKilled"])
    assert is_bounded_by_memory or log == "full\n", (done, log)


def test_a_tmp_in_memory_is_bounded(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    script = """
size = 0
with open("/tmp/x", "wb", buffering=0) as file:
    try:
        while True:
            size += file.write(bytes(65536))
    except OSError as error:
        print(error.strerror, size)
"""
    with others_go_on(server):
        done, log = program(server, script, read_only_rootfs=True)
    assert (done["exit_code"], log) == (0, f"No space left on device {TMP}\n")


def test_memory_under_tmp_counts_as_memory(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    script = "dd if=/dev/zero of=/tmp/x bs=1048576 count=40; echo wrote it all"
    with others_go_on(server):
        done, log = run(server, SHELL, script, mem_limit="16m", read_only_rootfs=True)
    assert done["status"] == "COMPLETE"
    assert "40+0 records out" not in log


@pytest.mark.parametrize(
    ("what", "script"),
    [
        ("bytes", f"yes {'x' * 99} | head -c 100000000; echo; echo last words"),
        ("short lines", "seq 300000"),
        ("one line", "tr '\\0' x < /dev/zero | head -c 50000000"),
        ("both streams", "seq 150000 >&2 & seq 150000; wait"),
    ],
)
def test_a_flood_of_output_is_cut_and_kept_nowhere(
    prison: tuple[Engine, Server], what: str, script: str
) -> None:
    engine, server = prison
    memory = Memory(server.pid)
    with others_go_on(server), memory.watched():
        done, log = run(server, SHELL, script)
    assert done["exit_code"] == 0
    assert log.endswith(TRUNCATED)
    assert LOG - 200 < len(log) - len(TRUNCATED) <= LOG
    assert memory.grown_mb < GROWTH_MB, what
    server.until(lambda: not engine.containers(), "the container, and its output, to be gone")


def stored_results(server: Server, execution: str) -> list[bytes]:
    """Read the results of an execution where they are kept, in order."""
    with sqlite3.connect(server.directory / "data" / "abaco.db") as database:
        rows = database.execute(
            "SELECT data FROM results WHERE execution_id = ? ORDER BY seq", [execution]
        )
        return [row[0] for row in rows]


def send(server: Server, script: str) -> tuple[str, str]:
    """Begin a program; return its actor and its execution."""
    environment = {"SCRIPT": f"import os, socket\n{SEND}{script}"}
    actor = server.register("abaco_test_python", default_environment=environment)
    return actor, server.send(actor, "x")


def test_a_flood_of_results_that_nobody_reads(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    count = 20_000
    memory = Memory(server.pid)
    with others_go_on(server), memory.watched():
        actor, execution = send(server, f"for n in range({count}): results.send(b'%d' % n)")
        done = server.until_final(actor, execution)
    assert done["exit_code"] == 0, server.logs(actor, execution)
    assert stored_results(server, execution) == [b"%d" % number for number in range(count)]
    assert memory.grown_mb < GROWTH_MB
    server.call("DELETE", f"/actors/{actor}")


def test_results_that_are_too_large_are_counted_and_kept_nowhere(
    prison: tuple[Engine, Server],
) -> None:
    _, server = prison
    script = """
for size in (131073, 150000, 200000) * 500:
    results.send(bytes(size))
results.send(b"small")
"""
    memory = Memory(server.pid)
    with others_go_on(server), memory.watched():
        actor, execution = send(server, script)
        done = server.until_final(actor, execution)
    assert done["exit_code"] == 0, server.logs(actor, execution)
    assert done["final_state"]["AbacoResultsRefused"] == 1500
    assert stored_results(server, execution) == [b"small"]
    assert len(server.logs(actor, execution)) < 10_000
    assert memory.grown_mb < GROWTH_MB
    server.call("DELETE", f"/actors/{actor}")


def test_a_directory_full_of_names(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    script = """
for number in range(20_000):
    open(f"/_abaco_results.d/{number:05}", "w").close()
for number in range(300):
    os.mkdir("/_abaco_results.d/deep") if number == 0 else os.mkdir("deep")
    os.chdir("/_abaco_results.d/deep" if number == 0 else "deep")
"""
    memory = Memory(server.pid)
    with others_go_on(server), memory.watched():
        actor, execution = send(server, script)
        done = server.until_final(actor, execution)
    assert done["exit_code"] == 0, server.logs(actor, execution)
    assert done["final_state"]["AbacoResultsRefused"] >= 19_000
    assert stored_results(server, execution) == []
    assert memory.grown_mb < GROWTH_MB
    left = server.directory / "data" / "ipc"
    server.until(lambda: not list(left.glob(f"*/{execution}.*")), "the directory to be gone")
    server.call("DELETE", f"/actors/{actor}")
