"""The HTTP client, against a real server on a unix socket and against rude ones."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

import pytest
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import Application, RequestHandler

from abaco.errors import EngineTimeoutError, EngineUnavailableError
from backends.drivers import engine_http as module
from backends.drivers.engine_http import MAX_IDLE, EngineHttp
from backends.drivers.engine_wire import EngineReplyError


class World:
    """What the server has seen."""

    def __init__(self) -> None:
        self.connections: set[int] = set()
        self.requests: list[str] = []
        self.sent_bytes = 0
        self.hung_up = asyncio.Event()
        self.gate = asyncio.Event()


class Base(RequestHandler):
    def initialize(self, world: World) -> None:
        self.world = world

    def prepare(self) -> None:
        self.world.connections.add(id(self.request.connection.stream))  # type: ignore[union-attr]
        self.world.requests.append(f"{self.request.method} {self.request.uri}")


class Echo(Base):
    def get(self) -> None:
        self.finish({"query": self.request.query})

    def post(self) -> None:
        self.finish(
            {"type": self.request.headers.get("Content-Type"), "body": self.request.body.decode()}
        )

    def delete(self) -> None:
        self.set_status(204)


class Refuse(Base):
    def get(self) -> None:
        self.set_status(404)
        self.finish({"message": "no such thing"})


class Slow(Base):
    async def get(self) -> None:
        await self.world.gate.wait()
        self.finish({})

    post = get


class Lines(Base):
    async def get(self) -> None:
        for number in range(5):
            self.write(f"line {number}\n")
            await self.flush()
            await asyncio.sleep(0.02)
        self.finish("\nlast")


class Flood(Base):
    async def get(self) -> None:
        try:
            while True:
                self.write(b"x" * 65536)
                await self.flush()
                self.world.sent_bytes += 65536
        except StreamClosedError:
            self.world.hung_up.set()


class CloseAfter(Base):
    def get(self) -> None:
        self.set_header("Connection", "close")
        self.finish({})


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
async def http(world: World, tmp_path: Path) -> AsyncIterator[EngineHttp]:
    routes = [
        ("/echo", Echo),
        ("/refuse", Refuse),
        ("/slow", Slow),
        ("/lines", Lines),
        ("/flood", Flood),
        ("/close", CloseAfter),
    ]
    application = Application(
        [(path, handler, {"world": world}) for path, handler in routes],
        log_function=lambda handler: None,
    )
    server = HTTPServer(application)
    server.add_socket(bind_unix_socket(str(tmp_path / "s")))
    client = EngineHttp(f"unix://{tmp_path}/s", timeout_s=5)
    yield client
    client.close()
    server.stop()
    world.gate.set()
    await server.close_all_connections()


@asynccontextmanager
async def rude_server(
    path: Path, behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[EngineHttp]:
    """Serve connections by hand."""

    serving: set[asyncio.Future[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        serving.add(done)
        await behave(reader, writer)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        done.set_result(None)

    async with await asyncio.start_unix_server(serve, str(path)):
        client = EngineHttp(f"unix://{path}", timeout_s=1)
        yield client
        client.close()
        await asyncio.gather(*serving)


async def test_calls_carry_query_and_body(http: EngineHttp) -> None:
    reply = await http.call("GET", "/echo", query={"a": "b c", "n": 1, "yes": True})
    assert reply.json() == {"query": "a=b+c&n=1&yes=true"}
    reply = await http.call("POST", "/echo", body={"text": "gr\u00fc\udcff"})
    answer = reply.json()
    assert answer["type"] == "application/json"
    assert json.loads(answer["body"]) == {"text": "gr\u00fc\udcff"}
    assert (await http.call("POST", "/echo")).json()["body"] == ""
    assert (await http.call("DELETE", "/echo")).status == 204


async def test_calls_in_a_row_share_one_connection(http: EngineHttp, world: World) -> None:
    for _ in range(20):
        await http.call("GET", "/echo")
        await http.call("DELETE", "/echo")
    assert len(world.connections) == 1


async def test_refusal_is_an_error_and_keeps_the_connection(http: EngineHttp, world: World) -> None:
    for _ in range(3):
        with pytest.raises(EngineReplyError, match="no such thing") as caught:
            await http.call("GET", "/refuse")
        assert caught.value.status == 404
    assert len(world.connections) == 1


async def test_calls_at_once_are_bounded_and_few_connections_are_kept(
    http: EngineHttp, world: World
) -> None:
    world.gate.set()
    await asyncio.gather(*(http.call("GET", "/slow") for _ in range(200)))
    assert len(world.requests) == 200
    assert len(http._idle) <= MAX_IDLE


async def test_connection_the_server_closes_is_not_used_again(
    http: EngineHttp, world: World
) -> None:
    for _ in range(3):
        assert (await http.call("GET", "/close")).status == 200
    assert len(world.requests) == 3


async def test_late_answer_times_out_and_takes_its_connection_along(
    http: EngineHttp, world: World
) -> None:
    with pytest.raises(EngineTimeoutError, match=r"/slow within 0\.1 s"):
        await http.call("GET", "/slow", timeout_s=0.1)
    world.gate.set()
    assert (await http.call("GET", "/echo", query={"x": 1})).json() == {"query": "x=1"}


async def test_cancelled_call_takes_its_connection_along(http: EngineHttp, world: World) -> None:
    await http.call("GET", "/echo")
    call = asyncio.ensure_future(http.call("GET", "/slow"))
    await asyncio.sleep(0.05)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    world.gate.set()
    assert (await http.call("GET", "/echo", query={"x": 2})).json() == {"query": "x=2"}


async def test_stream_comes_bit_by_bit(http: EngineHttp) -> None:
    loop = asyncio.get_running_loop()
    times = []
    async with http.stream("GET", "/lines") as stream:
        lines = []
        async for line in stream.lines():
            lines.append(line)
            times.append(loop.time())
    assert lines == [b"line 0", b"line 1", b"line 2", b"line 3", b"line 4", b"last"]
    assert times[-1] - times[0] > 0.05


async def test_stream_reads_no_faster_than_its_consumer(http: EngineHttp, world: World) -> None:
    async with http.stream("GET", "/flood") as stream:
        chunks = aiter(stream)
        await anext(chunks)
        await asyncio.sleep(0.2)
        assert world.sent_bytes < 2_000_000
        await chunks.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(30):
        await world.hung_up.wait()


async def test_left_stream_closes_its_connection(http: EngineHttp, world: World) -> None:
    async def consume() -> None:
        async with http.stream("GET", "/flood") as stream:
            async for _ in stream:
                await asyncio.sleep(0.001)

    consuming = asyncio.ensure_future(consume())
    await asyncio.sleep(0.1)
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    async with asyncio.timeout(30):
        await world.hung_up.wait()


async def test_ended_stream_ends_quietly(http: EngineHttp) -> None:
    async with http.stream("GET", "/slow", answers_late=True) as stream:
        asyncio.get_running_loop().call_later(0.05, stream.end)
        assert await stream.read() == b""
    async with http.stream("GET", "/flood") as stream:
        asyncio.get_running_loop().call_later(0.05, stream.end)
        assert set(await stream.read()) == {ord("x")}
    async with http.stream("GET", "/lines", answers_late=True) as stream:
        stream.end()
        assert await stream.read() == b""


async def test_refused_stream_raises_where_its_head_is_read(http: EngineHttp) -> None:
    with pytest.raises(EngineReplyError, match="no such thing"):
        async with http.stream("GET", "/refuse"):
            pass
    async with http.stream("GET", "/refuse", answers_late=True) as stream:
        with pytest.raises(EngineReplyError, match="no such thing"):
            await stream.read()


async def test_consumers_own_timeout_stays_its_own(http: EngineHttp) -> None:
    with pytest.raises(TimeoutError):
        async with http.stream("GET", "/slow", answers_late=True) as stream, asyncio.timeout(0.05):
            await stream.read()


async def test_stale_connection_is_replaced_for_repeatable_calls_only(tmp_path: Path) -> None:
    served = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        # the next request on this connection is read, and never answered
        if await reader.read(1):
            served.append(b"lost")

    async with rude_server(tmp_path / "s", once) as http:
        assert (await http.call("GET", "/a")).status == 200
        assert (await http.call("GET", "/b")).status == 200
        with pytest.raises(EngineUnavailableError):
            await http.call("POST", "/c")
        assert (await http.call("POST", "/d")).status == 200
    assert [item.split()[1] for item in served if item != b"lost"] == [b"/a", b"/b", b"/d"]


async def test_idle_connection_the_engine_hung_up_is_forgotten(tmp_path: Path) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with rude_server(tmp_path / "s", once) as http:
        for _ in range(3):
            assert (await http.call("POST", "/a")).status == 200
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
)
async def test_half_an_answer_is_an_unavailable_engine(tmp_path: Path, answer: bytes) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with rude_server(tmp_path / "s", half) as http:
        with pytest.raises(EngineUnavailableError):
            await http.call("GET", "/x")
        with pytest.raises(EngineUnavailableError):
            async with http.stream("GET", "/x") as stream:
                await stream.read()


async def test_body_until_close_is_whole(tmp_path: Path) -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        await writer.drain()

    async with rude_server(tmp_path / "s", old) as http:
        async with http.stream("POST", "/x") as stream:
            assert await stream.read() == b"until the end"
        assert (await http.call("GET", "/x")).body == b"until the end"


async def test_nobody_there(tmp_path: Path) -> None:
    http = EngineHttp(f"unix://{tmp_path}/none", timeout_s=1)
    with pytest.raises(EngineUnavailableError, match="cannot connect"):
        await http.call("GET", "/x")
    with pytest.raises(EngineUnavailableError, match="cannot connect"):
        async with http.stream("GET", "/x"):
            pass


async def test_tcp_endpoint(world: World) -> None:
    [listener] = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(
        Application([("/echo", Echo, {"world": world})], log_function=lambda h: None)
    )
    server.add_socket(listener)
    http = EngineHttp(f"tcp://127.0.0.1:{listener.getsockname()[1]}", timeout_s=2)
    assert (await http.call("GET", "/echo")).status == 200
    http.close()
    server.stop()
    await server.close_all_connections()


#: listens, says where, and never answers
_SILENT = """
import socket, time
listener = socket.create_server(("", 0))
print(listener.getsockname()[1], flush=True)
connection = listener.accept()[0]
print("there", flush=True)
time.sleep(60)
"""


@contextmanager
def silent_host() -> Iterator[tuple[str, str, IO[str]]]:
    """Make a network with another host; yields its name, its endpoint and what it says here."""
    name = f"ab{secrets.token_hex(4)}"
    net = f"10.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}"
    commands = (
        f"netns add {name}",
        f"link add {name} type veth peer name e0 netns {name}",
        f"address add {net}.1/24 dev {name}",
        f"link set {name} up",
        f"-n {name} address add {net}.2/24 dev e0",
        f"-n {name} link set e0 up",
    )
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        program = ["ip", "netns", "exec", name, sys.executable, "-c", _SILENT]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as silent:
            assert silent.stdout is not None
            try:
                yield name, f"tcp://{net}.2:{silent.stdout.readline().strip()}", silent.stdout
            finally:
                silent.kill()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="another network needs root")
async def test_host_that_goes_without_a_word_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEPALIVE", dict.fromkeys(module.KEEPALIVE, 1))
    with silent_host() as (name, endpoint, says):
        http = EngineHttp(endpoint, timeout_s=5)
        async with http.stream("POST", "/wait", answers_late=True) as stream:
            assert await asyncio.to_thread(says.readline) == "there\n"
            down = ["ip", "-n", name, "link", "set", "e0", "down"]
            await asyncio.to_thread(subprocess.run, down, check=True)
            async with asyncio.timeout(20):
                with pytest.raises(EngineUnavailableError, match="hung up"):
                    await stream.read()
