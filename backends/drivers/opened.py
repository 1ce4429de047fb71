"""What opening a driver yields."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from abaco.config import Settings
from abaco.ports.driver import Driver
from backends.drivers.host import HostFinding

Agent = Callable[[], Awaitable[None]]
Examine = Callable[[], Awaitable[Sequence[HostFinding]]]


async def _nothing() -> Sequence[HostFinding]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedDriver:
    """A driver, and the long-lived coroutines it needs, to be run under supervision by name.

    Attributes:
        examine: Asks the engine what it cannot hold containers to. Raises DriverError.

    """

    driver: Driver
    agents: Mapping[str, Agent] = field(default_factory=dict)
    examine: Examine = _nothing


class DriverFactory(Protocol):
    """How every driver module is opened."""

    def __call__(
        self, settings: Settings, instance_id: str
    ) -> AbstractAsyncContextManager[OpenedDriver]:
        """Open a driver whose containers belong to ``instance_id``."""
        ...
