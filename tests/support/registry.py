"""A registry that serves a few images over plain HTTP, enough for engines to pull from.

Source: OCI distribution specification, "Pull"
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from tests.support.images import Blob, ImageConfig, registry_image


class Registry:
    """Images by ``name:tag``. ``requests`` lists what was asked for."""

    def __init__(self) -> None:
        self.address = ""
        self.manifests: dict[tuple[str, str], Blob] = {}
        self.blobs: dict[str, Blob] = {}
        self.requests: list[str] = []
        #: hang up in the middle of every blob
        self.is_breaking = False

    def put(self, name: str, layer: bytes, config: ImageConfig, tag: str = "latest") -> str:
        """Add or replace an image; returns the reference to pull it by."""
        manifest, blobs = registry_image(layer, config)
        for key in (tag, manifest.digest):
            self.manifests[name, key] = manifest
        self.blobs |= {blob.digest: blob for blob in blobs}
        return f"{self.address}/{name}:{tag}"


class _Base(RequestHandler):
    def initialize(self, registry: Registry) -> None:
        self.registry = registry

    def prepare(self) -> None:
        self.registry.requests.append(f"{self.request.method} {self.request.path}")

    def answer(self, blob: Blob | None) -> None:
        if blob is None:
            raise HTTPError(404)
        self.set_header("Content-Type", blob.media_type)
        self.set_header("Docker-Content-Digest", blob.digest)
        self.finish(blob.data)


class _Root(_Base):
    def get(self) -> None:
        self.finish({})


class _Manifest(_Base):
    def get(self, name: str, key: str) -> None:
        self.answer(self.registry.manifests.get((name, key)))

    def head(self, name: str, key: str) -> None:
        self.get(name, key)


class _Blob(_Base):
    def get(self, _name: str, digest: str) -> None:
        blob = self.registry.blobs.get(digest)
        if blob is None or not self.registry.is_breaking or self.request.method == "HEAD":
            self.answer(blob)
            return
        stream = self.detach()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(blob.data)}\r\n\r\n".encode()
        stream.write(head + blob.data[: len(blob.data) // 2])
        stream.close()

    def head(self, name: str, digest: str) -> None:
        self.get(name, digest)


@asynccontextmanager
async def running_registry() -> AsyncIterator[Registry]:
    """Serve an empty registry on a free port of the loopback address."""
    registry = Registry()
    given = {"registry": registry}
    server = HTTPServer(
        Application(
            [
                (r"/v2/", _Root, given),
                (r"/v2/(.+)/manifests/([^/]+)", _Manifest, given),
                (r"/v2/(.+)/blobs/([^/]+)", _Blob, given),
            ],
            log_function=lambda handler: None,
        ),
        # engines try TLS first, and wait long for an answer to that
        idle_connection_timeout=1.0,
    )
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    registry.address = f"127.0.0.1:{sockets[0].getsockname()[1]}"
    try:
        yield registry
    finally:
        server.stop()
        await server.close_all_connections()
