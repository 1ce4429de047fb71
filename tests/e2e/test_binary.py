"""Binary messages in, results out, over every real engine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from tests.support.engines import Engine
from tests.support.images import PYTHON_ACTOR
from tests.support.memory import Memory
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

PYTHON = "abaco_test_python"

#: begins a script that sends results
SEND = """
import os, socket, hashlib, stat, time
results = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
results.connect("/_abaco_results.sock")
"""

#: how the published library reads a message: without blocking, in odd pieces, until nothing comes
READ_AS_PUBLISHED = """
descriptor = os.open("/_abaco_binary_data", os.O_RDONLY | os.O_NONBLOCK)
data = b""
while True:
    try:
        piece = os.read(descriptor, 4069)
    except BlockingIOError:
        break
    if not piece:
        break
    data += piece
results.send(hashlib.sha256(data).hexdigest().encode())
"""


def run(server: Server, script: str, body: bytes, **actor: Any) -> tuple[dict[str, Any], str]:
    """Run a script with a binary message to its end; return the execution and the actor's id."""
    environment = {"SCRIPT": SEND + script}
    actor_id = server.register(PYTHON, default_environment=environment, **actor)
    execution = server.upload(actor_id, body)["execution_id"]
    done = server.until_final(actor_id, execution)
    assert done["exit_code"] == 0, server.logs(actor_id, execution)
    return done, actor_id


def files_of(server: Server) -> list[str]:
    """What is left of messages and attempts on the disk."""
    data = server.directory / "data"
    return [str(each) for name in ("blobs", "ipc") for each in (data / name).iterdir()]


def until_clean(server: Server) -> None:
    server.until(lambda: not files_of(server), "no file to be left")


@pytest.mark.parametrize("image", [PYTHON, "abaco_test_pyuser"])
def test_a_binary_message_arrives_whole(server: Server, image: str) -> None:
    script = """
data = open("/_abaco_binary_data", "rb").read()
results.send(hashlib.sha256(data).hexdigest().encode())
again = open("/_abaco_binary_data", "rb").read()
results.send(b"again" if again == data else b"changed")
results.send(oct(os.stat("/_abaco_binary_data").st_mode).encode())
try:
    open("/_abaco_binary_data", "ab").write(b"x")
except OSError as error:
    results.send(type(error).__name__.encode())
print("MSG" in os.environ, os.environ["_abaco_Content_Type"], os.environ.get("A"))
"""
    environment = {"SCRIPT": SEND + script, "MSG": "a default"}
    actor = server.register(image, default_environment=environment)
    body = os.urandom(3_000_001)
    answer = server.upload(actor, body, "?A=1&MSG=spoof")
    assert answer["msg"] == "binary - omitted"
    execution = answer["execution_id"]
    done = server.until_final(actor, execution)
    log = server.logs(actor, execution)
    assert done["exit_code"] == 0, log
    assert log == "False application/octet-stream 1\n"
    digest, again, mode, refusal = server.results(actor, execution)
    assert digest.decode() == hashlib.sha256(body).hexdigest()
    assert (again, mode) == (b"again", b"0o100444")
    assert refusal in {b"OSError", b"PermissionError"}
    until_clean(server)


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_as_the_published_library_reads_it(server: Server, size: int) -> None:
    body = os.urandom(size)
    done, actor = run(server, READ_AS_PUBLISHED, body)
    (digest,) = server.results(actor, done["id"])
    assert digest.decode() == hashlib.sha256(body).hexdigest()


def function(a: int, b: int, c: int) -> int:
    return a + b + c


def test_a_function_is_called_and_its_value_comes_back(server: Server) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    call = {"func": function, "args": [5, 7], "kwargs": {"c": 5}}
    actor = server.register(PYTHON_ACTOR)
    execution = server.upload(actor, cloudpickle.dumps(call))["execution_id"]
    done = server.until_final(actor, execution)
    assert done["exit_code"] == 0, server.logs(actor, execution)
    (value,) = server.results(actor, execution)
    assert cloudpickle.loads(value) == 17


def test_many_results_of_the_largest_size_come_in_order(server: Server) -> None:
    script = """
piece = os.urandom(131068)
print(hashlib.sha256(piece).hexdigest())
for number in range(300):
    results.send(number.to_bytes(4, "big") + piece)
"""
    done, actor = run(server, script, b"")
    digest = server.logs(actor, done["id"]).strip()
    count = 0
    for result in server.results(actor, done["id"]):
        assert int.from_bytes(result[:4], "big") == count
        assert hashlib.sha256(result[4:]).hexdigest() == digest
        count += 1
    assert count == 300
    until_clean(server)


def test_the_server_holds_no_large_message_in_memory(server: Server) -> None:
    script = """
digest = hashlib.sha256()
with open("/_abaco_binary_data", "rb") as message:
    while piece := message.read(1 << 20):
        digest.update(piece)
results.send(digest.hexdigest().encode())
"""
    run(server, script, b"x")  # brings in what is imported late
    memory = Memory(server.pid)
    body = os.urandom(1 << 20) * 96
    with memory.watched():
        done, actor = run(server, script, body)
    (digest,) = server.results(actor, done["id"])
    assert digest.decode() == hashlib.sha256(body).hexdigest()
    assert memory.grown_mb < 32
    until_clean(server)


def test_odd_results(server: Server) -> None:
    script = """
for result in (b"", b"first", bytes(range(256)), b""):
    results.send(result)
results.send(b"x" * 131072)
results.send(b"x" * 131073)
try:
    results.send(b"x" * 300000)
except OSError as error:
    print(error.strerror)
results.send(b"last")
"""
    done, actor = run(server, script, b"")
    first, every, largest, last = server.results(actor, done["id"])
    assert (first, every, last) == (b"first", bytes(range(256)), b"last")
    assert largest == b"x" * 131072
    log = server.logs(actor, done["id"])
    assert log.startswith("Message too long\n\nABACO: results refused: 1\nit has 131073 bytes")
    assert done["final_state"]["AbacoResultsRefused"] == 1


def test_results_can_be_read_while_the_program_runs(server: Server) -> None:
    environment = {"SCRIPT": SEND + 'results.send(b"early"); time.sleep(600)'}
    actor = server.register(PYTHON, default_environment=environment)
    execution = server.send(actor, "a text message has a socket too")
    assert server.until(lambda: list(server.results(actor, execution)), "a result") == [b"early"]
    server.until_status(actor, execution, "RUNNING")
    server.call("DELETE", f"/actors/{actor}/executions/{execution}")
    server.until_final(actor, execution)
    until_clean(server)


def test_a_synchronous_call_is_answered_with_the_first_result(server: Server) -> None:
    environment = {"SCRIPT": SEND + 'results.send(open("/_abaco_binary_data", "rb").read()[::-1])'}
    actor = server.register(PYTHON, default_environment=environment)
    answer = server.raw_upload(actor, b"abc", "?_abaco_synchronous=true")
    assert (answer.status, answer.data) == (200, b"cba")
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_two_actors_do_not_see_each_others_files(server: Server) -> None:
    script = """
print(sorted(name for name in os.listdir("/") if name.startswith("_abaco")))
mounts = open("/proc/self/mountinfo").read()
print(mounts.count("_abaco"))
"""
    done, actor = run(server, script, b"x")
    log = server.logs(actor, done["id"])
    assert "['_abaco_binary_data', '_abaco_results.sock']" in log
    assert "2\n" in log


@pytest.fixture
def piped(engine: Engine, tmp_path: Path) -> Iterator[Server]:
    settings = {**settings_for(engine), "runtime.binary_transport": "fifo"}
    with a_server(tmp_path, {**settings, "runtime.oversize_message": "file"}) as server:
        yield server


def test_a_message_as_a_pipe(piped: Server) -> None:
    server = piped
    script = 'print(stat.S_ISFIFO(os.stat("/_abaco_binary_data").st_mode))' + READ_AS_PUBLISHED
    body = os.urandom(500_000)
    done, actor = run(server, script, body)
    assert server.logs(actor, done["id"]) == "True\n"
    (digest,) = server.results(actor, done["id"])
    assert digest.decode() == hashlib.sha256(body).hexdigest()


def test_a_text_that_no_variable_can_hold(server: Server, engine: Engine, tmp_path: Path) -> None:
    text = "ünïcödé" * 30_000
    reject = server.register(PYTHON)
    path = f"/actors/{reject}/messages"
    assert server.request("POST", path, {"message": text})[0] == 400
    settings = {**settings_for(engine), "runtime.oversize_message": "file"}
    directory = tmp_path / "other"
    directory.mkdir()
    with a_server(directory, settings) as other:
        script = """
name = os.environ["_abaco_msg_file"]
print(repr(os.environ["MSG"]), os.environ["_abaco_Content_Type"])
results.send(hashlib.sha256(open(name, "rb").read()).hexdigest().encode())
"""
        actor = other.register(PYTHON, default_environment={"SCRIPT": SEND + script})
        execution = other.send(actor, text)
        assert other.until_final(actor, execution)["exit_code"] == 0
        assert other.logs(actor, execution) == "'' str\n"
        (digest,) = other.results(actor, execution)
        assert digest.decode() == hashlib.sha256(text.encode()).hexdigest()
        until_clean(other)


def test_files_become_results_when_the_program_has_ended(engine: Engine, tmp_path: Path) -> None:
    settings = {**settings_for(engine), "runtime.large_results": "true"}
    script = """
results.send(b"sent")
for name in ("b", "a"):
    with open(f"/_abaco_results.d/.{name}", "wb") as file:
        file.write(name.encode() * 5_000_000)
    os.rename(f"/_abaco_results.d/.{name}", f"/_abaco_results.d/{name}")
open("/_abaco_results.d/.unfinished", "w").write("x")
os.symlink("/etc/passwd", "/_abaco_results.d/link")
os.makedirs("/_abaco_results.d/directory/below")
"""
    with a_server(tmp_path, settings) as server:
        for image in (PYTHON, "abaco_test_pyuser"):
            actor = server.register(image, default_environment={"SCRIPT": SEND + script})
            execution = server.send(actor, "x")
            done = server.until_final(actor, execution)
            assert done["exit_code"] == 0, server.logs(actor, execution)
            found = list(server.results(actor, execution))
            assert found == [b"sent", b"a" * 5_000_000, b"b" * 5_000_000]
            assert done["final_state"]["AbacoResultsRefused"] == 2
            until_clean(server)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    yield disk
    # the engine may hold a container's copy of it a moment longer
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_container_that_fills_the_disk_of_its_results(
    engine: Engine, tmp_path: Path, small_disk: Path
) -> None:
    script = """
with open("/_abaco_results.d/large", "wb", buffering=0) as file:
    try:
        while True:
            file.write(b"x" * 65536)
    except OSError as error:
        print(error.strerror, flush=True)
time.sleep(1)
"""
    settings = {**settings_for(engine), "runtime.large_results": "true"}
    with a_server(tmp_path, {**settings, "runtime.large_results_dir": str(small_disk)}) as server:
        actor = server.register(
            PYTHON, default_environment={"SCRIPT": SEND + script}, max_workers=1
        )
        for _ in range(2):  # there is room again
            execution = server.send(actor, "x")
            server.until_status(actor, execution, "RUNNING", "COMPLETE")
            other = server.send(actor, "accepted, and recorded, all the same")
            for each in (execution, other):
                assert server.until_final(actor, each)["exit_code"] == 0
                assert server.logs(actor, each) == "No space left on device\n"
                (result,) = server.results(actor, each)
                assert 3_000_000 < len(result) <= 4 << 20
        until_clean(server)
        server.until(lambda: not list(small_disk.glob("*/*")), "an empty disk")


def test_uploads_do_not_hold_up_others(server: Server) -> None:
    actor = server.register("abaco_test_echo", max_workers=1)
    took_s = []
    body = os.urandom(20_000_000)
    for _ in range(3):
        server.upload(actor, body)
        began = time.monotonic()
        server.actor(actor)
        took_s.append(time.monotonic() - began)
    assert min(took_s) < 2.0
