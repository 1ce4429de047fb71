"""A fake engine that follows a script: for tests and for trying the API without an engine.

``ScriptedEngine`` plays the engine's part: it holds images and containers, survives the driver
(so that adoption can be tested), can be switched off, and remembers what it was asked.
``ScriptedDriver`` is the adapter to it. A container has no task of its own: what it has printed
and whether it has ended follows from the time since its start, as written in its ``Act``.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from abaco.config import Settings
from abaco.domain.image import repository_of
from abaco.errors import (
    ContainerMissingError,
    EngineTimeoutError,
    EngineUnavailableError,
    ImageMissingError,
    StartFailedError,
)
from abaco.ports.driver import (
    Bind,
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
from backends.drivers.opened import OpenedDriver
from backends.drivers.script import (
    DEFAULT_PLAYS,
    SIGKILL_CODE,
    SIGTERM_CODE,
    Act,
    Play,
    Script,
    print_message,
    send_results,
)
from backends.drivers.state import engine_time

__all__ = [
    "DEFAULT_PLAYS",
    "Act",
    "Container",
    "Play",
    "Script",
    "ScriptedDriver",
    "ScriptedEngine",
    "open_driver",
    "print_message",
]


class Container:
    """One container of the fake engine. Times are monotonic seconds."""

    def __init__(self, slot: Slot, context: Context, act: Act, instance_id: str) -> None:
        self.id = secrets.token_hex(32)
        self.instance_id = instance_id
        self.slot = slot
        self.context = context
        self.act = act
        self.started_at = datetime.now(UTC)
        #: None once it ended unseen
        self.exit_code: int | None = act.exit_code
        self._start = time.monotonic()
        self._chunks: list[tuple[float, bytes]] = []
        at = 0.0
        for item in act.output:
            if isinstance(item, bytes):
                self._chunks.append((at, item))
            else:
                at += item
        #: seconds after the start
        self._end = math.inf if act.until_stopped else at

    @property
    def age_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def has_ended(self) -> bool:
        """Whether the program has ended."""
        return self.age_s >= self._end

    def printed(self) -> bytes:
        """Return everything printed so far."""
        until = min(self.age_s, self._end)
        return b"".join(chunk for at, chunk in self._chunks if at <= until)

    def next_change_s(self) -> float | None:
        """Return the seconds until it prints or ends by itself; None when it never does."""
        age = self.age_s
        coming = [at for at, _ in self._chunks if at > age] + [self._end]
        soonest = min(coming)
        return None if math.isinf(soonest) else max(0.0, soonest - age)

    def print(self, data: bytes) -> None:
        """Let it print now."""
        self._chunks.append((self.age_s, data))

    def finish(self, exit_code: int | None, after_s: float = 0.0) -> None:
        """Let it end, unless it has; with None, without the engine seeing how."""
        if not self.has_ended:
            self.exit_code = exit_code
            self._end = min(self._end, self.age_s + after_s)

    def exit(self) -> Exit:
        """Describe the end."""
        finished_at = self.started_at + timedelta(seconds=self._end)
        state: dict[str, Any] = {
            "Status": "exited",
            "Running": False,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": self.act.oom_killed,
            "Dead": False,
            "Pid": 0,
            "ExitCode": self.exit_code,
            "Error": "",
            "StartedAt": engine_time(self.started_at),
            "FinishedAt": engine_time(finished_at),
        }
        return Exit(
            exit_code=self.exit_code,
            oom_killed=self.act.oom_killed,
            started_at=self.started_at,
            finished_at=finished_at,
            state=state,
            cpu_ns=self.act.cpu_ns,
            io_bytes=self.act.io_detail.net_rx,
            io_detail=self.act.io_detail,
            memory_peak_bytes=self.act.memory_peak_bytes,
        )


class ScriptedEngine:
    """The engine behind a ScriptedDriver; several drivers may share it."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.containers: dict[str, Container] = {}
        #: references that are on the host
        self.images: set[str] = set()
        #: every call, oldest first: name of the method and its main argument
        self.calls: list[tuple[str, str]] = []
        self.is_down = False
        self._changed = asyncio.Event()

    def called(self, method: str, argument: str = "") -> None:
        """Note a call; raises EngineUnavailableError while the engine is down."""
        self.calls.append((method, argument))
        self.check_up()

    def check_up(self) -> None:
        """Raise EngineUnavailableError while the engine is down."""
        if self.is_down:
            raise EngineUnavailableError("the scripted engine is switched off")

    def go_down(self) -> None:
        """Begin an outage: open and new calls fail, containers live on."""
        self.is_down = True
        self.announce()

    def come_back(self) -> None:
        """End the outage."""
        self.is_down = False
        self.announce()

    def finish(self, container_id: str, exit_code: int | None = 0) -> None:
        """Let a container's program end now."""
        self.containers[container_id].finish(exit_code)
        self.announce()

    def print(self, container_id: str, data: bytes) -> None:
        """Let a container's program print now."""
        self.containers[container_id].print(data)
        self.announce()

    def of_execution(self, execution_id: str) -> list[Container]:
        """Return the containers of one execution, oldest first."""
        found = self.containers.values()
        return [item for item in found if item.context.execution.id == execution_id]

    def announce(self) -> None:
        """Wake everybody who waits for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self, timeout_s: float | None) -> None:
        """Wait for an announced change, or until the time is over."""
        changed = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return


class ScriptedRunning(Running):
    """A started container of the fake engine."""

    def __init__(self, engine: ScriptedEngine, container: Container) -> None:
        self._engine = engine
        self._container = container
        self.container_id = container.id
        self.started_at = container.started_at

    async def output(self, offset: int = 0) -> AsyncIterator[bytes]:
        """Stream what it prints."""
        self._engine.called("output", self.container_id)
        while True:
            ended = self._container.has_ended
            if printed := self._container.printed()[offset:]:
                offset += len(printed)
                yield printed
            if ended:
                return
            await self._next()

    async def wait(self) -> Exit:
        """Wait for the end."""
        self._engine.called("wait", self.container_id)
        while not self._container.has_ended:
            await self._next()
        return self._container.exit()

    async def stop(self, grace_s: float) -> None:
        """Stop as the act says: 143 after SIGTERM, 137 after SIGKILL."""
        self._engine.called("stop", self.container_id)
        if self._container.act.ignores_term:
            self._container.finish(SIGKILL_CODE, after_s=grace_s)
        else:
            self._container.finish(SIGTERM_CODE)
        self._engine.announce()
        while not self._container.has_ended:
            await self._next()

    async def _next(self) -> None:
        await self._engine.change(self._container.next_change_s())
        self._engine.check_up()
        if self.container_id not in self._engine.containers:
            raise ContainerMissingError(f"no container {self.container_id}")


class ScriptedDriver(Driver):
    """Driver of a ScriptedEngine.

    Args:
        engine: The fake engine; keep it to look at what happened.
        instance_id: Owner of the containers, as with real engines.

    """

    def __init__(self, engine: ScriptedEngine, instance_id: str = "scripted") -> None:
        self.engine = engine
        self._instance_id = instance_id

    async def info(self) -> EngineInfo:
        """Answer whether the fake is switched on."""
        self.engine.called("info")
        return EngineInfo(driver="scripted", version="1", endpoint="scripted://")

    async def find_image(self, reference: str) -> ImageInfo | None:
        """Look for the image, by name or id."""
        self.engine.called("find_image", reference)
        name = next((name for name in self.engine.images if reference in (name, _id(name))), None)
        return None if name is None else _describe(name)

    async def list_images(self) -> Mapping[str, int]:
        """List all images, each a byte large."""
        self.engine.called("list_images")
        return {_id(name): 1 for name in self.engine.images}

    async def remove_image(self, image_id: str, references: Collection[str]) -> bool:
        """Remove an image without a container."""
        self.engine.called("remove_image", image_id)
        used = {item.slot.spec.image.id for item in self.engine.containers.values()}
        if image_id in used:
            return False
        self.engine.images -= {name for name in self.engine.images if _id(name) == image_id}
        return True

    async def pull_image(
        self,
        reference: str,
        *,
        timeout_s: float,
        may_keep: bool,
        credentials: Credentials | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> ImageInfo:
        """Take the script's time; fails for its missing images."""
        self.engine.called("pull_image", reference)
        script = self.engine.script
        if script.is_missing(reference):
            raise ImageMissingError(f"image {reference!r} is neither here nor in a registry")
        if progress is not None:
            progress(f"pulling {reference}")
        if script.pull_delay_s > timeout_s:
            await asyncio.sleep(timeout_s)
            raise EngineTimeoutError(f"pulling {reference!r} took longer than {timeout_s} s")
        await asyncio.sleep(script.pull_delay_s)
        self.engine.check_up()
        self.engine.images.add(reference)
        return _describe(reference, is_pulled=True)

    async def prepare(self, spec: ContainerSpec) -> Slot:
        """Return a plan."""
        self.engine.called("prepare", spec.image.reference)
        return Slot(id=secrets.token_hex(8), spec=spec)

    async def dispatch(self, slot: Slot, context: Context) -> Running:
        """Start the act the script has for it."""
        self.engine.called("dispatch", context.execution.id)
        if slot.spec.image.id not in map(_id, self.engine.images):
            raise ImageMissingError(f"image {slot.spec.image.reference!r} is gone")
        act = self.engine.script.act(slot, context)
        await asyncio.sleep(act.start_delay_s)
        self.engine.check_up()
        if act.start_error is not None:
            raise StartFailedError(f"container could not be started: {act.start_error}")
        if missing := _missing(*slot.spec.binds, *context.binds):
            raise StartFailedError(f"container could not be started: {missing} does not exist")
        container = Container(slot, context, act, self._instance_id)
        self.engine.containers[container.id] = container
        if act.results:
            await send_results(context, act.results)
        if act.reply_lost:
            raise EngineUnavailableError("the engine's answer was lost")
        return ScriptedRunning(self.engine, container)

    async def discard(self, slot: Slot) -> None:
        """Note the call; a plan holds nothing."""
        self.engine.called("discard", slot.id)

    async def adopt(self, container_id: str) -> Running:
        """Take over a container that was left."""
        self.engine.called("adopt", container_id)
        container = self.engine.containers.get(container_id)
        if container is None:
            raise ContainerMissingError(f"no container {container_id}")
        return ScriptedRunning(self.engine, container)

    async def list_owned(self) -> list[OwnedContainer]:
        """List this instance's containers."""
        self.engine.called("list_owned")
        return [
            OwnedContainer(
                container_id=item.id,
                tenant=item.slot.spec.tenant,
                actor_id=item.slot.spec.actor_id,
                execution_id=item.context.execution.id,
                worker_id=item.slot.spec.worker_id,
                attempt=item.context.attempt,
                is_running=not item.has_ended,
            )
            for item in self.engine.containers.values()
            if item.instance_id == self._instance_id
        ]

    async def remove(self, container_id: str) -> None:
        """Remove at once."""
        self.engine.called("remove", container_id)
        if container := self.engine.containers.pop(container_id, None):
            container.finish(SIGKILL_CODE)
        self.engine.announce()


def _id(reference: str) -> str:
    """Return the content id of the image that has this name here; a digest says it."""
    if "@" in reference:
        return reference.partition("@")[2]
    return f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}"


def _describe(reference: str, *, is_pulled: bool = False) -> ImageInfo:
    return ImageInfo(
        reference=reference,
        id=_id(reference),
        digest=f"{repository_of(reference)}@{_id(reference)}",
        tags=() if "@" in reference else (reference,),
        repositories=(repository_of(reference),),
        size_bytes=1,
        is_pulled=is_pulled,
    )


def _missing(*binds: Bind) -> str | None:
    """Return the first path that the host does not have."""
    return next((bind.host_path for bind in binds if not Path(bind.host_path).exists()), None)


@asynccontextmanager
async def open_driver(settings: Settings, instance_id: str) -> AsyncIterator[OpenedDriver]:
    """Open a driver on a fake engine of its own."""
    yield OpenedDriver(driver=ScriptedDriver(ScriptedEngine(), instance_id))
