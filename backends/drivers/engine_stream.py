"""Answers of an engine that come bit by bit.

Tornado's parser reads the head; the body is read here. Engines send every line of a log as a
chunk of its own, and the parser's cost for each (13 us of CPU, measured 2026-11) would be most of
what a log costs. Reading straight from the socket also means that nothing is read ahead of the
consumer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError

from abaco.errors import EngineUnavailableError
from backends.drivers.engine_wire import ERROR_STATUS, EngineReplyError, error_text

#: bytes taken from the socket at a time
_READ_BYTES = 64 * 1024
#: longest line in which a chunk's size is told
_MAX_SIZE_LINE = 1024


class Decoder(Protocol):
    """Takes a transfer coding off a body."""

    #: whether the body's own end has come
    is_complete: bool
    #: whether the connection's end is the body's end
    ends_with_connection: bool

    def feed(self, data: bytes) -> bytes:
        """Take what came over the socket, and return what there is of the body."""
        ...


class UntilClose:
    """A body that ends when the connection does."""

    is_complete = False
    ends_with_connection = True

    def feed(self, data: bytes) -> bytes:
        """Return it as it is."""
        return data


class FixedLength:
    """A body whose length was told in the head."""

    ends_with_connection = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_complete = length == 0

    def feed(self, data: bytes) -> bytes:
        """Return it as it is, up to the length."""
        part = data[: self._left]
        self._left -= len(part)
        self.is_complete = self._left == 0
        return part


class Chunked:
    """A body in chunks. Source: RFC 9112, section 7.1; extensions and trailers are ignored."""

    ends_with_connection = False

    def __init__(self) -> None:
        self.is_complete = False
        self._left = 0
        #: bytes of the line end after a chunk that are still to come
        self._skip = 0
        self._size_line = b""

    def feed(self, data: bytes) -> bytes:
        """Return the chunks' contents."""
        parts: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.is_complete:
            if self._left:
                part = data[at : at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                self._skip = 2
            elif self._skip:
                at += 1
                self._skip -= 1
            else:
                at = self._read_size(data, at)
        return b"".join(parts)

    def _read_size(self, data: bytes, at: int) -> int:
        """Read a line with a size, or as much of it as there is; returns where to go on."""
        line_end = data.find(b"\n", at)
        if line_end < 0:
            self._size_line += data[at:]
            if len(self._size_line) > _MAX_SIZE_LINE:
                raise ValueError("no end of the line with a chunk's size")
            return len(data)
        self._left = int((self._size_line + data[at:line_end]).split(b";")[0], 16)
        self._size_line = b""
        self.is_complete = self._left == 0
        return line_end + 1


def decoder_for(status: int, headers: HTTPHeaders) -> Decoder:
    """Choose by the head of an answer."""
    if status in (204, 304):
        return FixedLength(0)
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return Chunked()
    if "Content-Length" in headers:
        return FixedLength(int(headers["Content-Length"]))
    return UntilClose()


class _Head(HTTPMessageDelegate):
    """Takes the head of an answer, and the socket away from the parser."""

    def __init__(self, connection: HTTP1Connection) -> None:
        self._connection = connection
        self.status = 0
        self.decoder: Decoder = UntilClose()

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        if isinstance(start_line, ResponseStartLine) and start_line.code >= 200:
            self.status = start_line.code
            self.decoder = decoder_for(self.status, headers)
            self._connection.detach()


class Stream:
    """An answer whose body is read as it comes. One consumer, one pass."""

    def __init__(self, endpoint: str, socket: IOStream, connection: HTTP1Connection) -> None:
        self._endpoint = endpoint
        self._socket = socket
        self._connection = connection
        self._head = _Head(connection)
        self._was_opened = False
        self._was_ended = False

    async def open(self) -> None:
        """Read the head, unless that has been done.

        Raises:
            EngineReplyError: The status is 400 or more.
            EngineUnavailableError: The engine hung up.

        """
        if not self._was_opened:
            self._was_opened = True
            await self._read_head()

    async def _read_head(self) -> None:
        cause: StreamClosedError | None = None
        try:
            await self._connection.read_response(self._head)
        except StreamClosedError as error:
            cause = error
        status = self._head.status
        if self._was_ended:
            return
        if not status:
            raise EngineUnavailableError(f"{self._endpoint} hung up") from cause
        if status >= ERROR_STATUS:
            body = b"".join([chunk async for chunk in self._body()])
            raise EngineReplyError(status, error_text(body))

    def end(self) -> None:
        """Make the consumer's iteration end now; what has not been read is dropped."""
        self._was_ended = True
        self._socket.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it comes.

        Raises:
            EngineReplyError: The status is 400 or more.
            EngineUnavailableError: The engine hung up before the end.

        """
        await self.open()
        async for chunk in self._body():
            yield chunk

    async def _body(self) -> AsyncIterator[bytes]:
        decoder = self._head.decoder
        try:
            while not self._was_ended and not decoder.is_complete:
                data = await self._socket.read_bytes(_READ_BYTES, partial=True)
                if chunk := decoder.feed(data):
                    yield chunk
                # what is there already is read without waiting; let others have their turn
                await asyncio.sleep(0)
        except StreamClosedError as error:
            if not self._was_ended and not decoder.ends_with_connection:
                raise EngineUnavailableError(f"{self._endpoint} hung up in mid-stream") from error
        except ValueError as error:
            raise EngineUnavailableError(f"{self._endpoint} does not speak HTTP: {error}") from (
                error
            )

    async def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join([chunk async for chunk in self])

    async def lines(self) -> AsyncIterator[bytes]:
        """Iterate over the body's lines as they come, without their ends; none is empty."""
        rest = b""
        async for chunk in self:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in filter(None, (item.strip() for item in whole)):
                yield line
        if rest := rest.strip():
            yield rest
