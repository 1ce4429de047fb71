"""Podman, by its own (libpod) API; its Docker-compatible one polls where this one has events."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from abaco.config import Settings
from abaco.domain.image import DOCKER_HUB, is_content_id, registry_of
from abaco.errors import DriverError
from abaco.ports.driver import EngineInfo
from backends.drivers.abilities import judge_podman
from backends.drivers.accountant import make_accountant
from backends.drivers.containers import Containers
from backends.drivers.engine import EngineDriver, EngineOptions
from backends.drivers.engine_http import EngineHttp
from backends.drivers.engine_wire import EngineReplyError, Query
from backends.drivers.host import EngineNeeds, HostFinding, engine_needs, look
from backends.drivers.images import (
    Image,
    ImageApi,
    Images,
    PullError,
    content_id,
    read_image,
    with_registry,
)
from backends.drivers.opened import OpenedDriver
from backends.drivers.podman_containers import BASE, PodmanDialect
from backends.drivers.podman_service import PodmanService
from backends.drivers.probe import answers
from backends.system import SystemClock

log = logging.getLogger(__name__)


async def ask_info(http: EngineHttp) -> EngineInfo:
    """Ask who answers at the endpoint.

    Raises:
        DriverError: It is not Podman, or too old.

    """
    try:
        version = (await http.call("GET", f"{BASE}/version")).json()
    except EngineReplyError as error:
        raise DriverError(
            f"what answers at {http.endpoint} is not Podman 4 or later: {error.text}"
        ) from error
    return EngineInfo(
        driver="podman",
        version=str(version["Version"]),
        endpoint=http.endpoint,
        sees_our_files=http.socket_path is not None,
    )


#: where Podman files what is built on the host
BUILT_HERE = "localhost"


class PodmanImages(ImageApi):
    """Podman's image calls."""

    def __init__(self, http: EngineHttp) -> None:
        self._http = http

    async def find(self, reference: str) -> Image | None:
        """Look by name or id; a short name also finds what was built on the host.

        Podman itself takes any image whose name ends like the one it looks for, whatever registry
        that is from: it is asked for whole names, and what it finds must have that tag. A digest
        is of one content, wherever that is from, and stays when the names have moved on.
        """
        if is_content_id(reference):
            return await self._inspect(reference)
        whole = with_registry(reference)
        is_short = registry_of(reference) == DOCKER_HUB and not reference.startswith(DOCKER_HUB)
        for name in (f"{BUILT_HERE}/{reference}", whole) if is_short else (whole,):
            image = await self._inspect(name)
            if image is not None and ("@" in name or name in image.tags):
                return image
        return None

    async def _inspect(self, name: str) -> Image | None:
        try:
            reply = await self._http.call("GET", f"{BASE}/images/{name}/json")
        except EngineReplyError as error:
            if error.status == 404:
                return None
            raise
        return read_image(reply.json())

    async def pull(self, reference: str, headers: Mapping[str, str]) -> AsyncGenerator[str, None]:
        """Pull; the engine reports failures inside an answer that began well."""
        query = {"reference": with_registry(reference)}
        async with self._http.stream(
            "POST", f"{BASE}/images/pull", query=query, headers=headers, answers_late=True
        ) as stream:
            async for line in stream.lines():
                report = json.loads(line)
                if "error" in report:
                    raise PullError(str(report["error"]))
                if text := str(report.get("stream", "")).strip():
                    yield text

    async def sizes(self) -> Mapping[str, int]:
        """List all images."""
        reply = await self._http.call("GET", f"{BASE}/images/json")
        return {content_id(str(item["Id"])): int(item["Size"]) for item in reply.json() or ()}

    async def is_used(self, image_id: str) -> bool:
        """List the containers of the image, and of what was made of it."""
        query: Query = {
            "all": True,
            "filters": json.dumps({"ancestor": [image_id.removeprefix("sha256:")]}),
        }
        reply = await self._http.call("GET", f"{BASE}/containers/json", query=query)
        return bool(reply.json())

    async def remove(self, name: str) -> None:
        """Remove without force: the engine refuses what containers have."""
        await self._http.call("DELETE", f"{BASE}/images/{name}", query={"force": False})


def build_driver(
    http: EngineHttp, settings: Settings, instance_id: str, needs: EngineNeeds
) -> EngineDriver:
    """Build a driver on an engine's endpoint."""
    accountant = make_accountant(settings, None)
    dialect = PodmanDialect(http, ulimits=needs.ulimits, accountant=accountant)
    return EngineDriver(
        info=lambda: ask_info(http),
        images=Images(PodmanImages(http), settings.runtime.max_parallel_pulls),
        containers=Containers(http, dialect, accountant),
        instance_id=instance_id,
        options=EngineOptions.of(settings),
        clock=SystemClock(),
    )


@asynccontextmanager
async def open_service(settings: Settings, instance_id: str) -> AsyncIterator[OpenedDriver]:
    """Open a driver on ``[engine] podman_socket``; the service need not be there yet."""
    needs = engine_needs(look(), runtime=settings.engine.runtime)
    http = EngineHttp(settings.engine.podman_socket, timeout_s=settings.engine.call_timeout_s)
    driver = build_driver(http, settings, instance_id, needs)
    try:
        yield OpenedDriver(driver=driver, examine=lambda: examine(http, settings))
    finally:
        await driver.close()


@asynccontextmanager
async def open_embedded(settings: Settings, instance_id: str) -> AsyncIterator[OpenedDriver]:
    """Open a driver on a Podman service that is Abaco's own child.

    Raises:
        ConfigError: Podman is not installed.

    """
    needs = engine_needs(look(), runtime=settings.engine.runtime)
    service = PodmanService(settings.general.data_dir / "podman.sock", needs)
    async with service:
        http = EngineHttp(service.endpoint, timeout_s=settings.engine.call_timeout_s)
        driver = build_driver(http, settings, instance_id, needs)
        try:
            yield OpenedDriver(
                driver=driver,
                agents={"engine-service": service.run},
                examine=lambda: examine(http, settings),
            )
        finally:
            await driver.close()


@asynccontextmanager
async def open_driver(settings: Settings, instance_id: str) -> AsyncIterator[OpenedDriver]:
    """Open a driver on Podman: on the service there is, else on one of our own.

    With an endpoint configured, that is the one, whether it answers now or not.
    """
    is_default = "podman_socket" not in settings.engine.model_fields_set
    use_own = False
    if is_default and look().programs.get("podman"):
        use_own = not await answers("Podman", settings.engine.podman_socket, ask_info)
    opening = open_embedded if use_own else open_service
    async with opening(settings, instance_id) as opened:
        yield opened


async def examine(http: EngineHttp, settings: Settings) -> list[HostFinding]:
    """Ask the engine what it cannot hold containers to."""
    reply = await http.call("GET", f"{BASE}/info")
    return list(judge_podman(reply.json(), settings.engine))
