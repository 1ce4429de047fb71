"""HTTP to a container engine's socket, asynchronously, over kept-alive connections.

Tornado's stock client closes the connection after every request; here its stream and its HTTP/1
parser are used directly. Short calls share a bounded pool of connections. A stream has a
connection of its own, which is closed when the stream is left, however that happens.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

from abaco.errors import ConfigError, EngineTimeoutError, EngineUnavailableError
from backends.drivers.engine_meter import engine_call
from backends.drivers.engine_stream import Stream
from backends.drivers.engine_wire import Answer, Query, Reply, Request, send, target

#: calls with a connection each at one time; more wait their turn
MAX_CALLS = 64
#: connections kept open between calls
MAX_IDLE = 16
#: largest body of a short call; a stream has no bound
MAX_REPLY_BYTES = 64 * 1024 * 1024
#: Seconds of silence, and between tries, and how many fail, before an engine's host is gone; a
#: call that waits for the end of a container is silent for as long as that runs
KEEPALIVE = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
#: methods that may be sent twice
REPEATABLE = frozenset({"GET", "HEAD", "DELETE"})


class EngineHttp:
    """Client of one engine.

    Args:
        endpoint: ``unix:///path/to/socket`` or ``tcp://host:port``.
        timeout_s: Seconds for connecting, for a short call, and for the head of a stream.

    """

    def __init__(self, endpoint: str, *, timeout_s: float) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme == "unix" and (path := parts.netloc + parts.path):
            # unix://var/run/x is a common slip for unix:///var/run/x
            self.socket_path: str | None = path if path.startswith("/") else f"/{path}"
        elif parts.scheme in ("tcp", "http") and parts.hostname and parts.port:
            self.socket_path = None
        else:
            raise ConfigError(
                f"engine endpoint {endpoint!r} is neither unix:///path nor tcp://host:port"
            )
        self.endpoint = endpoint
        self._address = (parts.hostname or "", parts.port or 0) if not self.socket_path else None
        self._timeout_s = timeout_s
        self._idle: list[IOStream] = []
        self._turns = asyncio.Semaphore(MAX_CALLS)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """Make a short call and return the whole answer.

        A kept connection that turns out dead before a byte of the answer came is replaced
        once, when repeating the method does no harm.

        Args:
            method: HTTP method.
            path: Path, not escaped.
            query: Parameters.
            body: JSON value to send.
            timeout_s: Seconds instead of the client's own.

        Raises:
            EngineReplyError: The status is 400 or more.
            EngineUnavailableError: No connection, or it broke.
            EngineTimeoutError: No complete answer in time.

        """
        with engine_call(method, path):
            return await self._call(Request(method, target(path, query), body), path, timeout_s)

    async def _call(self, request: Request, path: str, timeout_s: float | None) -> Reply:
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s), self._turns:
                if self._idle:
                    reply = await self._try_idle(request)
                    if reply is not None:
                        return reply
                return await self._exchange(await self._connect(), request, Answer())
        except TimeoutError as error:
            raise EngineTimeoutError(
                f"{self.endpoint} did not answer {request.method} {path} within {limit_s:g} s"
            ) from error

    async def _try_idle(self, request: Request) -> Reply | None:
        """Use a kept connection; None when it was stale and the call may be repeated."""
        answer = Answer()
        try:
            return await self._exchange(self._idle.pop(), request, answer)
        except EngineUnavailableError:
            if answer.status or request.method not in REPEATABLE:
                raise
            return None

    async def _exchange(self, stream: IOStream, request: Request, answer: Answer) -> Reply:
        """Send a request, read its answer, and keep the connection if it is clean."""
        try:
            await send(stream, request, MAX_REPLY_BYTES).read_response(answer)
            if not answer.is_complete:
                raise EngineUnavailableError(f"{self.endpoint} hung up")
        except StreamClosedError as error:
            raise EngineUnavailableError(f"{self.endpoint} hung up: {error}") from error
        finally:
            is_clean = answer.is_complete and answer.keeps_alive and not stream.closed()
            if is_clean and len(self._idle) < MAX_IDLE:
                self._keep(stream)
            else:
                stream.close()
        return answer.reply()

    def _keep(self, stream: IOStream) -> None:
        def forget() -> None:
            if stream in self._idle:
                self._idle.remove(stream)

        # with a callback set, the stream watches for the engine's hang-up while it is idle
        stream.set_close_callback(forget)
        self._idle.append(stream)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        answers_late: bool = False,
    ) -> AsyncIterator[Stream]:
        """Make a call whose answer is read while it comes, on a connection of its own.

        Args:
            method: HTTP method.
            path: Path, not escaped.
            query: Parameters.
            body: JSON value to send.
            headers: More of them; they are in no error.
            answers_late: The head of the answer may take as long as it likes; it is not waited
                for here, so a refusal shows when the body is read.

        Raises:
            EngineReplyError: The status is 400 or more.
            EngineUnavailableError: No connection, or it broke (also while reading).
            EngineTimeoutError: The head of the answer did not come in time.

        """
        socket_: IOStream | None = None
        try:
            try:
                with engine_call(method, path):
                    async with asyncio.timeout(self._timeout_s):
                        socket_ = await self._connect()
                        request = Request(method, target(path, query), body, headers or {})
                        connection = send(socket_, request, MAX_REPLY_BYTES)
                        stream = Stream(self.endpoint, socket_, connection)
                        if not answers_late:
                            await stream.open()
            except TimeoutError as error:
                raise EngineTimeoutError(
                    f"{self.endpoint} did not answer {method} {path} within {self._timeout_s:g} s"
                ) from error
            yield stream
        finally:
            if socket_ is not None:
                socket_.close()

    async def _connect(self) -> IOStream:
        try:
            if self._address is not None:
                return _kept_alive(await TCPClient().connect(*self._address))
            stream = IOStream(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            try:
                return await stream.connect(self.socket_path)
            except BaseException:
                stream.close()
                raise
        except (StreamClosedError, OSError) as error:
            cause = getattr(error, "real_error", None) or error
            reason = getattr(cause, "strerror", None) or cause
            raise EngineUnavailableError(
                f"cannot connect to the container engine at {self.endpoint}: {reason}"
            ) from error

    def is_there(self) -> bool:
        """Whether the endpoint's socket exists, so that silence is worth a warning."""
        return self.socket_path is None or Path(self.socket_path).exists()

    def close(self) -> None:
        """Close the kept connections; calls in flight go on."""
        while self._idle:
            self._idle.pop().close()


def _kept_alive(stream: IOStream) -> IOStream:
    """Have the kernel notice when the other host goes without a word."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        stream.socket.setsockopt(socket.IPPROTO_TCP, option, value)
    return stream
