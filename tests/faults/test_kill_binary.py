"""The server is killed around binary messages and results; nothing is lost, nothing is left."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.test_binary import PYTHON, SEND, files_of, until_clean
from tests.support.engines import Engine
from tests.support.server import Server, a_server
from tests.support.serving import settings_for


def begin_upload(server: Server, actor: str, size: int, sent: int) -> socket.socket:
    """Open a connection and send part of a binary message."""
    parts = urlsplit(server.url)
    connection = socket.create_connection((parts.hostname, parts.port))
    head = (
        f"POST /actors/{actor}/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    )
    connection.sendall(head.encode() + b"x" * sent)
    return connection


def test_killed_in_mid_upload(server: Server) -> None:
    actor = server.register("abaco_test_echo")
    server.ready(actor)
    connection = begin_upload(server, actor, 10_000_000, 5_000_000)
    server.until(lambda: files_of(server), "the upload to begin")
    server.kill()
    connection.close()
    assert any(name.endswith(".part") for name in files_of(server))
    server.start()
    assert files_of(server) == []
    assert server.executions(actor) == []


def test_killed_between_blob_and_message(server: Server) -> None:
    actor = server.register("abaco_test_echo")
    server.ready(actor)
    server.kill()
    # what such a death leaves: a whole blob under a name that no message has
    blobs = server.directory / "data" / "blobs"
    (blobs / "aBcDeFgHiJkLm").write_bytes(b"whole")
    server.start()
    until_clean(server)
    assert server.executions(actor) == []


def test_killed_with_a_binary_message_waiting(server: Server) -> None:
    script = SEND + 'results.send(open("/_abaco_binary_data", "rb").read())'
    actor = server.register(PYTHON, stateless=False, default_environment={"SCRIPT": script})
    nap = server.register("abaco_test_sleeper", stateless=False)
    server.ready(actor)
    first = server.send(nap, "2")
    body = os.urandom(100_000)
    execution = server.upload(actor, body)["execution_id"]
    server.kill()
    server.start()
    done = server.until_final(actor, execution)
    assert done["status"] == "COMPLETE", done
    server.until_final(nap, first)
    if not done["final_state"].get("AbacoResultsLost"):
        (result,) = server.results(actor, execution)
        assert result == body
    until_clean(server)


def test_killed_in_mid_run(server: Server, engine: Engine) -> None:
    script = """
results.send(b"before")
print("begun", flush=True)
time.sleep(6)
print(hashlib.sha256(open("/_abaco_binary_data", "rb").read()).hexdigest())
try:
    results.send(b"after")
except OSError as error:
    print(type(error).__name__)
"""
    actor = server.register(PYTHON, default_environment={"SCRIPT": SEND + script})
    body = os.urandom(1_000_000)
    execution = server.upload(actor, body)["execution_id"]
    server.until(lambda: "begun" in server.logs(actor, execution), "the program to begin")
    assert server.until(lambda: list(server.results(actor, execution)), "a result") == [b"before"]
    server.kill()
    server.start()
    done = server.until_final(actor, execution)
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 0), done
    assert done["final_state"]["AbacoResultsLost"] is True
    log = server.logs(actor, execution)
    assert log == f"begun\n{hashlib.sha256(body).hexdigest()}\nConnectionRefusedError\n"
    until_clean(server)
    server.until(lambda: not engine.containers(), "the container to be removed")


def test_a_client_that_aborts_leaves_nothing(server: Server) -> None:
    actor = server.register("abaco_test_echo")
    connection = begin_upload(server, actor, 10_000_000, 5_000_000)
    server.until(lambda: files_of(server), "the upload to begin")
    connection.close()
    until_clean(server)
    assert server.executions(actor) == []


def test_stopped_in_mid_upload(server: Server) -> None:
    actor = server.register("abaco_test_echo")
    server.ready(actor)
    connection = begin_upload(server, actor, 10_000_000, 1_000_000)
    server.until(lambda: files_of(server), "the upload to begin")
    code, seconds = server.stop()
    connection.close()
    assert code == 0
    assert seconds < 20  # the client sends no more for longer
    assert files_of(server) == []
    server.start()
    assert files_of(server) == []


def test_files_left_as_results_survive_the_server(engine: Engine, tmp_path: Path) -> None:
    script = """
results.send(b"sent")
open("/_abaco_results.d/a", "wb").write(b"left")
os.symlink("a", "/_abaco_results.d/b")
print("begun", flush=True)
time.sleep(12)
open("/_abaco_results.d/c", "wb").write(b"left later")
"""
    settings = {**settings_for(engine), "runtime.large_results": "true"}
    with a_server(tmp_path, settings) as server:
        actor = server.register(PYTHON, default_environment={"SCRIPT": SEND + script})
        execution = server.send(actor, "x")
        server.until(lambda: "begun" in server.logs(actor, execution), "the program to begin")
        server.until(lambda: list(server.results(actor, execution)) == [b"sent"], "a result")
        server.kill()
        (container,) = [one["Id"] for one in engine.containers()]
        server.until(
            lambda: engine.inspect(container)["State"]["Status"] == "exited",
            "the program to end, and nobody looks",
        )
        server.start()
        done = server.until_final(actor, execution)
        assert (done["status"], done["exit_code"]) == ("COMPLETE", 0), done
        assert list(server.results(actor, execution)) == [b"left", b"left later"]
        assert server.logs(actor, execution).count("file 'b': it is no plain file") == 1
        until_clean(server)
