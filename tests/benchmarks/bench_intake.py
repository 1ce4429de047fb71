"""Durable intake: POSTs per second to a real server, beside a bare Tornado handler.

    python -m tests.benchmarks.bench_intake [SECONDS]

Then the same with batches, in messages per second.

The server runs in a process of its own on the sqlite store with a scripted engine whose programs
never end, so that what is measured is acceptance: parse, check, one durable transaction, answer.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import tornado.httpserver
import tornado.web

from tests.support.server import Server, free_port

BODY = json.dumps({"message": "x" * 100}).encode()
CONNECTIONS = (1, 16, 64)
BATCHES = (10, 100, 1000)
BATCH_CONNECTIONS = 4


class EmptyHandler(tornado.web.RequestHandler):
    """Reads the body and says so."""

    def post(self) -> None:
        json.loads(self.request.body)
        self.write({"status": "success"})


def serve_bare(port: int) -> None:
    async def run() -> None:
        tornado.httpserver.HTTPServer(tornado.web.Application([("/", EmptyHandler)])).listen(
            port, "127.0.0.1"
        )
        await asyncio.Event().wait()

    asyncio.run(run())


async def client(port: int, path: str, until: float, latencies_s: list[float], body: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    while time.monotonic() < until:
        began = time.monotonic()
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        size = next(
            int(line.split(b":")[1])
            for line in answer.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(size)
        latencies_s.append(time.monotonic() - began)
    writer.close()


async def load(
    port: int, path: str, connections: int, seconds: float, body: bytes = BODY
) -> tuple[float, str]:
    latencies_s: list[float] = []
    until = time.monotonic() + seconds
    await asyncio.gather(
        *(client(port, path, until, latencies_s, body) for _ in range(connections))
    )
    points = statistics.quantiles(latencies_s, n=20)
    rate = len(latencies_s) / seconds
    return rate, f"p50 {points[9] * 1000:6.2f} ms  p95 {points[18] * 1000:6.2f} ms"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    write = sys.stdout.write
    write(f"{platform.platform()}, Python {platform.python_version()}\n")
    bare_port = free_port()
    bare = multiprocessing.Process(target=serve_bare, args=(bare_port,), daemon=True)
    bare.start()
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory), {"engine.driver": "scripted", "logs.level": "WARNING"})
        server.start()
        actor = server.register("sleep", max_workers=1)
        server.ready(actor)
        for connections in CONNECTIONS:
            empty, empty_text = asyncio.run(load(bare_port, "/", connections, seconds))
            path = f"/actors/{actor}/messages"
            rate, text = asyncio.run(load(server.port, path, connections, seconds))
            write(
                f"{connections:3} connections: {rate:6.0f} POST/s durable  {text}   | empty handler"
                f" {empty:6.0f}/s  {empty_text}   |  ratio {rate / empty:.2f}\n"
            )
        for size in BATCHES:
            body = json.dumps({"messages": [{"message": "x" * 100}] * size}).encode()
            path = f"/actors/{actor}/messages/batch"
            rate, text = asyncio.run(load(server.port, path, BATCH_CONNECTIONS, seconds, body))
            write(
                f"{BATCH_CONNECTIONS:3} connections: {rate * size:6.0f} messages/s durable in"
                f" batches of {size:4}  {text} each\n"
            )
        server.stop()
    bare.terminate()


if __name__ == "__main__":
    main()
