"""The driver of a real engine: the port's promises, on top of the engine's calls."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from abaco.config import Settings
from abaco.domain.limits import NO_NETWORK
from abaco.errors import ImageMissingError, StartFailedError
from abaco.ports.clock import Clock
from abaco.ports.driver import (
    ContainerSpec,
    Context,
    Credentials,
    Driver,
    EngineInfo,
    Exit,
    ImageInfo,
    OwnedContainer,
    Running,
    Slot,
)
from abaco.settings.extra_hosts import HOST_GATEWAY
from backends.drivers.confinement import Confinement
from backends.drivers.containers import Containers, Plan
from backends.drivers.engine_wire import EngineReplyError
from backends.drivers.images import Images
from backends.drivers.labels import INSTANCE, container_name, make_labels, read_labels
from backends.drivers.running import EngineRunning
from backends.drivers.state import Inspection, is_running

#: The engine's copy of the output is cut from this size on; far above what is stored, because
#: a cut loses the count of bytes too.
MIN_LOG_BYTES = 100_000_000
LOG_FACTOR = 20

#: what engines say of a failed start, and what it means to the owner of the actor
_HINTS = (
    ("exec format error", "the image's program is not one this machine can run"),
    ("executable file not found", "the image does not have the command it names"),
    ("no such file or directory", "the image does not have the command or directory it names"),
    ("permission denied", "the image's command may not be executed"),
    ("unable to find user", "the image does not have the user it is to run as"),
    ("no users found", "the image does not have the user it is to run as"),
    ("unable to apply caps", "the engine lacks capabilities a privileged container is to have"),
    ("pquota", "[engine] rootfs_size needs another file system below the engine's images"),
    ("storage-opt", "[engine] rootfs_size needs another file system below the engine's images"),
    ("docker-init", "the engine's host lacks docker-init (Debian package tini)"),
    ("container-init binary", "the engine's host lacks an init (Debian package catatonit)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What the settings say to every engine."""

    #: network mode of containers whose spec names none
    network: str
    confinement: Confinement
    #: output the engine keeps of each container
    log_bytes: int
    #: containers in creation or start at one time
    max_creates: int
    #: seconds a call may take
    call_timeout_s: float
    #: more names that containers resolve
    extra_hosts: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> EngineOptions:
        """Pick from all settings."""
        return cls(
            network=settings.engine.network,
            confinement=Confinement.of(settings.engine),
            log_bytes=max(MIN_LOG_BYTES, LOG_FACTOR * settings.web.max_log_length),
            max_creates=settings.engine.max_creates,
            call_timeout_s=settings.engine.call_timeout_s,
            extra_hosts=settings.engine.extra_hosts,
        )


def hosts_in(network: str, items: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that can be told in a network.

    In that of the host, the host is reached by its own loopback; without a network, not at all.
    """
    if network == "host":
        return tuple(item.replace(f":{HOST_GATEWAY}", ":127.0.0.1") for item in items)
    if network == NO_NETWORK:
        return tuple(item for item in items if not item.endswith(f":{HOST_GATEWAY}"))
    return items


class EngineDriver(Driver):
    """Driver of one real engine.

    Args:
        info: Asks the engine who it is.
        images: Its images.
        containers: Its containers.
        instance_id: Owner of everything made here.
        options: What the settings say.
        clock: Wall time.

    """

    def __init__(
        self,
        *,
        info: Callable[[], Awaitable[EngineInfo]],
        images: Images,
        containers: Containers,
        instance_id: str,
        options: EngineOptions,
        clock: Clock,
    ) -> None:
        self._info = info
        self._images = images
        self.containers = containers
        self._instance_id = instance_id
        self._options = options
        self._creates = asyncio.Semaphore(options.max_creates)
        self._clock = clock
        self._tasks: set[asyncio.Task[Exit]] = set()

    async def info(self) -> EngineInfo:
        """Ask the engine for its version."""
        return await self._info()

    async def find_image(self, reference: str) -> ImageInfo | None:
        """Look for the image."""
        return await self._images.find(reference)

    async def list_images(self) -> Mapping[str, int]:
        """List all images with their sizes."""
        return await self._images.sizes()

    async def remove_image(self, image_id: str, references: Collection[str]) -> bool:
        """Remove an image that nobody uses."""
        return await self._images.remove(image_id, references)

    async def pull_image(
        self,
        reference: str,
        *,
        timeout_s: float,
        may_keep: bool,
        credentials: Credentials | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> ImageInfo:
        """Bring the image from its registry."""
        return await self._images.pull(
            reference,
            timeout_s=timeout_s,
            may_keep=may_keep,
            credentials=credentials,
            progress=progress or (lambda line: None),
        )

    async def prepare(self, spec: ContainerSpec) -> Slot:
        """Make a plan, without a call: an image that is gone shows when it is carried out."""
        if not spec.image.has_command:
            raise StartFailedError(
                f"image {spec.image.reference!r} does not say what to run (no CMD or ENTRYPOINT)"
            )
        return Slot(id=secrets.token_hex(16), spec=spec)

    async def dispatch(self, slot: Slot, context: Context) -> Running:
        """Create and start the container, named after the execution and its attempt."""
        network = slot.spec.network or self._options.network
        plan = Plan(
            name=container_name(context),
            spec=slot.spec,
            environment=context.environment,
            binds=(*slot.spec.binds, *context.binds),
            labels=make_labels(self._instance_id, slot.spec, context),
            network=network,
            confinement=self._options.confinement,
            log_bytes=self._options.log_bytes,
            extra_hosts=hosts_in(network, self._options.extra_hosts),
        )
        async with self._creates:
            try:
                container_id = await self.containers.create(plan)
            except EngineReplyError as error:
                if not _is_name_taken(error):
                    raise _create_error(slot.spec, error) from error
                return await self._reuse(plan)
            return await self._start(container_id, slot.spec)

    async def _reuse(self, plan: Plan) -> Running:
        """Deal with a container that has the name already.

        Name and labels say that it was made for this very attempt, by a call whose answer was
        lost: what has been started is this call's result, what has not is made again.
        """
        seen = await self.containers.inspect(plan.name)
        if dict(seen.labels).get(INSTANCE) != self._instance_id:
            raise StartFailedError(f"another container is named {plan.name!r}")
        if seen.was_started:
            return self._attach(seen)
        await self.containers.remove(seen.container_id)
        try:
            container_id = await self.containers.create(plan)
        except EngineReplyError as error:
            raise _create_error(plan.spec, error) from error
        return await self._start(container_id, plan.spec)

    async def _start(self, container_id: str, spec: ContainerSpec) -> Running:
        try:
            await self.containers.start(container_id, spec)
        except EngineReplyError as error:
            await self.containers.remove(container_id)
            raise _start_error(error) from error
        seen = await self.containers.inspect(container_id)
        self.containers.watch(seen)
        return self._running(seen)

    async def discard(self, slot: Slot) -> None:
        """Do nothing: a plan holds nothing."""

    async def adopt(self, container_id: str) -> Running:
        """Look at the container and take it over."""
        seen = await self.containers.inspect(container_id)
        if not seen.was_started:
            raise StartFailedError(f"container {container_id[:12]} was created but never started")
        return self._attach(seen)

    def _attach(self, seen: Inspection) -> Running:
        if seen.is_running:
            self.containers.attach(seen)
        return self._running(seen)

    def _running(self, seen: Inspection) -> EngineRunning:
        started_at: datetime = seen.started_at or self._clock.now()
        return EngineRunning(
            self.containers,
            seen.container_id,
            started_at,
            clock=self._clock,
            call_timeout_s=self._options.call_timeout_s,
            tasks=self._tasks,
        )

    async def list_owned(self) -> list[OwnedContainer]:
        """List by label; control groups left by containers that are gone are removed."""
        groups = await self.containers.list_groups()
        listed = [
            read_labels(
                str(item["Id"]), item.get("Labels") or {}, is_running=is_running(str(item["State"]))
            )
            for item in await self.containers.list(self._instance_id)
        ]
        found = [item for item in listed if item is not None]
        await self.containers.sweep_groups(groups, found)
        return found

    async def remove(self, container_id: str) -> None:
        """Kill and remove."""
        await self.containers.remove(container_id)

    async def close(self) -> None:
        """Stop waiting for ends; the containers run on."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.containers.close()


def _is_name_taken(error: EngineReplyError) -> bool:
    # Podman's API calls everything an internal error
    return error.status == 409 or (error.status == 500 and "already in use" in error.text)


def _create_error(spec: ContainerSpec, error: EngineReplyError) -> Exception:
    text = error.text.lower()
    if "no such image" in text or "image not known" in text:
        return ImageMissingError(
            f"image {spec.image.reference!r} is gone from the host", detail=error.text
        )
    return _start_error(error)


def _start_error(error: EngineReplyError) -> StartFailedError:
    text = error.text.lower()
    hint = next((hint for sign, hint in _HINTS if sign in text), "")
    reason = f"{hint} ({error.text})" if hint else error.text
    return StartFailedError(f"the container could not be started: {reason}")
