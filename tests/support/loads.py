"""Loads of a known size for containers, and where the kernel counts them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: what ``serving_bytes`` answers with
BODY_BYTES = 1_000_000


class _Bytes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(BODY_BYTES))
        self.end_headers()
        self.wfile.write(bytes(BODY_BYTES))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving_bytes() -> Iterator[int]:
    """Answer HTTP on all addresses of this host; yields the port."""
    with ThreadingHTTPServer(("0.0.0.0", 0), _Bytes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def to_gateway(port: int, options: str = "-O /dev/null") -> str:
    """Spell a shell command that asks this host over a container's bridge."""
    gateway = "$(ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p')"
    return f"wget -q {options} http://{gateway}:{port}/"


def groups_below(path: str) -> list[Path]:
    """Return the control groups below a path, in all hierarchies."""
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]
    tops = [root / path.lstrip("/") for root in roots if root.is_dir()]
    # groups go while one looks, which os.walk does not mind
    return [Path(place) for top in tops for place, _, _ in os.walk(top) if Path(place) != top]
