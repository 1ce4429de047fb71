"""The contract of whoever knows how much room there is on disk."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol


class Disk(Protocol):
    """The disks that hold what this instance keeps."""

    @abstractmethod
    async def free_bytes(self) -> int:
        """Return what can still be written to the fullest of them.

        Raises StoreUnavailableError when a disk does not answer.
        """
