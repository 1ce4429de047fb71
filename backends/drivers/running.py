"""A started container: its output, its end, its stop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import datetime

from abaco.errors import ContainerMissingError, StopFailedError
from abaco.ports.clock import Clock
from abaco.ports.driver import Exit, Running
from backends.drivers.containers import Containers
from backends.drivers.frames import payloads
from backends.drivers.last_word import LAST_WORD_S, learn_end
from backends.drivers.state import read_exit


class EngineRunning(Running):
    """One started container.

    Args:
        containers: The engine's calls.
        container_id: Which one.
        started_at: By the engine's clock.
        clock: For engines that do not say when it ended.
        call_timeout_s: Seconds a call may take, beyond any grace.
        tasks: Where the task that waits for the end is held; cancelled by the owner at its close.

    """

    def __init__(
        self,
        containers: Containers,
        container_id: str,
        started_at: datetime,
        *,
        clock: Clock,
        call_timeout_s: float,
        tasks: set[asyncio.Task[Exit]],
    ) -> None:
        self.container_id = container_id
        self.started_at = started_at
        self._containers = containers
        self._clock = clock
        self._call_timeout_s = call_timeout_s
        self._tasks = tasks
        self._ending: asyncio.Task[Exit] | None = None

    async def output(self, offset: int = 0) -> AsyncIterator[bytes]:
        """Follow the engine's log until the container has ended, then read the rest.

        No engine's follow can be trusted with the tail: Docker's loses what it has not read when
        the container ends, and the last line if it is not a whole one; Podman's comes late. What
        is read after the end is complete.
        """
        ending = self._end()
        given = offset
        async with self._containers.logs(self.container_id, follow=True) as stream:

            def leave(_: asyncio.Task[Exit]) -> None:
                stream.end()

            ending.add_done_callback(leave)
            try:
                async for data in payloads(stream, offset):
                    given += len(data)
                    yield data
            finally:
                ending.remove_done_callback(leave)
        await asyncio.shield(ending)
        async with self._containers.logs(self.container_id, follow=False) as stream:
            async for data in payloads(stream, given):
                yield data

    async def wait(self) -> Exit:
        """Wait for the engine's word."""
        return await asyncio.shield(self._end())

    async def stop(self, grace_s: float) -> None:
        """Stop by the engine, look, and kill what is left."""
        grace = math.ceil(grace_s)
        timeout_s = grace + self._call_timeout_s
        await self._containers.stop(self.container_id, grace, timeout_s)
        if await self._has_ended():
            return
        await self._containers.kill(self.container_id)
        try:
            async with asyncio.timeout(max(self._call_timeout_s, LAST_WORD_S)):
                await self.wait()
        except ContainerMissingError:
            return
        except TimeoutError as error:
            raise StopFailedError(
                f"container {self.container_id[:12]} still runs after SIGKILL"
            ) from error

    async def _has_ended(self) -> bool:
        try:
            return not (await self._containers.inspect(self.container_id)).is_running
        except ContainerMissingError:
            return True

    def _end(self) -> asyncio.Task[Exit]:
        """Return the task that learns the end; a new one when the last one failed."""
        ending = self._ending
        if ending is None or (ending.done() and (ending.cancelled() or ending.exception())):
            name = f"end of {self.container_id[:12]}"
            self._ending = ending = asyncio.create_task(self._learn_end(), name=name)
            self._tasks.add(ending)
            ending.add_done_callback(self._tasks.discard)
            # a failure nobody waits for is none: whoever asks next starts anew
            ending.add_done_callback(lambda task: task.cancelled() or task.exception())
        return ending

    async def _learn_end(self) -> Exit:
        end = await learn_end(self._containers, self.container_id, self._clock)
        verdict = await self._containers.judge(end.seen)
        return read_exit(
            end.seen,
            started_at=self.started_at,
            now=end.noticed_at,
            oom_killed=verdict.oom_killed,
            exit_code=verdict.exit_code if end.was_seen else None,
            used=verdict.used,
        )
