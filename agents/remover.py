"""Removes containers off the path of executions, and again when the engine was away."""

from __future__ import annotations

import asyncio
import logging

from abaco.errors import DriverError
from abaco.metrics import STAGE_SECONDS
from abaco.ports.driver import Driver
from agents.engine import EngineWatch

_log = logging.getLogger(__name__)

#: removals at the same time
PARALLEL_REMOVALS = 4
#: tries before a container is left to the next sweep
MAX_TRIES = 3


class Remover:
    """An unbounded queue of container ids; ids are small and the sweep would find lost ones."""

    def __init__(self, driver: Driver, engine: EngineWatch) -> None:
        self._driver = driver
        self._engine = engine
        self._queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    def remove_soon(self, container_id: str) -> None:
        """Have the container removed as soon as the engine has time."""
        self._queue.put_nowait((container_id, 1))

    async def run(self) -> None:
        """Remove until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL_REMOVALS):
                group.create_task(self._remove_all())

    async def _remove_all(self) -> None:
        while True:
            container_id, tries = await self._queue.get()
            await self._engine.wait_until_up()
            try:
                with STAGE_SECONDS.labels("remove").time():
                    await self._driver.remove(container_id)
            except DriverError as error:
                self._failed(container_id, tries, error)

    def _failed(self, container_id: str, tries: int, error: DriverError) -> None:
        if error.retryable:
            self._engine.report_down(error)
        if error.retryable or tries < MAX_TRIES:
            self._queue.put_nowait((container_id, tries + (not error.retryable)))
        else:
            _log.error("container %s could not be removed: %s", container_id, error)
