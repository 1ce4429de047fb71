"""The Docker engine, by its own API."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from abaco.config import Settings
from abaco.errors import DriverError
from abaco.ports.driver import ContainerSpec, EngineInfo
from backends.drivers.abilities import judge_docker
from backends.drivers.accountant import Accountant, make_accountant
from backends.drivers.confinement import docker_confinement
from backends.drivers.containers import Containers, Dialect, Plan, Verdict
from backends.drivers.engine import EngineDriver, EngineOptions
from backends.drivers.engine_http import EngineHttp
from backends.drivers.engine_wire import EngineReplyError, Query
from backends.drivers.host import HostFinding
from backends.drivers.images import (
    Image,
    ImageApi,
    Images,
    PullError,
    content_id,
    read_image,
)
from backends.drivers.opened import OpenedDriver
from backends.drivers.state import Inspection
from backends.system import SystemClock

log = logging.getLogger(__name__)

#: the API level everything here is written for: Docker 20.10 and all later engines speak it
API_VERSION = "1.41"
BASE = f"/v{API_VERSION}"
#: where containers that may drive the engine find its socket
ENGINE_SOCKET = "/var/run/docker.sock"


async def ask_info(http: EngineHttp) -> EngineInfo:
    """Ask who answers at the endpoint.

    Raises:
        DriverError: The engine is too old, or too new, for this driver.

    """
    version = (await http.call("GET", "/version")).json()
    if any(part.get("Name") == "Podman Engine" for part in version.get("Components") or ()):
        raise DriverError(f"what answers at {http.endpoint} is Podman; use driver podman for it")
    oldest, newest = str(version.get("MinAPIVersion", "1.12")), str(version["ApiVersion"])
    if not _number(oldest) <= _number(API_VERSION) <= _number(newest):
        raise DriverError(
            f"the Docker engine at {http.endpoint} speaks API {oldest} to {newest};"
            f" {API_VERSION} is needed (Docker 20.10 or later)"
        )
    return EngineInfo(
        driver="docker",
        version=str(version["Version"]),
        endpoint=http.endpoint,
        sees_our_files=http.socket_path is not None,
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


async def ask_cgroup_driver(http: EngineHttp) -> str:
    """Ask how the engine manages control groups: cgroupfs, systemd or none."""
    return str((await http.call("GET", f"{BASE}/info")).json().get("CgroupDriver", ""))


class DockerImages(ImageApi):
    """Docker's image calls."""

    def __init__(self, http: EngineHttp) -> None:
        self._http = http

    async def find(self, reference: str) -> Image | None:
        """Look by name or id."""
        try:
            reply = await self._http.call("GET", f"{BASE}/images/{reference}/json")
        except EngineReplyError as error:
            if error.status == 404:
                return None
            raise
        return read_image(reply.json())

    async def pull(self, reference: str, headers: Mapping[str, str]) -> AsyncGenerator[str, None]:
        """Pull; the engine reports failures inside an answer that began well."""
        name, separator, digest = reference.partition("@")
        if not separator:
            name, _, digest = reference.rpartition(":")
        query = {"fromImage": name, "tag": digest}
        async with self._http.stream(
            "POST", f"{BASE}/images/create", query=query, headers=headers, answers_late=True
        ) as stream:
            async for line in stream.lines():
                report = json.loads(line)
                if "error" in report:
                    raise PullError(str(report["error"]))
                yield _progress(report)

    async def sizes(self) -> Mapping[str, int]:
        """List all images."""
        reply = await self._http.call("GET", f"{BASE}/images/json")
        return {content_id(str(item["Id"])): int(item["Size"]) for item in reply.json() or ()}

    async def is_used(self, image_id: str) -> bool:
        """List the containers of the image, and of what was made of it."""
        query: Query = {"all": True, "filters": json.dumps({"ancestor": [image_id]})}
        reply = await self._http.call("GET", f"{BASE}/containers/json", query=query)
        return bool(reply.json())

    async def remove(self, name: str) -> None:
        """Remove without force: the engine refuses what containers have."""
        await self._http.call("DELETE", f"{BASE}/images/{name}")


def _progress(report: Mapping[str, Any]) -> str:
    words = (report.get("id"), report.get("status"), report.get("progress"))
    return " ".join(str(word) for word in words if word)


#: where the engine puts a container's control group by itself, with and without systemd
_GROUPS = ("/docker/{}", "/system.slice/docker-{}.scope")


class DockerDialect(Dialect):
    """Docker's container calls.

    Args:
        http: The engine.
        runtime: OCI runtime, None for the engine's default.
        network: Of containers whose spec names none.
        accountant: Whose groups containers are put into.

    """

    base = BASE
    grace_name = "t"

    def __init__(
        self, http: EngineHttp, *, runtime: str | None, network: str, accountant: Accountant
    ) -> None:
        self.remove_query: Query = {"force": True, "v": True}
        self._http = http
        self._runtime = runtime
        self._network = network
        self._accountant = accountant
        #: None until asked
        self._takes_group_paths: bool | None = None

    async def resolve(self, plan: Plan) -> Plan:
        """Name a group of ours, where the engine takes paths and this process may remove them."""
        if self._takes_group_paths is None:
            driver = await ask_cgroup_driver(self._http)
            self._takes_group_paths = driver == "cgroupfs" and self._http.socket_path is not None
        if not self._takes_group_paths:
            return plan
        return replace(plan, cgroup_parent=await self._accountant.group_path(plan.name))

    def create_body(self, plan: Plan) -> dict[str, Any]:
        """Spell a plan."""
        body: dict[str, Any] = {
            "Image": plan.spec.image.id,
            "Env": [f"{name}={value}" for name, value in plan.environment.items()],
            "Labels": dict(plan.labels),
            "HostConfig": self._host_config(plan),
            # the network namespace with nothing but lo that this gives is also that of network
            # mode none, at half the time to start (measured 2026-11, Docker 20.10)
            "NetworkDisabled": plan.network == "none",
        }
        if plan.spec.user is not None:
            body["User"] = plan.spec.user
        return body

    def _host_config(self, plan: Plan) -> dict[str, Any]:
        spec, limits = plan.spec, plan.spec.limits
        config: dict[str, Any] = {
            **docker_confinement(plan.confinement, spec),
            "NetworkMode": plan.network,
            "ExtraHosts": list(plan.extra_hosts),
            # not Binds: those make what the host does not have
            "Mounts": [
                {
                    "Type": "bind",
                    "Source": bind.host_path,
                    "Target": bind.container_path,
                    "ReadOnly": bind.is_read_only,
                    # only the mount itself is made read-only, not what is mounted below it
                    "BindOptions": {"NonRecursive": bind.is_read_only},
                }
                for bind in plan.binds
            ],
            # The other log driver on disk, local, drops the end of lines longer than 16 KiB (Docker
            # 20.10); this one turns bytes that are no UTF-8 into U+FFFD, as any reader would.
            "LogConfig": {
                "Type": "json-file",
                "Config": {"max-size": str(plan.log_bytes), "max-file": "1"},
            },
        }
        if limits.memory_bytes is not None:
            # no swap on top: the limit is the limit
            config |= {"Memory": limits.memory_bytes, "MemorySwap": limits.memory_bytes}
        if limits.pids is not None:
            config["PidsLimit"] = limits.pids
        if plan.cgroup_parent is not None:
            config["CgroupParent"] = plan.cgroup_parent
        if self._runtime is not None:
            config["Runtime"] = self._runtime
        if spec.privileged and self._http.socket_path is not None:
            config["Binds"] = [f"{self._http.socket_path}:{ENGINE_SOCKET}"]
        return config

    async def start(self, container_id: str, spec: ContainerSpec) -> None:
        """Start the program."""
        with self._accountant.expecting(container_id, self._watched(container_id, spec)):
            await self._http.call("POST", f"{BASE}/containers/{container_id}/start")

    def _watched(self, container_id: str, spec: ContainerSpec) -> list[str]:
        """Return the groups in which to look for a container before its program starts."""
        own = self._accountant.own_path(container_id)
        if own is None:
            return [place.format(container_id) for place in _GROUPS]
        # without a network, the totals of our group are all there is to know
        is_alone = (spec.network or self._network) == "none"
        return [] if is_alone else [f"{own}/{container_id}"]

    def attach(self, seen: Inspection) -> None:
        """Do nothing: the engine notices all by itself."""

    async def ended(self, container_id: str) -> None:
        """Have the engine answer when the container does not run (any more)."""
        async with self._http.stream(
            "POST",
            f"{BASE}/containers/{container_id}/wait",
            query={"condition": "not-running"},
            answers_late=True,
        ) as stream:
            await stream.read()

    async def is_empty(self, container_id: str) -> bool | None:
        """Have the engine list the processes."""
        try:
            reply = await self._http.call("GET", f"{BASE}/containers/{container_id}/top")
        except EngineReplyError:
            return None
        return not reply.json().get("Processes")

    async def judge(self, seen: Inspection) -> Verdict:
        """Believe the engine."""
        return Verdict(seen.exit_code, bool(seen.state.get("OOMKilled")))

    async def forget(self, container_id: str) -> None:
        """Do nothing: nothing is kept."""

    async def close(self) -> None:
        """Do nothing: nothing is kept."""


def build_driver(http: EngineHttp, settings: Settings, instance_id: str) -> EngineDriver:
    """Build a driver on an engine's endpoint."""
    accountant = make_accountant(settings, instance_id)
    engine = settings.engine
    dialect = DockerDialect(
        http, runtime=engine.runtime, network=engine.network, accountant=accountant
    )
    return EngineDriver(
        info=lambda: ask_info(http),
        images=Images(DockerImages(http), settings.runtime.max_parallel_pulls),
        containers=Containers(http, dialect, accountant),
        instance_id=instance_id,
        options=EngineOptions.of(settings),
        clock=SystemClock(),
    )


@asynccontextmanager
async def open_driver(settings: Settings, instance_id: str) -> AsyncIterator[OpenedDriver]:
    """Open a driver on ``[engine] docker_socket``; the engine need not be there yet."""
    http = EngineHttp(settings.engine.docker_socket, timeout_s=settings.engine.call_timeout_s)
    driver = build_driver(http, settings, instance_id)
    try:
        yield OpenedDriver(driver=driver, examine=lambda: examine(http, settings))
    finally:
        await driver.close()


async def examine(http: EngineHttp, settings: Settings) -> list[HostFinding]:
    """Ask the engine what it cannot hold containers to."""
    reply = await http.call("GET", f"{BASE}/info")
    return list(judge_docker(reply.json(), settings.engine))
