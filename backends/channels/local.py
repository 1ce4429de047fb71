"""Channels inside one process, on one loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from abaco.errors import ChannelClosedError, ChannelTimeoutError
from abaco.ports.channels import PRIVATE, Transport


@dataclass(slots=True)
class _Queue:
    frames: deque[bytes] = field(default_factory=deque)
    is_closed: bool = False
    #: notified whenever something of the above changes
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    #: how many wait for a change
    waiting: int = 0


class LocalTransport(Transport):
    """Queues in memory. A name takes no memory unless something is in it, closed, or awaited."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._members: dict[str, dict[str, None]] = defaultdict(dict)

    @property
    def names(self) -> list[str]:
        """Names that take memory."""
        return [*self._queues, *self._members]

    def _find(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            if name.startswith(PRIVATE):
                raise ChannelClosedError(f"channel {name} is not there any more")
            queue = self._queues[name] = _Queue()
        return queue

    def _tidy(self, name: str, queue: _Queue) -> None:
        is_idle = not (queue.frames or queue.is_closed or queue.waiting)
        if is_idle and not name.startswith(PRIVATE) and self._queues.get(name) is queue:
            del self._queues[name]

    async def open(self, name: str) -> None:
        """Take a close back, or make a private name."""
        queue = self._queues.setdefault(name, _Queue())
        queue.is_closed = False
        self._tidy(name, queue)

    async def push(self, name: str, frame: bytes, capacity: int, timeout_s: float | None) -> None:
        """Append a frame once there is room."""
        async with self._using(name) as queue:
            await self._wait(name, queue, timeout_s, lambda: len(queue.frames) < capacity)
            if queue.is_closed:
                raise ChannelClosedError(f"channel {name} is closed")
            queue.frames.append(frame)
            queue.changed.notify_all()

    async def pop(self, name: str, timeout_s: float | None) -> bytes:
        """Take the oldest frame."""
        async with self._using(name) as queue:
            await self._wait(name, queue, timeout_s, lambda: bool(queue.frames))
            if not queue.frames:
                raise ChannelClosedError(f"channel {name} is closed")
            frame = queue.frames.popleft()
            queue.changed.notify_all()
            return frame

    @asynccontextmanager
    async def _using(self, name: str) -> AsyncIterator[_Queue]:
        """Hold a queue, and forget it when nothing is left in it and nobody else holds it."""
        queue = self._find(name)
        try:
            async with queue.changed:
                yield queue
        finally:
            self._tidy(name, queue)

    async def _wait(
        self, name: str, queue: _Queue, timeout_s: float | None, is_ready: Callable[[], bool]
    ) -> None:
        queue.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await queue.changed.wait_for(lambda: queue.is_closed or is_ready())
        except TimeoutError as error:
            raise ChannelTimeoutError(f"channel {name}: nothing happened in time") from error
        finally:
            queue.waiting -= 1

    async def close(self, name: str) -> None:
        """Refuse what is pushed from now on."""
        queue = self._queues.get(name)
        if queue is None:
            if name.startswith(PRIVATE):
                return
            queue = self._find(name)
        queue.is_closed = True
        async with queue.changed:
            queue.changed.notify_all()

    async def drop(self, name: str) -> None:
        """Forget a private name."""
        queue = self._queues.pop(name, None)
        if queue is not None:
            queue.frames.clear()
            queue.is_closed = True
            async with queue.changed:
                queue.changed.notify_all()

    async def join(self, name: str, member: str) -> None:
        """Add a subscriber."""
        self._members[name][member] = None

    async def leave(self, name: str, member: str) -> None:
        """Take a subscriber away."""
        self._members[name].pop(member, None)
        if not self._members[name]:
            del self._members[name]

    async def members(self, name: str) -> list[str]:
        """Return the subscribers."""
        return list(self._members.get(name, ()))
