"""Moves a container's output into the log store while it runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from abaco.domain.actor import Actor
from abaco.domain.execution import ExecutionKey
from abaco.domain.expiry import log_lifetime_s
from abaco.errors import DriverError
from abaco.metrics import LOG_BYTES, LOGS_TRUNCATED
from abaco.ports.driver import Running
from abaco.ports.notices import Topic
from agents.kit import Kit
from agents.persist import persist

#: output is stored after this long, or when this much is waiting
FLUSH_S = 0.5
FLUSH_BYTES = 65_536
#: chunks between the reader and the writer; when full the reader waits, and so the program
MAX_WAITING_CHUNKS = 32


class LogPump:
    """Stores one container's output, in order, each byte once, up to the limit.

    Reading and writing overlap, so a slow commit does not hold up the stream, and a burst costs
    one commit, not one per line.
    """

    def __init__(self, kit: Kit, actor: Actor, key: ExecutionKey) -> None:
        web = kit.settings.web
        self._kit = kit
        self._key = key
        self._max_bytes = web.max_log_length
        self._lifetime_s = log_lifetime_s(
            actor.definition.log_ex,
            web.for_tenant("log_ex", key.tenant),
            web.for_tenant("log_ex_limit", key.tenant),
        )
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING_CHUNKS)
        self._offset = 0

    async def run(self, running: Running) -> None:
        """Store all output from where the store is, until it ends.

        Raises what ``Running.output`` raises; what was read before is stored first.
        """
        stored = await persist(lambda: self._kit.stores.logs.read(self._key, self._max_bytes))
        self._offset = stored.bytes_seen
        failure: DriverError | None = None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_all())
            try:
                async for chunk in running.output(self._offset):
                    await self._chunks.put(chunk)
            except DriverError as error:  # raised below, outside of the group's wrapping
                failure = error
            await self._chunks.put(None)
        if failure is not None:
            raise failure

    async def note(self, text: str) -> None:
        """Add a line of ours behind the output, once; after ``run`` only."""
        data = text.encode()
        begin = max(0, self._offset - len(data))
        stored = await persist(lambda: self._kit.stores.logs.read(self._key, begin))
        if stored.data != data:  # or else an earlier process came as far as this
            await self._append(data)

    async def _write_all(self) -> None:
        is_open = True
        while is_open:
            chunk = await self._chunks.get()
            if chunk is None:
                return
            buffer = bytearray(chunk)
            is_open = await self._fill(buffer)
            await self._append(bytes(buffer))

    async def _fill(self, buffer: bytearray) -> bool:
        """Gather what comes within the flush time. False when the output has ended."""
        is_full = len(buffer) >= FLUSH_BYTES
        try:
            async with asyncio.timeout(FLUSH_S):
                while not is_full:
                    chunk = await self._chunks.get()
                    if chunk is None:
                        return False
                    buffer += chunk
                    is_full = len(buffer) >= FLUSH_BYTES
        except TimeoutError:
            pass
        return True

    async def _append(self, data: bytes) -> None:
        offset = self._offset
        expires_at = None
        if self._lifetime_s is not None:
            expires_at = self._kit.clock.now() + timedelta(seconds=self._lifetime_s)
        self._offset = await persist(
            lambda: self._kit.stores.logs.append(
                self._key, offset, data, max_bytes=self._max_bytes, expires_at=expires_at
            )
        )
        LOG_BYTES.inc(len(data))
        if offset <= self._max_bytes < self._offset:
            LOGS_TRUNCATED.inc()
        self._kit.notices.publish(Topic.LOG, self._key)
