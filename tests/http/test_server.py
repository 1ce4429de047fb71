"""Connections: how many, how long, and what becomes of those above the limit."""

import asyncio
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from handlers import server
from tests.http.site import TENANT, make_token

HALF = b"GET /health HTTP/1.1\r\nHost: h\r\n"
GET = HALF + b"\r\n"
POST = (
    f"POST /actors HTTP/1.1\r\nHost: h\r\nX-Jwt-Assertion-{TENANT}: {make_token('jane')}\r\n"
    "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n"
).encode()


#: longest a test waits for a socket
PATIENCE_S = 40


@pytest.fixture
def hasty(make_site, monkeypatch):
    """A server with little patience."""
    monkeypatch.setattr(server, "IDLE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(server, "BODY_TIMEOUT_S", 0.2)
    return make_site(max_body_length=10_000, sync_timeout=1)


class TestPatience:
    @pytest.mark.parametrize("start", [b"", b"GET", HALF, GET], ids=range(4))
    def test_a_silent_connection_is_closed(self, hasty, start):
        answer = hasty.run(hasty.raw(start, wait_s=30))
        assert answer.startswith(b"HTTP/1.1 200" if start == GET else b"")
        assert answer.count(b"HTTP/1.1 ") == (start == GET)

    @pytest.mark.parametrize("body", [b"", b'{"image": '])
    def test_a_body_that_does_not_come_is_not_waited_for(self, hasty, body):
        assert hasty.run(hasty.raw(POST + body, wait_s=30)) == b""
        assert hasty.get("/actors", user="jane").result == []

    def test_a_slow_body_within_the_time_is_taken(self, make_site, monkeypatch):
        monkeypatch.setattr(server, "IDLE_TIMEOUT_S", 0.2)
        monkeypatch.setattr(server, "BODY_TIMEOUT_S", 30)
        site = make_site()

        async def drip():
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(POST)
            for piece in (b'{"image": ', b'"busybox"}'):
                await asyncio.sleep(0.3)  # an idle connection is given up sooner
                writer.write(piece)
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return answer

        assert site.run(drip()).startswith(b"HTTP/1.1 200")

    def test_an_answer_may_take_longer_than_any_of_it(self, hasty):
        actor_id = hasty.register()
        path = f"/actors/{actor_id}/messages?_abaco_synchronous=true"
        began = time.monotonic()
        reply = hasty.post(path, json_body={"message": "m"})
        assert reply.status == 504
        assert time.monotonic() - began > 0.9


def test_those_above_the_limit_are_closed_and_told_of_once(make_site, monkeypatch, caplog):
    monkeypatch.setattr(server, "connection_limit", lambda _: 5)
    site = make_site()

    async def flood():
        # One by one, so that it is known which are above the limit.
        streams = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(5)]
        for reader, writer in streams:
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
        refused = [await site.raw() for _ in range(20)]
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()
        return refused

    assert site.run(flood()) == [b""] * 20
    assert site.get("/health", user=None).status == 200
    lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert lines == [
        "5 connections are open, which is the limit; refused 1 since the last such line"
    ]


@contextmanager
def a_small_process(files, log_path):
    """Run a server with so many file descriptors; yields its port and processor seconds."""
    used_s = []
    root = Path(__file__).parents[2]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.http.small", str(files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=root,
        )
    try:
        yield int(process.stdout.readline()), used_s
        rest, _ = process.communicate(timeout=60)
        used_s.append(float(rest))
    finally:
        process.kill()
        process.communicate()


def is_answered(port):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        return half_open(client, b"\r\n") and read(client).startswith(b"HTTP/1.1 200")


def half_open(client, rest=b""):
    """Send half a request, and the rest; tell whether the connection was still there."""
    try:
        client.sendall(HALF + rest)
    except ConnectionError:
        return False
    return True


def read(client):
    """Wait for bytes, or for the end."""
    try:
        return client.recv(100)
    except ConnectionError:
        return b""


@pytest.mark.parametrize(
    ("files", "reason"), [(360, b"is the limit"), (40, b"no file descriptor is free")]
)
def test_half_open_connections_do_not_take_a_small_server_away(tmp_path, files, reason):
    log_path = tmp_path / "log"
    with a_small_process(files, log_path) as (port, used_s), ExitStack() as stack:
        assert is_answered(port)
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
            for _ in range(files + 100)
        ]
        for client in clients:
            half_open(client)
        assert not is_answered(port)
        # We close none: the server gives up on each by itself.
        assert not any(read(client) for client in clients)
        assert all(is_answered(port) for _ in range(10))
    log = log_path.read_bytes()
    assert reason in log
    assert b"Traceback" not in log
    assert len(log) < 2_000, log[:2_000]
    # a loop that spins through the flood would use all there is
    assert used_s[0] < 2
