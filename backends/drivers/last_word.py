"""The end of a container, also when its engine never says that it has ended.

Engines lose ends. Podman does when its monitor is killed, or finds no room to note the end on a
disk the container has filled: for the engine the container runs for ever. Docker does when its
containerd goes away and is back: it waits for a notice that is not sent again, but looks for
itself as soon as it shall kill the container, and then knows the exit code after all. (Measured
2026-11, Podman 4.3 and Docker 20.10.)

So what waits for the engine waits for the first process as well, where that can be watched, and
gives the engine some time after its end. Then the container is killed, by the engine's own call.
What the engine still does not know after that, nobody will.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from abaco.errors import ContainerMissingError, DriverError
from abaco.ports.clock import Clock
from backends.drivers.state import Inspection

log = logging.getLogger(__name__)

#: Seconds an engine gets to say what the kernel has said already. It takes some 10 ms; more only
#: if many containers end at the same time.
UNTOLD_S = 15.0
#: seconds between two tries to make the engine look; containerd may just be coming back
KILL_PAUSES_S = (0.2, 1.0, 2.0, 4.0)
#: Seconds within which the end of a program is known, with or without the engine; Podman itself
#: takes 20 to give a monitor up.
LAST_WORD_S = 45.0
#: what Docker says of an end that containerd did not see either
UNSEEN_CODE = 255


class EndUnseenError(DriverError):
    """The engine says that it will not learn of the end.

    Args:
        container_id: Of which container.
        text: The engine's own words.

    """

    def __init__(self, container_id: str, text: str) -> None:
        super().__init__(f"the engine lost sight of container {container_id[:12]}", detail=text)


class Watched(Protocol):
    """What is asked about containers here; see ``Containers``."""

    async def ended(self, container_id: str) -> None:
        """Wait for the engine's word."""

    async def gone(self, container_id: str) -> None:
        """Wait for the kernel's word, perhaps for ever."""

    async def is_alive(self, container_id: str) -> bool:
        """Tell whether the kernel says that the program runs."""

    async def inspect(self, container_id: str) -> Inspection:
        """Look."""

    async def kill(self, container_id: str) -> None:
        """Send SIGKILL, or find it ended or gone."""

    async def remove(self, container_id: str) -> None:
        """Kill and remove."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """An end, as far as it is known."""

    #: the last look; of an end that was not seen, the engine may say that it runs
    seen: Inspection
    noticed_at: datetime
    #: whether the exit code means anything
    was_seen: bool = True


async def learn_end(containers: Watched, container_id: str, clock: Clock) -> End:
    """Wait until the container has ended, and look.

    Raises:
        ContainerMissingError: It is gone, or had to be removed while its program ran, because
            the engine had lost hold of it.
        DriverError: The engine does not answer, or stopped waiting.

    """
    async with _both(containers, container_id) as (told, gone):
        await asyncio.wait({told, gone}, return_when=asyncio.FIRST_COMPLETED)
        noticed_at = clock.now()
        if not told.done():
            await gone
            await asyncio.wait({told}, timeout=UNTOLD_S)
        if told.done() and not isinstance(told.exception(), EndUnseenError):
            await told
            seen = await containers.inspect(container_id)
            if not seen.is_running:
                return End(seen=seen, noticed_at=noticed_at)
            raise DriverError(f"the engine stopped waiting for container {container_id[:12]}")
    log.warning("the engine does not say that container %s has ended", container_id[:12])
    return await _make_sure(containers, container_id, noticed_at)


@asynccontextmanager
async def _both(
    containers: Watched, container_id: str
) -> AsyncIterator[tuple[asyncio.Task[None], asyncio.Task[None]]]:
    """Wait for the engine's and for the kernel's word."""
    told = asyncio.create_task(containers.ended(container_id))
    gone = asyncio.create_task(containers.gone(container_id))
    try:
        yield told, gone
    finally:
        told.cancel()
        gone.cancel()
        await asyncio.gather(told, gone, return_exceptions=True)


async def _make_sure(containers: Watched, container_id: str, noticed_at: datetime) -> End:
    """Kill, so that the engine looks again, and the program has ended in any case."""
    was_alive = await containers.is_alive(container_id)
    seen = await containers.inspect(container_id)
    for pause_s in KILL_PAUSES_S:
        if not seen.is_running:
            break
        await containers.kill(container_id)
        await asyncio.sleep(pause_s)
        seen = await containers.inspect(container_id)
    if was_alive:  # it did not end, it was ended: as if it had gone down with its engine
        await containers.remove(container_id)
        raise ContainerMissingError(f"the engine had lost hold of container {container_id[:12]}")
    was_seen = not seen.is_running and seen.exit_code != UNSEEN_CODE
    return End(seen=seen, noticed_at=noticed_at, was_seen=was_seen)
