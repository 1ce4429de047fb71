"""A real receiver of webhooks, on a thread of its own, that answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Receiver:
    """Answers each request with the next status; the last one for ever.

    Attributes:
        pause_s: Seconds it waits before it answers.
        headers: Go with every answer.

    """

    def __init__(
        self, statuses: Sequence[int] = (200,), *, pause_s: float = 0.0, port: int = 0
    ) -> None:
        self._statuses = list(statuses)
        self.pause_s = pause_s
        self.headers: dict[str, str] = {}
        self.received: list[Received] = []
        self._changed = threading.Condition()
        self.server = _Server(("127.0.0.1", port), self._make_handler())
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.note(self.path, dict(self.headers), body)
                time.sleep(receiver.pause_s)
                try:
                    self.send_response(status)
                    for name, value in receiver.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")
                except OSError:
                    self.close_connection = True  # the sender has not waited

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler

    def note(self, path: str, headers: dict[str, str], body: bytes) -> int:
        lower = {name.lower(): value for name, value in headers.items()}
        with self._changed:
            self.received.append(Received(path, lower, body, time.monotonic()))
            self._changed.notify_all()
            return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]

    def wait(self, count: int, patience_s: float = PATIENCE_S) -> list[Received]:
        """Wait for that many requests in all and return them."""
        with self._changed:
            is_there = self._changed.wait_for(lambda: len(self.received) >= count, patience_s)
            assert is_there, f"{len(self.received)} of {count} requests after {patience_s} s"
            return list(self.received)

    def types(self) -> list[str]:
        return [each.event["event_type"] for each in self.received]


@contextmanager
def a_receiver(statuses: Sequence[int] = (200,), **options: Any) -> Iterator[Receiver]:
    """Run a receiver for the length of a test."""
    receiver = Receiver(statuses, **options)
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
