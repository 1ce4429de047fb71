"""A client of server-sent events that reads when the test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.http.site import TENANT, Site, make_token

#: longest wait for one event
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Event:
    """One event, or a comment (``name`` empty)."""

    name: str
    id: str = ""
    data: Any = None
    comment: str = ""


class Followed:
    """An open stream. All methods run on the server's loop."""

    def __init__(self, site: Site, path: str, **headers: str) -> None:
        self._site = site
        self._path = path
        self._headers = {
            "Host": "localhost",
            f"X-Jwt-Assertion-{TENANT}": make_token("testuser"),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        self._buffer = b""
        self.status = 0
        self.head = ""

    async def open(self, *, limit: int = 2**16) -> Followed:
        """Send the request and read the head of the answer."""
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._site.port, limit=limit
        )
        lines = [f"{name}: {value}" for name, value in self._headers.items()]
        request = "\r\n".join([f"GET {self._path} HTTP/1.1", *lines, "", ""])
        self.writer.write(request.encode())
        head = await self._within(self.reader.readuntil(b"\r\n\r\n"))
        self.head = head.decode()
        self.status = int(head.split(b" ")[1])
        return self

    async def _within(self, reading: Any) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return bytes(await reading)

    async def event(self) -> Event | None:
        """Return the next event or comment; None when the stream has ended in order."""
        while b"\n\n" not in self._buffer:
            size = int(await self._within(self.reader.readuntil(b"\r\n")), 16)
            chunk = await self._within(self.reader.readexactly(size + 2))
            if size == 0:
                assert self._buffer == b""
                return None
            self._buffer += chunk[:-2]
        text, _, self._buffer = self._buffer.partition(b"\n\n")
        return _parsed(text.decode())

    async def events(self) -> list[Event]:
        """Return all events to the end, comments left out."""
        found = []
        while (event := await self.event()) is not None:
            if event.name:
                found.append(event)
        return found

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        await self.writer.wait_closed()


async def until(is_true: Callable[[], Any]) -> None:
    """Let the loop turn until something holds."""
    for _ in range(int(PATIENCE_S * 100)):
        if is_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def no_followers(site: Site) -> None:
    """Wait until every stream has ended."""
    await until(lambda: site.services.quotas.follower_count == 0)


def _parsed(text: str) -> Event:
    if text.startswith(":"):
        return Event("", comment=text.removeprefix(":").strip())
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    return Event(fields["event"], fields["id"], json.loads(fields["data"]))
