"""The contract of a container engine driver.

A driver does not assume that containers run on this host: nothing here is a process id, and of
paths there are only those of ``Bind``, for engines that see our files. Exit and output are learned
from streams and events of the engine, never by polling.

Every method maps the engine's faults to the leaves of DriverError: EngineUnavailableError when
the engine does not answer or vanishes in mid-call, EngineTimeoutError when it is too slow.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from abaco.domain.execution import ExecutionKey
from abaco.domain.execution import Exit as Exit
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An account at a registry. The password is never part of an error or a log line."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What a driver talks to. ``endpoint`` is shown as a worker's ``location``.

    Attributes:
        sees_our_files: Whether containers can be given files of this host (``Bind``).

    """

    driver: str
    version: str
    endpoint: str
    sees_our_files: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """An image on the engine's host. ``id`` is the content id (``sha256:...``).

    Attributes:
        digest: ``name@sha256:...`` by which a registry hands out this very image; empty when no
            registry of the reference is known to have it.
        tags: All names with tags it has on the host, as the engine spells them.
        repositories: Names, without tag and digest, of all it is called on the host.
        size_bytes: What the engine says it takes; layers count for every image that has them.
        has_command: Whether it says what to run.
        is_pulled: It was pulled by the call that returned this.

    """

    reference: str
    id: str
    digest: str = ""
    tags: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    size_bytes: int = 0
    has_command: bool = True
    is_pulled: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds for one container; None means none.

    Units: memory_bytes bytes; nano_cpus 1e-9 CPU; pids processes and threads.
    """

    memory_bytes: int | None = None
    nano_cpus: int | None = None
    pids: int | None = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file, socket or directory of the host, put into a container.

    Both paths are absolute. What the host does not have is not made: the start fails. What is
    mounted below a directory comes along, unless the bind is read-only: nothing below that can be
    written.
    """

    host_path: str
    container_path: str
    is_read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Everything about a container that is known before its message comes."""

    image: ImageInfo
    tenant: Tenant
    actor_id: ActorId
    worker_id: WorkerId
    revision: int
    limits: Limits = field(default_factory=Limits)
    #: ``uid``, ``uid:gid`` or None for the image's own
    user: str | None = None
    privileged: bool = False
    #: network mode as engines call it (``none`` cuts it off); None for the driver's own
    network: str | None = None
    #: mounts and a /tmp of bounded size are all that can be written
    read_only_rootfs: bool = False
    #: what every container of the spec is given, whatever its message
    binds: tuple[Bind, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A container, or the plan of one, that waits for its context; used once."""

    id: str
    spec: ContainerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What one execution's container is given when its message comes."""

    execution: ExecutionKey
    #: fences: part of the container's name and labels
    attempt: int
    #: complete, rendered to text; wins over the image's ENV
    environment: Mapping[str, str]
    #: what only this execution is given, beside the binds of the spec
    binds: tuple[Bind, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedContainer:
    """A container with this instance's labels, as found on the engine."""

    container_id: str
    tenant: Tenant
    actor_id: ActorId
    execution_id: ExecutionId
    worker_id: WorkerId
    attempt: int
    is_running: bool


class Running(Protocol):
    """A container whose program has been started (it may have ended since)."""

    container_id: str
    #: engine's clock, aware UTC
    started_at: datetime

    @abstractmethod
    def output(self, offset: int = 0) -> AsyncIterator[bytes]:
        """Stream stdout and stderr merged, from byte ``offset`` of the whole output on.

        Ends when the container has ended and every byte was given. The same offset always
        means the same byte, also after a restart of this process. One consumer at a time.
        """

    @abstractmethod
    async def wait(self) -> Exit:
        """Wait for the end. Any number of calls, also after the end, give the same Exit.

        Raises ContainerMissingError when the container is gone without a trace.
        """

    @abstractmethod
    async def stop(self, grace_s: float) -> None:
        """Ask the program to end (SIGTERM), and after ``grace_s`` seconds make it (SIGKILL).

        Returns when it has ended. Stopping an ended container is no error. Raises
        StopFailedError when it survives.
        """


class ImageHost(Protocol):
    """The images on an engine's host."""

    @abstractmethod
    async def find_image(self, reference: str) -> ImageInfo | None:
        """Look for an image by name or content id. A name without tag means ``:latest``."""

    @abstractmethod
    async def pull_image(
        self,
        reference: str,
        *,
        timeout_s: float,
        may_keep: bool,
        credentials: Credentials | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> ImageInfo:
        """Ask the reference's registry, and bring the image to the engine's host.

        A name without tag means ``:latest``. With ``may_keep``, a failed pull of an image that is
        present is no error: images built on the host keep working. Without, it is: who may not
        have it at the registry shall not have it here. Raises ImageMissingError with a text that
        says what was tried. ``credentials`` are for the reference's registry. ``progress``
        receives short lines for people.
        """

    @abstractmethod
    async def list_images(self) -> Mapping[str, int]:
        """Return the size in bytes of every image on the host, by content id."""

    @abstractmethod
    async def remove_image(self, image_id: str, references: Collection[str]) -> bool:
        """Remove an image, unless a container has it or it has a tag not among ``references``.

        Returns whether it is gone; one that is not there is.
        """


class Driver(ImageHost, Protocol):
    """One container engine."""

    @abstractmethod
    async def info(self) -> EngineInfo:
        """Answer quickly and truthfully whether the engine is there (else raise)."""

    @abstractmethod
    async def prepare(self, spec: ContainerSpec) -> Slot:
        """Get ready to run one container of this spec.

        Raises StartFailedError, also for an image that does not say what to run, and
        ImageMissingError. May cost no call to the engine: an image that is gone shows at
        ``dispatch`` at the latest.
        """

    @abstractmethod
    async def dispatch(self, slot: Slot, context: Context) -> Running:
        """Give the slot its context and start the user's program; uses the slot up.

        Raises StartFailedError or ImageMissingError when the program certainly did not start;
        nothing is left behind then. After EngineUnavailableError or EngineTimeoutError the
        container may or may not exist: ``list_owned`` tells.
        """

    @abstractmethod
    async def discard(self, slot: Slot) -> None:
        """Give a slot back unused. Idempotent."""

    @abstractmethod
    async def adopt(self, container_id: str) -> Running:
        """Take over a container that an earlier process, or a broken call, left.

        Raises ContainerMissingError; StartFailedError when it was created but never started.
        """

    @abstractmethod
    async def list_owned(self) -> list[OwnedContainer]:
        """List every container labelled as this instance's, ended ones too."""

    @abstractmethod
    async def remove(self, container_id: str) -> None:
        """Kill if need be, and remove. Removing what is not there is no error."""
