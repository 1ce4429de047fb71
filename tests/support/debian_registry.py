"""A real registry (Debian: docker-registry) of the test's own, with accounts if wanted."""

from __future__ import annotations

import base64
import http.client
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.images import Blob, ImageConfig, registry_image

#: longest it takes to begin
PATIENCE_S = 20.0
NEEDED = ("docker-registry", "htpasswd")
_CONFIG = """\
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {directory}/data}}
  delete: {{enabled: true}}
http: {{addr: "{address}", secret: any}}
"""
_AUTH = "auth: {{htpasswd: {{realm: test, path: {directory}/htpasswd}}}}\n"


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DebianRegistry:
    """A ``docker-registry`` process that keeps its images in a directory.

    Args:
        directory: For everything it keeps.
        users: Passwords by name; everybody is let in when there are none.

    """

    def __init__(self, directory: Path, users: Mapping[str, str]) -> None:
        self.address = f"127.0.0.1:{_free_port()}"
        self._directory = directory
        self._users = users
        self._process: subprocess.Popen[bytes] | None = None
        text = _CONFIG + (_AUTH if users else "")
        (directory / "config.yml").write_text(
            text.format(directory=directory, address=self.address)
        )
        hashed = [
            subprocess.run(["htpasswd", "-Bbn", *pair], check=True, capture_output=True).stdout
            for pair in users.items()
        ]
        (directory / "htpasswd").write_bytes(b"".join(hashed))

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(self._directory / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._call("GET", "/v2/")
                return
            except OSError:  # not there yet
                assert self._process.poll() is None, "docker-registry ended at its start"
                assert time.monotonic() < end, "docker-registry does not begin"
                time.sleep(0.05)

    def stop(self) -> None:
        """Kill it; what it has stays for the next start."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Let it answer nothing until ``go_on``."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def forget(self, name: str) -> None:
        """Remove an image with all its tags."""
        self.stop()
        shutil.rmtree(self._directory / "data/docker/registry/v2/repositories" / name)
        self.start()

    def put(self, name: str, layer: bytes, config: ImageConfig, tag: str = "latest") -> str:
        """Push an image; returns the reference to pull it by."""
        manifest, blobs = registry_image(layer, config)
        for blob in blobs:
            self._push(name, blob)
        self._call(
            "PUT",
            f"/v2/{name}/manifests/{tag}",
            manifest.data,
            {"Content-Type": manifest.media_type},
        )
        return f"{self.address}/{name}:{tag}"

    def _push(self, name: str, blob: Blob) -> None:
        place = self._call("POST", f"/v2/{name}/blobs/uploads/")["Location"]
        path = place.removeprefix(f"http://{self.address}")
        joint = "&" if "?" in path else "?"
        self._call("PUT", f"{path}{joint}digest={blob.digest}", blob.data)

    def _call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, str]:
        sent = {"Content-Length": str(len(body)), **(headers or {})}
        if self._users:
            pair = ":".join(next(iter(self._users.items()))).encode()
            sent["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        with closing(http.client.HTTPConnection(self.address, timeout=PATIENCE_S)) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read()
            assert response.status < 300, (method, path, response.status, text)
            return dict(response.getheaders())


@contextmanager
def a_registry(directory: Path, **users: str) -> Iterator[DebianRegistry]:
    """Run a registry for the length of a test; ``users`` are passwords by name."""
    for program in NEEDED:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this host (Debian: docker-registry, apache2-utils)")
    registry = DebianRegistry(directory, users)
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()
