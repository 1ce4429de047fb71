"""Find an engine: Docker if it answers, else Podman, else a Podman service of our own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from abaco.config import Settings
from abaco.errors import ConfigError
from backends.drivers import docker, podman
from backends.drivers.host import look
from backends.drivers.opened import DriverFactory, OpenedDriver
from backends.drivers.probe import answers

log = logging.getLogger(__name__)


async def choose(settings: Settings) -> tuple[str, DriverFactory]:
    """Return the name of what was found, and how to open it.

    Raises:
        ConfigError: Nothing answers and Podman is not installed; says what to do.

    """
    if await answers("Docker", settings.engine.docker_socket, docker.ask_info):
        return "docker", docker.open_driver
    if await answers("Podman", settings.engine.podman_socket, podman.ask_info):
        return "podman", podman.open_service
    if "podman" in look().programs:
        return "embedded podman", podman.open_embedded
    raise ConfigError(
        "engine.driver: no container engine. Neither Docker answers at"
        f" {settings.engine.docker_socket} nor Podman at {settings.engine.podman_socket}, and"
        " podman is not installed. Install one (Debian: apt install podman), start Docker, or"
        " set [engine] docker_socket or podman_socket"
    )


@asynccontextmanager
async def open_driver(settings: Settings, instance_id: str) -> AsyncIterator[OpenedDriver]:
    """Open a driver on whatever engine there is."""
    name, opening = await choose(settings)
    log.info("container engine: %s", name)
    async with opening(settings, instance_id) as opened:
        yield opened
