"""What carries channels: queues of frames by name. See ``abaco.channels``."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

#: how names of channels begin that are made for one purpose and known to few; they exist from
#: ``open`` to ``drop``, and are closed before and after
PRIVATE = "private."


class Transport(Protocol):
    """Carries frames. Delivery is at most once; frames of one name keep their order.

    Every method may raise ChannelUnavailableError when the transport does not answer.
    """

    @abstractmethod
    async def open(self, name: str) -> None:
        """Take ``close`` back. Needed before the first use of a private name only."""

    @abstractmethod
    async def push(self, name: str, frame: bytes, capacity: int, timeout_s: float | None) -> None:
        """Append a frame once fewer than ``capacity`` are there.

        Raises ChannelClosedError, also while waiting, and ChannelTimeoutError.
        """

    @abstractmethod
    async def pop(self, name: str, timeout_s: float | None) -> bytes:
        """Take the oldest frame, each by one caller.

        Raises ChannelClosedError when closed and empty, also while waiting, and
        ChannelTimeoutError.
        """

    @abstractmethod
    async def close(self, name: str) -> None:
        """Refuse what is pushed from now on. Idempotent."""

    @abstractmethod
    async def drop(self, name: str) -> None:
        """Forget a private name and what is in it; those who wait find it closed. Idempotent."""

    @abstractmethod
    async def join(self, name: str, member: str) -> None:
        """Add a private name to the subscribers of a name."""

    @abstractmethod
    async def leave(self, name: str, member: str) -> None:
        """Take it away again. Idempotent."""

    @abstractmethod
    async def members(self, name: str) -> list[str]:
        """Return the subscribers of a name."""
