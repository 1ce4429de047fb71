"""A real accounting service: an HTTP server that knows users by name."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

USERS = "/v1/users/username/"


@dataclass
class AccountingService:
    """Answers as told, and remembers what it was asked."""

    url: str = ""
    users: dict[str, Any] = field(default_factory=dict)
    #: group numbers by tenant and user
    profiles: dict[tuple[str, str], Any] = field(default_factory=dict)
    password: str = "hunter2"
    #: sent instead of the answer
    body: bytes | None = None
    status: int | None = None
    delay_s: float = 0.0
    asked: list[str] = field(default_factory=list)

    @property
    def profile_url(self) -> str:
        """Where profiles are."""
        return f"{self.url.removesuffix('/v1')}/profiles?name=profile.{{tenant}}.{{username}}"

    def answer(self, target: str, authorization: str) -> tuple[int, bytes]:
        """Return status and body."""
        self.asked.append(target)
        time.sleep(self.delay_s)
        if self.status is not None or self.body is not None:
            return self.status or 200, self.body or b""
        parts = urlsplit(target)
        if parts.path == "/profiles":
            _, tenant, user = unquote(parts.query).split(".", 2)
            is_allowed = authorization == f"Bearer {self.password}"
            gid = self.profiles.get((tenant, user))
            result: Any = [] if gid is None else [{"value": {"posix_gid": gid}}]
        else:
            credentials = base64.b64encode(f"abaco:{self.password}".encode()).decode()
            is_allowed = authorization == f"Basic {credentials}"
            result = self.users.get(unquote(parts.path.removeprefix(USERS)))
        if not is_allowed:
            return 401, b'{"message": "who are you?"}'
        return 200, json.dumps({"status": "success", "result": result}).encode()


@contextmanager
def serve_accounting() -> Iterator[AccountingService]:
    """Serve from a thread of its own."""
    service = AccountingService()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = service.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if 300 <= status < 400:
                self.send_header("Location", service.url)
            self.end_headers()
            with suppress(BrokenPipeError):  # who asked has lost patience
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        service.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
