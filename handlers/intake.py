"""Bodies in, bounded: nothing above the limit is ever held in memory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)

#: Bytes above the limit that are read and dropped before the connection is cut. A client that
#: writes on while we close gets a reset, which takes the answer away from it; so most get a
#: chance to finish.
DRAIN_BYTES = 16 * 1024 * 1024


class BoundedIntake(HTTPMessageDelegate):
    """Passes a request's body on until it passes the limit, then answers in its place.

    Args:
        delegate: Who handles the request.
        refuse: Makes the delegate that answers a body above the limit.
        limit_bytes: Largest body that is passed on.

    """

    def __init__(
        self,
        request: HTTPServerRequest,
        delegate: HTTPMessageDelegate,
        refuse: Callable[[], HTTPMessageDelegate],
        limit_bytes: int,
    ) -> None:
        self._request = request
        self._delegate = delegate
        self._refuse = refuse
        self._limit_bytes = limit_bytes
        self._received_bytes = 0
        self._is_refused = False
        self._is_answered = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Answer at once when the announced length cannot be drained, or need not be."""
        if isinstance(self._request.connection, HTTP1Connection):
            # Tornado's own limit answers without an envelope; the one here is stricter.
            self._request.connection.set_max_body_size(sys.maxsize)
        length = announced_length(headers)
        if length > self._limit_bytes:
            # What no integer holds, Tornado would call malformed after our answer.
            headers["Content-Length"] = str(length)
            self._switch(start_line, headers)
            waits = headers.get("Expect", "").lower() == "100-continue"
            if waits or length > self._limit_bytes + DRAIN_BYTES:
                return self._answer()
            return None
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Pass a piece on, or drop it."""
        self._received_bytes += len(chunk)
        if not self._is_refused:
            if self._received_bytes <= self._limit_bytes:
                return self._delegate.data_received(chunk)
            self._delegate.on_connection_close()
            self._switch(self._start_line(), self._request.headers)
        if self._received_bytes > self._limit_bytes + DRAIN_BYTES:
            return self._answer()
        return None

    def finish(self) -> None:
        """Let the request be handled, or refused."""
        if not self._is_answered:
            self._is_answered = True
            self._delegate.finish()

    def on_connection_close(self) -> None:
        """Tell whoever handles the request that the client has gone."""
        self._delegate.on_connection_close()

    def _start_line(self) -> RequestStartLine:
        request = self._request
        return RequestStartLine(request.method or "", request.uri or "", request.version)

    def _switch(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        self._is_refused = True
        self._delegate = self._refuse()
        self._delegate.headers_received(start_line, headers)

    def _answer(self) -> Awaitable[None]:
        if not self._is_answered:
            self._is_answered = True
            self._delegate.finish()
        # The handler answers in its first step; only then does Tornado see that it must not
        # ask for the body.
        return asyncio.sleep(0)


def announced_length(headers: HTTPHeaders) -> int:
    """Return the announced length, at most sys.maxsize; 0 for what is no length at all."""
    announced = headers.get("Content-Length", "")
    if not (announced.isascii() and announced.isdigit()):
        return 0
    digits = announced.lstrip("0") or "0"
    # Python refuses to convert thousands of digits.
    return sys.maxsize if len(digits) > len(str(sys.maxsize)) else min(int(digits), sys.maxsize)
