"""The HTTP server: bounded in connections, and in how long a silent one is kept."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
from collections.abc import Iterable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application

_log = logging.getLogger(__name__)

#: seconds a connection may take to send a request's headers, and may idle between requests
IDLE_TIMEOUT_S = 60.0
#: seconds a body may take to arrive, however small
BODY_TIMEOUT_S = 60.0
#: a body so large that this rate needs longer is given the longer time
MIN_BODY_BYTES_PER_S = 64 * 1024

#: file descriptors left to store, engine and log
RESERVED_FILES = 256
#: connections allowed however few descriptors there are
MIN_CONNECTIONS = 64
#: connections allowed however many there are: each holds memory too, about 10 KB when idle
MAX_CONNECTIONS = 10_000

#: seconds between two lines in the log about refused connections
LOG_INTERVAL_S = 10.0


def raise_file_limit() -> int:
    """Raise the process's limit of open files as far as it may; return the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connection_limit(file_limit: int) -> int:
    """Return how many connections a process with this limit of open files can afford."""
    if file_limit == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(max(file_limit - RESERVED_FILES, MIN_CONNECTIONS), MAX_CONNECTIONS)


class RefusalLog:
    """Counts refused connections and says so, at most once in LOG_INTERVAL_S."""

    def __init__(self) -> None:
        self._count = 0
        self._quiet_until_s = float("-inf")

    def add(self, reason: str) -> None:
        """Count one. Called on the loop."""
        self._count += 1
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._quiet_until_s:
            _log.warning("%s; refused %d since the last such line", reason, self._count)
            self._count, self._quiet_until_s = 0, now_s + LOG_INTERVAL_S


class SparingSocket(socket.socket):
    """A listening socket that outlives a process without free file descriptors.

    A connection that cannot be accepted stays in the kernel's queue and makes the listener
    readable again at once, so the loop would spin. Here a spare descriptor is given up to
    accept it after all, and to close it.
    """

    def __init__(self, listener: socket.socket, refusals: RefusalLog) -> None:
        super().__init__(fileno=listener.detach())
        self.setblocking(False)
        self._refusals = refusals
        self._spare = self._take_spare()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; raises ConnectionAbortedError when it had to be dropped."""
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._refusals.add("no file descriptor is free for a connection")
            self._drop()
            raise ConnectionAbortedError from error

    def close(self) -> None:
        """Close the socket and the spare."""
        super().close()
        self._give_spare()

    def _drop(self) -> None:
        self._give_spare()
        try:
            connection, _ = super().accept()
            connection.close()
        finally:
            self._spare = self._take_spare()

    def _take_spare(self) -> int | None:
        try:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            return None

    def _give_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


class BoundedServer(HTTPServer):
    """Tornado's server with a limit of open connections; those above it are closed at once."""

    def initialize(  # type: ignore[override] # one argument more, by name
        self, *args: Any, max_connections: int, **kwargs: Any
    ) -> None:
        """Take the limit; Tornado builds its servers here and not in ``__init__``."""
        super().initialize(*args, **kwargs)
        self._max_connections = max_connections
        self._open_count = 0
        self._refusals = RefusalLog()

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Listen on these; the server takes them over."""
        super().add_sockets([SparingSocket(each, self._refusals) for each in sockets])

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        """Begin with a connection; who has hung up before that is no error of ours.

        With TLS Tornado lets such an end through to the loop, which logs it with all calls.
        """
        try:
            super()._handle_connection(connection, address)
        except OSError as error:
            connection.close()
            self._refusals.add(f"a connection ended before it began ({error.strerror or error})")

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Serve a new connection, or close it."""
        if self._open_count >= self._max_connections:
            stream.close()
            self._refusals.add(f"{self._open_count} connections are open, which is the limit")
            return
        self._open_count += 1
        super().handle_stream(stream, address)

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Serve connections from now on with another certificate; open ones keep theirs."""
        self.ssl_options = context

    def on_close(self, server_conn: object) -> None:
        """Count a connection out."""
        self._open_count -= 1
        super().on_close(server_conn)


def body_timeout_s(length_bytes: int) -> float:
    """Return how many seconds a body of this length may take to arrive."""
    return max(BODY_TIMEOUT_S, length_bytes / MIN_BODY_BYTES_PER_S)


def make_server(
    application: Application,
    *,
    file_limit: int,
    max_body_bytes: int,
    tls: ssl.SSLContext | None = None,
) -> BoundedServer:
    """Build the server.

    Args:
        application: What answers.
        file_limit: How many files the process may have open.
        max_body_bytes: Largest body that is held in memory; only sizes the time it may take.
        tls: Speak HTTPS, with this certificate; None for plain HTTP.

    """
    return BoundedServer(
        application,
        max_connections=connection_limit(file_limit),
        idle_connection_timeout=IDLE_TIMEOUT_S,
        body_timeout=body_timeout_s(max_body_bytes),
        ssl_options=tls,
    )
