"""A real HTTP server with answers laid out beforehand, for tests of clients."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

#: status, body, headers
Answer = tuple[int, bytes, dict[str, str]]


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    uri: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class StubApi:
    """Answers by method and URI; several answers to one are given in order, the last for ever."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    _answers: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)

    def answer(
        self, method: str, uri: str, result: Any, *, status: int = 200, **headers: str
    ) -> None:
        """Add an answer in the envelope of the API; for an error the result is its message."""
        envelope = {
            "message": result if status >= 400 else "fine",
            "status": "error" if status >= 400 else "success",
            "version": "test",
            "result": None if status >= 400 else result,
        }
        self.answer_raw(method, uri, json.dumps(envelope).encode(), status=status, **headers)

    def answer_raw(
        self, method: str, uri: str, body: bytes, *, status: int = 200, **headers: str
    ) -> None:
        """Add an answer without envelope; ``_`` in names of headers is ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers.setdefault((method, uri), []).append((status, body, named))

    def forget(self, method: str, uri: str) -> None:
        """Have no answer to this any more."""
        self._answers.pop((method, uri), None)

    def take(self, request: HTTPServerRequest) -> Answer:
        """Note the request and return its answer."""
        method, uri = str(request.method), str(request.uri)
        self.asked.append(Asked(method, uri, dict(request.headers.get_all()), request.body))
        answers = self._answers.get((method, uri))
        if not answers:
            text = {"message": f"no answer for {method} {uri}", "result": None}
            return 404, json.dumps(text).encode(), {}
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def sent(self, method: str) -> list[Asked]:
        """Return the requests of one method, in order."""
        return [asked for asked in self.asked if asked.method == method]


class _Handler(RequestHandler):
    def initialize(self, stub: StubApi) -> None:
        self.stub = stub

    def _give(self) -> None:
        status, body, headers = self.stub.take(self.request)
        self.set_status(status)
        for name, value in headers.items():
            self.set_header(name, value)
        self.finish(body)

    get = post = put = delete = _give  # type: ignore[assignment]


def _no_log(handler: RequestHandler) -> None:
    """Keep Tornado from logging the errors a test asked for."""


@contextmanager
def serve_stub(tls: ssl.SSLContext | None = None) -> Iterator[StubApi]:
    """Run a stub on a free port, in a thread with a loop of its own."""
    stub, ready = StubApi(), threading.Event()
    stop: list[Any] = []

    async def run() -> None:
        application = Application([(".*", _Handler, {"stub": stub})], log_function=_no_log)
        server = HTTPServer(application, ssl_options=tls)
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        stub.url = f"{'https' if tls else 'http'}://127.0.0.1:{sockets[0].getsockname()[1]}"
        done = asyncio.Event()
        stop.extend([asyncio.get_running_loop(), done])
        ready.set()
        await done.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="stub-api")
    thread.start()
    ready.wait()
    try:
        yield stub
    finally:
        loop, done = stop
        loop.call_soon_threadsafe(done.set)
        thread.join()
