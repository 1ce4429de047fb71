"""Measures how late the loop is, and says so when it was blocked."""

from __future__ import annotations

import asyncio
import logging

from abaco.metrics import LOOP_LAG_SECONDS
from abaco.ports.clock import Clock

_log = logging.getLogger(__name__)

TICK_S = 0.25
WARN_S = 0.1


class Pulse:
    """Ticks; the time a tick comes late is the time something blocked the loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            due_s = self._clock.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            lag_s = max(0.0, self._clock.monotonic() - due_s)
            LOOP_LAG_SECONDS.observe(lag_s)
            if lag_s > WARN_S:
                _log.warning("the loop was blocked for %.0f ms", lag_s * 1000)
