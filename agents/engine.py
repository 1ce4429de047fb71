"""Knows whether the container engine answers, so that nobody else has to find out."""

from __future__ import annotations

import asyncio
import logging

from abaco.errors import DriverError
from abaco.ports.driver import Driver, EngineInfo

_log = logging.getLogger(__name__)

FIRST_PROBE_S = 0.05
MAX_PROBE_S = 1.0


class EngineWatch:
    """A circuit breaker: whoever meets an absent engine reports it, all wait for its return.

    While the engine is away nothing is claimed, so its outage fails no message and no actor.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._is_up = asyncio.Event()
        self._is_down = asyncio.Event()
        self._is_down.set()
        #: what the engine last said of itself
        self.info: EngineInfo | None = None
        #: why it does not answer; None while it does
        self.absence: DriverError | None = None

    @property
    def is_up(self) -> bool:
        """Whether the engine answered since the last report of its absence."""
        return self._is_up.is_set()

    def report_down(self, error: DriverError) -> None:
        """Say that a call found the engine absent. The first to say so is heard."""
        if self.absence is None:
            self.absence = error
            _log.warning("the container engine is away, waiting for it: %s", error)
        self._is_up.clear()
        self._is_down.set()

    async def wait_until_up(self) -> None:
        """Return when the engine answers."""
        await self._is_up.wait()

    async def run(self) -> None:
        """Probe the engine while it is away, at growing intervals; do nothing while it is up."""
        while True:
            await self._is_down.wait()
            pause_s = FIRST_PROBE_S
            while not await self._probe():
                await asyncio.sleep(pause_s)
                pause_s = min(MAX_PROBE_S, pause_s * 2)

    async def _probe(self) -> bool:
        self._is_down.clear()
        try:
            self.info = await self._driver.info()
        except DriverError as error:
            self.report_down(error)
            return False
        self.absence = None
        _log.info("engine %s %s at %s", self.info.driver, self.info.version, self.info.endpoint)
        self._is_up.set()
        return True
