"""How much room there is on the disks of this host."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from abaco.config import Settings
from abaco.errors import StoreUnavailableError
from abaco.ports.disk import Disk
from backends.apart import Apart

#: seconds a disk has to answer
ANSWER_S = 2.0


class LocalDisk(Disk):
    """Asks the kernel, in a thread of its own: a file server that is away answers to nobody.

    Args:
        directories: One on each disk that matters; they are there.

    """

    def __init__(self, directories: Collection[Path]) -> None:
        self._directories = tuple(directories)
        self._apart = Apart("disk", count=1, timeout_s=ANSWER_S)

    async def free_bytes(self) -> int:
        """Look at each of them."""
        try:
            return await self._apart.call(self._look)
        except TimeoutError as error:
            raise StoreUnavailableError("the disk does not answer") from error
        except OSError as error:
            raise StoreUnavailableError(
                f"the disk cannot be looked at: {error.strerror}", detail=str(error)
            ) from error

    def _look(self) -> int:
        return min(_free(directory) for directory in self._directories)


def _free(directory: Path) -> int:
    found = os.statvfs(directory)
    # not f_bfree: what is kept back for root must stay that
    return found.f_bavail * found.f_frsize


def disk_of(settings: Settings) -> LocalDisk | None:
    """Return the disks of an instance; None when it keeps nothing on any."""
    if settings.store.backend == "memory":
        return None
    return LocalDisk({settings.general.data_dir, settings.database_path.parent})
