"""Rounds at fixed intervals: counted, never overlapping, stopped only between two rounds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from abaco.errors import BackendError

_log = logging.getLogger(__name__)


class Periodic:
    """Runs a round every ``interval_s`` seconds, the first at once.

    A round that meets an absent backend is logged and counted; the next one tries again. Any
    other exception is a bug and goes to the supervisor.
    """

    def __init__(self, name: str, interval_s: float, round_: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._interval_s = interval_s
        self._round = round_
        self.round_count = 0
        self.failure_count = 0

    async def run(self) -> None:
        """Run rounds until cancelled."""
        while True:
            try:
                await self._round()
            except BackendError as error:
                self.failure_count += 1
                _log.warning("%s: round failed, will try again: %s", self._name, error)
            self.round_count += 1
            await asyncio.sleep(self._interval_s)
