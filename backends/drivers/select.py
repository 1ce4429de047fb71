"""Open the driver the settings name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from abaco.config import Settings
from backends.drivers.opened import OpenedDriver
from backends.registry import find_driver


def open_driver(settings: Settings, instance_id: str) -> AbstractAsyncContextManager[OpenedDriver]:
    """Open the driver that ``[engine] driver`` names.

    Args:
        settings: All settings; the driver takes what it needs.
        instance_id: Owner of the containers; ``list_owned`` shows no other's.

    Raises:
        ConfigError: The name is unknown, or (auto) no engine can be had.

    """
    return find_driver(settings.engine.driver)(settings, instance_id)
