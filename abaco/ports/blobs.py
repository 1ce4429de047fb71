"""The contract of the store of blobs: bodies of messages that are files, not records.

A blob has the name of its message's execution. Whether it is needed is known by the message's
record alone, which is written after the blob and goes before it. So whatever dies in between
leaves a blob without a record, which a sweep finds, and never a record without its blob.

Methods raise StoreUnavailableError when there is no room, and StoreError when the store is broken.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from abaco.domain.ids import ExecutionId
from abaco.domain.message import Blob


class Upload(Protocol):
    """A blob on its way in. One call at a time."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Append. Returns when the data is out of our memory, so waiting for it bounds that."""

    @abstractmethod
    async def finish(self) -> Blob:
        """Make it a blob: durable, whole, and never changed again."""

    @abstractmethod
    def abandon(self) -> None:
        """Drop what was written, without waiting for it. Nothing after ``finish``. Idempotent."""


class BlobStore(Protocol):
    """Blobs by their executions' ids."""

    @abstractmethod
    async def begin(self, name: ExecutionId) -> Upload:
        """Begin an empty blob."""

    @abstractmethod
    async def delete(self, names: Collection[ExecutionId]) -> None:
        """Remove blobs; those that are not there are passed over."""

    @abstractmethod
    async def list_older(self, than: datetime) -> list[ExecutionId]:
        """Return the finished blobs that nobody can be about to write a record for.

        These were last written before a time, or by an earlier process.
        """

    @abstractmethod
    def path(self, name: ExecutionId) -> str:
        """Return where a finished blob lies on this host; to be read or linked, never written."""
