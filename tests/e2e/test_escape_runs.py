"""What a hostile program does to its own run, and to the files and runs of others on the host.

Each row looks from both sides: what the program saw, and what the host and the server's records
have afterwards.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.support.attempts import PRELUDE
from tests.support.engines import Engine
from tests.support.prison import PYTHON, SHELL, program, run
from tests.support.server import Server


def processes(mark: str) -> list[str]:
    """Return the processes of the host whose command line has a text in it."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                line = (directory / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if mark.encode() in line:
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def gone(engine: Engine, server: Server, mark: str) -> None:
    """See that nothing of a run is left."""
    server.until(lambda: not processes(mark), f"no process {mark} to be left")
    server.until(lambda: not engine.containers(), "no container to be left")


def test_who_ignores_the_signal_to_end_is_ended(prison: tuple[Engine, Server]) -> None:
    engine, server = prison
    mark = f"mark-{secrets.token_hex(8)}"
    loop = f"sh -c ': {mark}; while :; do sleep 0.2; done'"
    done, log = run(server, SHELL, f'trap "" TERM INT HUP QUIT; echo deaf; {loop}', max_run_time=4)
    assert (done["status"], done["exit_code"], log) == ("COMPLETE", 137, "deaf\n")
    assert done["final_state"]["AbacoReason"] == "timeout"
    assert 4 <= done["runtime"] < 30
    gone(engine, server, mark)


@pytest.mark.parametrize("output", ["/dev/null", "/dev/stdout"])
def test_children_that_let_go_of_their_parents_end_with_the_run(
    prison: tuple[Engine, Server], output: str
) -> None:
    """They may even hold on to the output, whose end nobody waits for."""
    engine, server = prison
    mark = f"mark-{secrets.token_hex(8)}"
    script = f"""
import signal
for _ in range(5):
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        output = os.open("{output}", os.O_WRONLY)
        os.dup2(output, 1); os.dup2(output, 2)
        os.execv("/bin/busybox", ["busybox", "sh", "-c", "sleep 600; : {mark}"])
    os.wait()
print("parent ends", flush=True)
"""
    done, log = program(server, script)
    assert (done["exit_code"], log) == (0, "parent ends\n")
    assert done["runtime"] < 20
    gone(engine, server, mark)


def test_who_signals_everybody_ends_itself_only(prison: tuple[Engine, Server]) -> None:
    engine, server = prison
    actor = server.register(SHELL)
    neighbour = server.send(actor, "echo begun; until test -e /tmp/go; do sleep 0.2; done")
    server.until_status(actor, neighbour, "RUNNING")
    before = {item["Id"] for item in engine.containers()}
    done, log = program(
        server,
        """
import signal
for number in (signal.SIGKILL, signal.SIGSTOP):
    for process in (-1, 1):
        try:
            os.kill(process, number)
        except OSError:  # there may be nobody it may signal
            pass
print(len([name for name in os.listdir("/proc") if name.isdigit()]) < 6, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
""",
    )
    assert (done["status"], done["exit_code"], log) == ("COMPLETE", 137, "True\n")
    assert server.is_running
    assert server.execution(actor, neighbour)["status"] == "RUNNING"
    assert before <= {item["Id"] for item in engine.containers()}
    server.call("DELETE", f"/actors/{actor}")


def test_files_of_the_server_and_of_other_runs(prison: tuple[Engine, Server]) -> None:
    """Named as they are on the host, below what is mounted, and by way of other processes."""
    _, server = prison
    data = server.directory / "data"
    actor = server.register(PYTHON, default_environment={"SCRIPT": "import time; time.sleep(600)"})
    neighbour = server.upload(actor, b"a secret message")["execution_id"]
    server.until_status(actor, neighbour, "RUNNING")
    (place,) = (data / "ipc").glob(f"*/{neighbour}.*")
    assert (place / "message").read_bytes() == b"a secret message"
    script = """
data, place = os.environ["DATA"], os.environ["PLACE"]
def reach(path):
    return os.open(path, os.O_RDONLY)
roots = ["", "/proc/1/root", "/proc/self/root/..", "/_abaco_results.d/../..", "/proc/self/cwd/.."]
for root in roots:
    attempt("database", reach, root + data + "/abaco.db")
    attempt("message", reach, root + place + "/message")
    attempt("socket", os.stat, root + place + "/results.sock")
attempt("beside", os.listdir, "/_abaco_results.d/../" + place.rpartition("/")[2])
attempt("link", lambda: os.link("/_abaco_results.sock", "/_abaco_results.d/linked"))
os.symlink(data + "/abaco.db", "/_abaco_results.d/database")
os.symlink("../../../../../abaco.db", "/_abaco_results.d/above")
os.mkfifo("/_abaco_results.d/pipe")
socket.socket(socket.AF_UNIX).bind("/_abaco_results.d/socket")
print("done", flush=True)
"""
    try:
        mine = server.register(
            PYTHON,
            default_environment={
                "SCRIPT": PRELUDE + script,
                "DATA": str(data),
                "PLACE": str(place),
            },
        )
        execution = server.send(mine, "x")
        done = server.until_final(mine, execution)
        log = server.logs(mine, execution)
        assert done["exit_code"] == 0, log
        assert log.count(" refused ") == 5 * 3 + 2, log
        assert " GOT " not in log
        assert list(server.results(mine, execution)) == []
        assert done["final_state"]["AbacoResultsRefused"] == 4
        assert list(server.results(actor, neighbour)) == []
        assert server.execution(actor, neighbour)["status"] == "RUNNING"
        assert (place / "message").read_bytes() == b"a secret message"
    finally:
        server.call("DELETE", f"/actors/{actor}")
    server.call("DELETE", f"/actors/{mine}")


def test_what_a_run_used_is_not_for_it_to_say(prison: tuple[Engine, Server]) -> None:
    _, server = prison
    script = """
import time
mounts = [line.split() for line in open("/proc/mounts")]
groups = [mount[1] for mount in mounts if mount[2] in ("cgroup", "cgroup2")]
block = bytearray(50_000_000)
begin = time.process_time()
while time.process_time() - begin < 1.0:
    sum(range(1000))
names = ("cpuacct.usage", "cpu.stat", "memory.max_usage_in_bytes", "memory.peak",
         "cgroup.procs", "tasks", "cgroup.kill", "memory.force_empty")
for directory in groups:
    for name in names:
        path = f"{directory}/{name}"
        try:
            write(path, "0")
        except OSError:
            continue
        print("GOT", path, flush=True)
print("done")
"""
    done, log = program(server, script)
    assert (done["exit_code"], log) == (0, "done\n")
    assert done["cpu"] > 900_000_000


def test_what_a_definition_asks_for_beyond_its_fields(prison: tuple[Engine, Server]) -> None:
    """Mounts, users, capabilities: no client has them to give."""
    _, server = prison
    wishes = {
        "mounts": [{"host_path": "/", "container_path": "/host", "mode": "rw"}],
        "uid": "0",
        "gid": "0",
        "tasdir": "/../../etc",
        "owner": "root",
        "tenant": "OTHER",
        "cap_add": ["SYS_ADMIN"],
        "security_opt": ["seccomp=unconfined"],
        "pid_mode": "host",
        "devices": ["/dev/mem"],
    }
    script = "ls /host 2>/dev/null; grep -c ' /host ' /proc/mounts; grep Seccomp: /proc/1/status"
    actor = server.register(SHELL, **wishes)
    shown = server.actor(actor)
    assert (shown["mounts"], shown["owner"]) == ([], "anonymous")
    execution = server.send(actor, script)
    server.until_final(actor, execution)
    assert server.logs(actor, execution) == "0\nSeccomp:\t2\n"
    for asked in ({"privileged": True}, {"network": "host"}):
        assert server.request("POST", "/actors", {"image": SHELL, **asked})[0] == 400
    server.call("DELETE", f"/actors/{actor}")
