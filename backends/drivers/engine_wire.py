"""Short calls to an engine: one request and its whole answer, with Tornado's HTTP/1 parser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream

from abaco.errors import DriverError

#: statuses from here on are refusals
ERROR_STATUS = 400

Query = Mapping[str, str | int | bool | Sequence[str]]


class EngineReplyError(DriverError):
    """The engine answered with an error status.

    Args:
        status: The HTTP status.
        text: The engine's own message.

    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the container engine answered {status}: {text}")
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer with a good status."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Parse the body.

        Raises:
            DriverError: It is no JSON.

        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise DriverError(f"the container engine answered no JSON: {self.body[:200]!r}") from (
                error
            )


def target(path: str, query: Query | None = None) -> str:
    """Build a request target; odd characters are escaped; a sequence repeats its name."""
    escaped = quote(path, safe="/:@")
    if not query:
        return escaped
    pairs = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
    }
    return f"{escaped}?{urlencode(pairs, doseq=True)}"


@dataclass(frozen=True, slots=True)
class Request:
    """A request; ``uri`` is escaped, ``body`` a JSON value or None."""

    method: str
    uri: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Answer(HTTPMessageDelegate):
    """The answer to a short call, gathered as Tornado's parser reports it."""

    def __init__(self) -> None:
        #: 0 until the head has come
        self.status = 0
        self.is_complete = False
        self.keeps_alive = True
        self._parts: list[bytes] = []

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        """Take the head, unless it is an informational one."""
        if isinstance(start_line, ResponseStartLine) and start_line.code >= 200:
            self.status = start_line.code
            self.keeps_alive = headers.get("Connection", "").lower() != "close"

    def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        self._parts.append(chunk)

    def finish(self) -> None:
        """Take the end."""
        self.is_complete = True

    def reply(self) -> Reply:
        """Return the whole answer. Raises EngineReplyError."""
        body = b"".join(self._parts)
        if self.status >= ERROR_STATUS:
            raise EngineReplyError(self.status, error_text(body))
        return Reply(self.status, body)


def send(stream: IOStream, request: Request, max_body_bytes: int) -> HTTP1Connection:
    """Write a request; the answer is to be read from the returned connection."""
    params = HTTP1ConnectionParameters(max_body_size=max_body_bytes)
    connection = HTTP1Connection(stream, is_client=True, params=params)
    data = b"" if request.body is None else json.dumps(request.body).encode()
    headers = HTTPHeaders({"Host": "engine", "Content-Length": str(len(data)), **request.headers})
    if data:
        headers["Content-Type"] = "application/json"
    line = RequestStartLine(request.method, request.uri, "HTTP/1.1")
    written = connection.write_headers(line, headers, data)
    # a failed write shows as a failed read as well, which is where it is reported
    written.add_done_callback(lambda future: future.cancelled() or future.exception())
    connection.finish()
    return connection


def error_text(body: bytes) -> str:
    """Take the engine's message out of an error answer."""
    try:
        answer = json.loads(body)
        return str(answer["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()
