"""Shows on the actor what a pull is doing, for people who wait for it."""

from __future__ import annotations

import asyncio
from types import TracebackType

from abaco.domain.actor import ActorKey, ActorStatus
from abaco.domain.worker import Worker
from agents.kit import Kit

#: the actor's status_message changes at most this often
REFRESH_S = 1.0


class PullProgress:
    """Writes the latest progress line into the actor's status_message while it is SUBMITTED."""

    def __init__(self, kit: Kit, key: ActorKey, worker: Worker) -> None:
        self._kit = kit
        self._key = key
        self._worker = worker
        self._line = ""
        self._has_news = asyncio.Event()
        self._group = asyncio.TaskGroup()

    def note(self, line: str) -> None:
        """Take a line of progress; cheap, may be called often."""
        self._line = line
        self._has_news.set()

    async def __aenter__(self) -> PullProgress:
        await self._group.__aenter__()
        self._writer = self._group.create_task(self._write())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.cancel()
        await self._group.__aexit__(None, None, None)

    async def _write(self) -> None:
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            await self._kit.set_actor_status(
                self._key,
                self._worker.revision,
                ActorStatus.SUBMITTED,
                f"pulling {self._worker.image}: {self._line}",
                expect=frozenset({ActorStatus.SUBMITTED}),
            )
            await asyncio.sleep(REFRESH_S)
