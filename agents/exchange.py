"""What one attempt's container is handed beside its variables, and the results it hands back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import timedelta
from typing import Any

from abaco.domain.execution import Execution
from abaco.domain.message import Message
from abaco.errors import InvalidInputError
from abaco.metrics import RESULT_BYTES, RESULTS_REFUSED
from abaco.ports.driver import Bind
from abaco.ports.ipc import Datagram, Delivery, Ipc, place_of
from abaco.ports.notices import Topic
from agents.kit import Kit
from agents.persist import persist

_log = logging.getLogger(__name__)

#: results on their way into the store; when so much waits the socket is not read, and so the
#: program waits
MAX_WAITING_BYTES = 4 * 1024 * 1024
#: number of the first result that is a file; no program sends as many datagrams
FIRST_FILE = 2**48
#: files of an execution that become results; each costs a transaction
MAX_FILES = 1000
#: refusals that are told one by one, and as much of a file's name
MAX_REFUSALS = 10
MAX_NAME = 100


class Refusals:
    """Results that were refused: how many, and why the first ones were."""

    def __init__(self) -> None:
        self.count = 0
        self.reasons: list[str] = []

    def add(self, reason: str, count: int = 1) -> None:
        """Note that so many were refused for one reason."""
        self.count += count
        if len(self.reasons) < MAX_REFUSALS:
            self.reasons.append(reason)


class Exchange:
    """Files of an attempt, and the way of its results into the store.

    Reading and writing overlap, as with logs: what comes during one commit goes into the next.

    Args:
        kit: What workers share.
        execution: As claimed, or as found after a restart.
        message: None when an attempt of an earlier process is taken over: the socket of its
            container died with that process.

    """

    def __init__(self, kit: Kit, execution: Execution, message: Message | None) -> None:
        self._kit = kit
        self._execution = execution
        self._key = execution.key
        self._message = message
        self._ipc: Ipc | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Condition()
        self._has_all = False
        self._is_done = asyncio.Event()
        self._pushed = 0
        #: of what was sent, and of what was left
        self._sent_refused = Refusals()
        self._left_refused = Refusals()

    async def open(self) -> tuple[Bind, ...]:
        """Make the files, before the container is.

        Raises:
            RequestError: This message cannot be delivered.
            StartFailedError: The files cannot be made.

        """
        kit, message = self._kit, self._message
        info = kit.engine.info
        blob = None if message is None else message.blob
        if info is not None and not info.sees_our_files:
            if blob is not None:
                raise InvalidInputError(
                    f"the container engine at {info.endpoint} is not on this host, and cannot be"
                    " given the file with the message"
                )
            return ()
        runtime = kit.settings.runtime
        delivery = None
        if blob is not None:
            path = kit.stores.blobs.path(self._execution.id)
            delivery = Delivery(path, as_pipe=runtime.binary_transport == "fifo")
        self._ipc = await kit.ipc.open(
            place_of(self._execution),
            max_result_bytes=runtime.max_result_size,
            delivery=delivery,
            takes_files=runtime.large_results,
        )
        return self._ipc.binds

    async def run(self) -> None:
        """Move results into the store until ``finish`` is called and all are there."""
        assert self._ipc is not None  # noqa: S101 - opened before
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(self._ipc))
            group.create_task(self._write())
        self._is_done.set()

    async def finish(self) -> None:
        """Wait until everything the container sent is stored. Call it after the end. Idempotent."""
        if self._ipc is not None:
            self._ipc.end()
            await self._is_done.wait()

    async def collect(self) -> None:
        """Store the files a container left that has ended, behind what it sent.

        They are numbered from a number of their own on, because who takes an attempt over does not
        know how many results were sent before, and may do this for the second time. It may also be
        cancelled and called again.
        """
        runtime = self._kit.settings.runtime
        if self._message is not None and not runtime.large_results:
            return
        ipc = self._ipc or self._kit.ipc.adopt(place_of(self._execution))
        names, total = await ipc.list_left(limit=MAX_FILES)
        refused = Refusals()
        room = runtime.max_large_results
        for number, name in enumerate(names, FIRST_FILE):
            async with self._kit.large_results:
                file = await ipc.read_left(name, max_bytes=min(room, runtime.max_large_result))
                if file.data is None:
                    refused.add(f"file {name[:MAX_NAME]!r}: {file.fault}")
                else:
                    room -= len(file.data)
                    await self._push(number, [file.data])
        if total > len(names):
            reason = f"{total} files were left, the limit is {MAX_FILES}"
            refused.add(reason, total - len(names))
        self._left_refused = refused
        RESULTS_REFUSED.inc(refused.count)

    async def close(self) -> None:
        """Remove the files."""
        if self._ipc is not None:
            await self._ipc.close()
        elif self._message is None:
            await self._kit.ipc.remove([place_of(self._execution)])

    def detach(self) -> None:
        """Leave the files for the next process."""
        if self._ipc is not None:
            self._ipc.detach()

    def report(self) -> dict[str, Any]:
        """Return what the final state says of the results."""
        report: dict[str, Any] = {}
        if self._message is None:
            report["AbacoResultsLost"] = True
        if count := self._sent_refused.count + self._left_refused.count:
            report["AbacoResultsRefused"] = count
        return report

    def note(self) -> str:
        """Return lines for the end of the log; empty when there is nothing to say."""
        count = self._sent_refused.count + self._left_refused.count
        if not count:
            return ""
        reasons = [*self._sent_refused.reasons, *self._left_refused.reasons]
        lines = [f"ABACO: results refused: {count}", *reasons]
        if count > len(reasons):
            lines.append("...")
        return "\n" + "\n".join(lines) + "\n"

    async def _read(self, ipc: Ipc) -> None:
        while batch := await ipc.receive():
            taken = [each.data for each in batch if self._accepts(each)]
            async with self._changed:
                self._waiting.extend(taken)
                self._waiting_bytes += sum(map(len, taken))
                self._changed.notify_all()
                await self._changed.wait_for(lambda: self._waiting_bytes < MAX_WAITING_BYTES)
        async with self._changed:
            self._has_all = True
            self._changed.notify_all()

    def _accepts(self, datagram: Datagram) -> bool:
        if datagram.data:
            return True
        limit = self._kit.settings.runtime.max_result_size
        reason = f"it has {datagram.size_bytes} bytes, the limit is {limit}"
        self._sent_refused.add(reason)
        RESULTS_REFUSED.inc()
        if self._sent_refused.count <= MAX_REFUSALS:
            _log.info("execution %s: a result is refused, %s", self._key.id, reason)
        return False

    async def _write(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting or self._has_all)
                if not self._waiting:
                    return
                batch = list(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
                self._changed.notify_all()
            await self._push(self._pushed, batch)
            self._pushed += len(batch)

    async def _push(self, first: int, batch: list[bytes]) -> None:
        lifetime = timedelta(seconds=self._kit.settings.runtime.results_ttl)
        expires_at = self._kit.clock.now() + lifetime
        await persist(
            lambda: self._kit.stores.results.push(self._key, first, batch, expires_at=expires_at)
        )
        RESULT_BYTES.inc(sum(map(len, batch)))
        self._kit.notices.publish(Topic.RESULT, self._key)
