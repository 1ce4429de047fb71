"""A real ``abaco serve`` in a process of its own, and a small client that waits for things."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import urllib3

from tests.support.session import GROUP

#: longest a test waits for one thing to happen
PATIENCE_S = 120.0


#: below what the system hands out by itself, to listeners on port 0 and to every connection
PORTS = range(15_000, 32_000)


def free_port() -> int:
    """Find a port for a server that starts later, and again.

    One that the system picks would be handed out to somebody else in between.
    """
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no free port among 100 of {PORTS}")


class ApiError(AssertionError):
    """The API answered with an error the test did not ask for."""


class Server:
    """``abaco serve`` on a directory and a port that stay the same over restarts."""

    def __init__(self, directory: Path, settings: dict[str, str], config: str = "") -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = directory / "server.log"
        #: what is run; may be changed before a start
        self.program = "abaco"
        self._settings = settings
        #: the file; what differs from the defaults comes by environment, but for odd sections
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._pool = urllib3.PoolManager(retries=False, timeout=PATIENCE_S, maxsize=64)

    def start(self) -> None:
        config = self.directory / "abaco.conf"
        config.write_text(self._config)
        environment = {
            **os.environ,
            "ABACO__GENERAL__DATA_DIR": str(self.directory / "data"),
            "ABACO__WEB__PORT": str(self.port),
            "ABACO__ENGINE__CGROUP_PARENT": GROUP,
            **{
                f"ABACO__{name.upper().replace('.', '__')}": v for name, v in self._settings.items()
            },
        }
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.program, "serve", "--config", str(config)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.until(self._is_ready, "the server to be ready")

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the server ended at its start:\n{self.log()}")
        try:
            return self._pool.request("GET", f"{self.url}/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def kill(self) -> None:
        """End the process as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; return exit code and seconds until the end."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=PATIENCE_S)
        return code, time.monotonic() - began

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def until(self, is_true: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """Ask again and again until the answer is truthy, and return it."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            answer = is_true()
            if answer:
                return answer
            time.sleep(0.05)
        raise AssertionError(f"waited {patience_s} s in vain for {what}")

    # The API.

    def request(
        self, method: str, path: str, body: Any = None, **named: Any
    ) -> tuple[int, dict[str, Any]]:
        """Send JSON, return status and envelope."""
        answer = self.raw(method, path, body, **named)
        return answer.status, json.loads(answer.data)

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        fields: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> urllib3.BaseHTTPResponse:
        url = self.url + path
        if fields is not None:
            return self._pool.request_encode_body(
                method, url, fields=fields, encode_multipart=False, timeout=timeout_s
            )
        return self._pool.request(method, url, json=body, headers=headers, timeout=timeout_s)

    def call(self, method: str, path: str, body: Any = None, **named: Any) -> Any:
        """Return the ``result`` of a request that must succeed."""
        status, envelope = self.request(method, path, body, **named)
        if status != 200:
            raise ApiError(f"{method} {path}: {status} {envelope['message']}")
        return envelope["result"]

    def register(self, image: str, **fields: Any) -> str:
        return str(self.call("POST", "/actors", {"image": image, **fields})["id"])

    def ready(self, actor: str) -> None:
        self.until(lambda: self.actor(actor)["status"] == "READY", "the actor to be READY")

    def actor(self, actor: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/actors/{actor}"))

    def send(self, actor: str, message: Any) -> str:
        body = {"message": message} if isinstance(message, str) else message
        return str(self.call("POST", f"/actors/{actor}/messages", body)["execution_id"])

    def upload(
        self, actor: str, body: bytes | IO[bytes], query: str = "", **headers: str
    ) -> dict[str, Any]:
        """Send a binary message; return what the answer says."""
        answer = self.raw_upload(actor, body, query, **headers)
        envelope = json.loads(answer.data)
        if answer.status != 200:
            raise ApiError(f"upload to {actor}: {answer.status} {envelope['message']}")
        return dict(envelope["result"])

    def raw_upload(
        self, actor: str, body: bytes | IO[bytes], query: str = "", **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Send a binary message."""
        sent = {"Content-Type": "application/octet-stream", **headers}
        url = f"{self.url}/actors/{actor}/messages{query}"
        return self._pool.request("POST", url, body=body, headers=sent)

    def results(self, actor: str, execution: str) -> Iterator[bytes]:
        """Take results until there is none."""
        path = f"/actors/{actor}/executions/{execution}/results"
        while data := self.raw("GET", path).data:
            yield data

    def execution(self, actor: str, execution: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/actors/{actor}/executions/{execution}"))

    def executions(self, actor: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/actors/{actor}/executions")["executions"])

    def until_status(
        self, actor: str, execution: str, *statuses: str, patience_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        def has_it() -> dict[str, Any] | None:
            found = self.execution(actor, execution)
            return found if found["status"] in statuses else None

        what = f"execution {execution} to be {'/'.join(statuses)}"
        return dict(self.until(has_it, what, patience_s))

    def until_final(self, actor: str, execution: str) -> dict[str, Any]:
        return self.until_status(actor, execution, "COMPLETE", "ERROR")

    def logs(self, actor: str, execution: str) -> str:
        return str(self.call("GET", f"/actors/{actor}/executions/{execution}/logs")["logs"])


S = TypeVar("S", bound=Server)


@contextmanager
def running(server: S) -> Iterator[S]:
    """Run a server for the length of a test; its log is shown when the test fails."""
    try:
        server.start()
        yield server
    finally:
        if server.is_running:
            server.stop()
        sys.stderr.write(f"--- log of the server ---\n{server.log()[-20000:]}\n")


@contextmanager
def a_server(directory: Path, settings: dict[str, str], config: str = "") -> Iterator[Server]:
    """Make a server and run it for the length of a test."""
    with running(Server(directory, settings, config)) as server:
        yield server
