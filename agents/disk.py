"""Looks how much room there is on disk, before somebody runs out of it."""

from __future__ import annotations

import logging

from abaco.errors import StoreUnavailableError
from abaco.metrics import DISK_FREE
from abaco.operations.space import Space
from abaco.ports.disk import Disk

_log = logging.getLogger(__name__)

#: seconds between two looks; nothing tells when a disk fills up
DISK_INTERVAL_S = 2.0


class DiskWatch:
    """Keeps what is known of the room on disk up to date."""

    def __init__(self, disk: Disk, space: Space) -> None:
        self._disk = disk
        self._space = space

    async def round(self) -> None:
        """Look once, and say so when there begins or ceases to be room."""
        had_room = self._space.has_room()
        try:
            free_bytes = await self._disk.free_bytes()
        except StoreUnavailableError:
            self._space.note(None)  # whoever writes will learn it
            raise
        self._space.note(free_bytes)
        DISK_FREE.set(free_bytes)
        if self._space.has_room() is not had_room:
            level = logging.WARNING if had_room else logging.INFO
            word = "refused" if had_room else "taken again"
            _log.log(level, "messages are %s: %s", word, self._space.report().detail)
