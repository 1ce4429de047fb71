"""The contract of the files between this process and a container.

Each attempt has a place of its own, a directory below that of its worker; what is in there is
bound into the container. Methods raise StartFailedError when this host cannot make the files.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, Protocol

from abaco.domain.execution import Execution
from abaco.ports.driver import Bind


class Place(NamedTuple):
    """Names an attempt's directory: first the worker's, in it the attempt's own."""

    worker: str
    attempt: str


def place_of(execution: Execution) -> Place:
    """Return the place of a claimed execution's present attempt."""
    return Place(str(execution.worker_id), f"{execution.id}.{execution.attempt}")


class Delivery(NamedTuple):
    """A file that becomes the container's message; as a pipe, for images that want one."""

    path: str
    as_pipe: bool = False


class Datagram(NamedTuple):
    """What a container sent at once. ``data`` is empty when ``size_bytes`` is above the limit."""

    data: bytes
    size_bytes: int


class LeftNames(NamedTuple):
    """The first names of the files the container left, in order; ``total`` counts all."""

    names: list[str]
    total: int


class LeftFile(NamedTuple):
    """A file the container left to become a result; ``data`` is None where ``fault`` says why."""

    name: str
    data: bytes | None
    fault: str = ""


class Ipc(Protocol):
    """The files of one attempt."""

    #: for the container's context
    binds: tuple[Bind, ...]

    @abstractmethod
    async def receive(self) -> list[Datagram]:
        """Wait for results; return some of those that came, in order, none of them empty.

        What is not asked for stays with the kernel, which makes the sender wait. Returns an empty
        list once ``end`` was called and everything sent before was returned.
        """

    @abstractmethod
    def end(self) -> None:
        """Say that nothing more will be sent. Idempotent."""

    @abstractmethod
    async def list_left(self, *, limit: int) -> LeftNames:
        """Return the names of the files the container left as results, in order.

        Ask when it has ended: the answer is the same then as often as you ask. Names that begin
        with a dot are none.
        """

    @abstractmethod
    async def read_left(self, name: str, *, max_bytes: int) -> LeftFile:
        """Read such a file. What is no plain file, or too large, is not read, and links neither."""

    @abstractmethod
    def detach(self) -> None:
        """Let go of everything and leave the files for a later process. Idempotent."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything and remove the files. Idempotent."""


class IpcHost(Protocol):
    """Makes the files of attempts, and clears them up."""

    @abstractmethod
    async def open(
        self,
        place: Place,
        *,
        max_result_bytes: int,
        delivery: Delivery | None,
        takes_files: bool = False,
    ) -> Ipc:
        """Make the files of an attempt that is about to start; earlier ones there are removed.

        With ``takes_files`` the container may leave files as results.

        Raises TooLargeError when a pipe cannot hold the message, NotFoundError when the message's
        file is not there.
        """

    @abstractmethod
    def adopt(self, place: Place) -> Ipc:
        """Return what is left of the files of an attempt that an earlier process started.

        Nothing can be received any more; files may have been left.
        """

    @abstractmethod
    async def list_places(self) -> list[Place]:
        """Return every place there are files at."""

    @abstractmethod
    async def remove(self, places: list[Place]) -> None:
        """Remove files; what is not there is passed over."""
