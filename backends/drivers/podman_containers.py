"""Podman's container calls, and the corrections it needs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from abaco.ports.driver import Bind, ContainerSpec
from backends.drivers.accountant import Accountant
from backends.drivers.confinement import (
    CPU_PERIOD_US,
    cpu_quota_us,
    podman_confinement,
    podman_tmp,
)
from backends.drivers.containers import Dialect, Plan, Verdict
from backends.drivers.engine_http import EngineHttp
from backends.drivers.engine_stream import Stream
from backends.drivers.engine_wire import EngineReplyError, Query
from backends.drivers.frames import payloads
from backends.drivers.host import Ulimit
from backends.drivers.last_word import EndUnseenError
from backends.drivers.oom import MemoryWatch, watch_memory
from backends.drivers.podman_hosts import HostGateway
from backends.drivers.state import Inspection, read_inspection

#: Podman 4 and all later ones speak it
BASE = "/v4.0.0/libpod"
#: where containers that may drive the engine find its socket
ENGINE_SOCKET = "/var/run/docker.sock"

#: how often the engine looks whether a container has ended, where nothing tells it
_UNHURRIED = "250ms"
#: the same, for so many seconds after the monitor hung up
_HURRIED = "20ms"
_HURRIED_S = 1.0

_NO_CORE = Ulimit("core", 0, 0)
#: where the engine puts a container's control group, with and without systemd
_GROUPS = (
    "/libpod_parent/libpod-{}",
    "/libpod_parent/libpod-{}/container",
    "/machine.slice/libpod-{}.scope",
    "/machine.slice/libpod-{}.scope/container",
)
#: what Podman says 20 s after a monitor ended without noting how its container did
_NO_CODE = "no such exit code"
#: Podman's init says this when it cannot run the program, and exits with 1
_INIT_FAILURE = b"ERROR (catatonit"
NOT_FOUND_CODE = 127


class PodmanDialect(Dialect):
    """Podman's container calls.

    Args:
        http: The engine.
        ulimits: Limits to ask for instead of the engine's defaults.
        accountant: Keeps their books.

    """

    base = BASE
    grace_name = "timeout"

    def __init__(
        self, http: EngineHttp, *, ulimits: tuple[Ulimit, ...], accountant: Accountant
    ) -> None:
        self.remove_query: Query = {"force": True, "v": True, "timeout": 0}
        self._http = http
        self._ulimits = ulimits
        self._gateway = HostGateway(http, BASE)
        self._accountant = accountant
        self._memory: dict[str, MemoryWatch] = {}
        #: ended ones of which the engine says, wrongly, that memory did not run out
        self._killed: set[str] = set()
        self._attached: dict[str, tuple[AsyncExitStack, Stream]] = {}

    async def resolve(self, plan: Plan) -> Plan:
        """Put in the address of this host."""
        hosts = await self._gateway.fill(plan.extra_hosts, plan.network)
        return replace(plan, extra_hosts=hosts)

    def create_body(self, plan: Plan) -> dict[str, Any]:
        """Spell a plan."""
        spec = plan.spec
        body: dict[str, Any] = {
            "name": plan.name,
            "image": spec.image.id.removeprefix("sha256:"),
            "env": dict(plan.environment),
            "labels": dict(plan.labels),
            "hostadd": list(plan.extra_hosts),
            **podman_confinement(plan.confinement, spec),
            "mounts": [
                *podman_tmp(plan.confinement, spec),
                *(_mount(bind) for bind in plan.binds),
            ],
            "log_configuration": {"driver": "k8s-file", "size": plan.log_bytes},
            "resource_limits": _resources(plan),
            "r_limits": [
                {"type": item.name, "soft": item.soft, "hard": item.hard}
                for item in (*self._ulimits, _NO_CORE)
            ],
            **_network(plan.network),
        }
        if spec.user is not None:
            body["user"] = spec.user
        if spec.privileged and self._http.socket_path is not None:
            engine = Bind(
                host_path=self._http.socket_path,
                container_path=ENGINE_SOCKET,
                is_read_only=False,
            )
            body["mounts"].append(_mount(engine))
        return body

    async def start(self, container_id: str, spec: ContainerSpec) -> None:
        """Attach, which readies the container up to its first instruction, then start.

        Only a container that has not been started may be attached to: Podman makes an ended one
        ready to run again, and forgets how it ended.
        """
        stack = AsyncExitStack()
        self._attached[container_id] = stack, await self._attach(stack, container_id)
        paths = [place.format(container_id) for place in _GROUPS]
        pid = await self._accountant.find(container_id, paths)
        if spec.limits.memory_bytes is not None:
            self._watch_memory(container_id, pid or (await self._look(container_id)).pid)
        await self._http.call("POST", f"{BASE}/containers/{container_id}/start")

    async def _attach(self, stack: AsyncExitStack, container_id: str) -> Stream:
        query = {"stream": True, "stdin": True, "stdout": False, "stderr": False}
        path = f"{BASE}/containers/{container_id}/attach"
        return await stack.enter_async_context(self._http.stream("POST", path, query=query))

    def attach(self, seen: Inspection) -> None:
        """Watch its memory, as far as it is on this host."""
        self._watch_memory(seen.container_id, seen.pid)

    def _watch_memory(self, container_id: str, pid: int) -> None:
        if pid and self._http.socket_path is not None and container_id not in self._memory:
            watch = watch_memory(pid)
            if watch is not None:
                self._memory[container_id] = watch

    async def ended(self, container_id: str) -> None:
        """Wait until Podman's monitor hangs up, then look.

        The monitor hangs up on whoever is attached when the container ends; the engine's books
        are right some 10 ms after the end then. The engine's events come in steps of 250 ms, and
        its own waiting looks at intervals: every 20 ms it is known after 50 to 70 ms, at the
        price of half a percent of a CPU for each container (measured 2026-11, Podman 4.3). That
        is left for containers taken over, and those that close their output and go on.
        """
        if attached := self._attached.pop(container_id, None):
            stack, stream = attached
            async with stack:
                await stream.read()
            if not (await self._look(container_id)).is_running:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_HURRIED_S):
                    await self._wait(container_id, _HURRIED)
                    return
        await self._wait(container_id, _UNHURRIED)

    async def _wait(self, container_id: str, interval: str) -> None:
        """Have the engine look at intervals."""
        path = f"{BASE}/containers/{container_id}/wait"
        query: Query = {"condition": ["exited", "stopped"], "interval": interval}
        async with self._http.stream("POST", path, query=query, answers_late=True) as stream:
            try:
                code = await stream.read()
            except EngineReplyError as error:
                if _NO_CODE in error.text:
                    raise EndUnseenError(container_id, error.text) from error
                raise
        if code.strip() == b"-1":
            raise EndUnseenError(container_id, "exit code -1")

    async def _look(self, container_id: str) -> Inspection:
        reply = await self._http.call("GET", f"{BASE}/containers/{container_id}/json")
        return read_inspection(reply.json())

    async def judge(self, seen: Inspection) -> Verdict:
        """Correct what the engine misses: kills for want of memory, programs not found."""
        oom_killed = bool(seen.state.get("OOMKilled"))
        if watch := self._memory.pop(seen.container_id, None):
            if await watch.was_killed():
                self._killed.add(seen.container_id)
            watch.close()
        oom_killed = oom_killed or seen.container_id in self._killed
        exit_code = seen.exit_code
        if exit_code == 1 and await self._init_failed(seen):
            exit_code = NOT_FOUND_CODE
        return Verdict(exit_code, oom_killed)

    async def _init_failed(self, seen: Inspection) -> bool:
        """Tell whether Podman's init could not run the program, as Docker's tells with 127."""
        if not seen.started_at or not seen.finished_at:
            return False
        if seen.finished_at - seen.started_at > timedelta(seconds=1):
            return False
        path = f"{BASE}/containers/{seen.container_id}/logs"
        async with self._http.stream("GET", path, query={"stderr": True}) as stream:
            async for data in payloads(stream):
                return data.startswith(_INIT_FAILURE)
        return False

    async def forget(self, container_id: str) -> None:
        """Stop watching it."""
        self._killed.discard(container_id)
        if watch := self._memory.pop(container_id, None):
            watch.close()
        if attached := self._attached.pop(container_id, None):
            await attached[0].aclose()

    async def close(self) -> None:
        """Stop watching everything."""
        for container_id in [*self._memory, *self._attached]:
            await self.forget(container_id)


def _mount(bind: Bind) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": bind.host_path,
        "destination": bind.container_path,
        # only the mount itself is made read-only, not what is mounted below it
        "options": ["ro", "bind"] if bind.is_read_only else ["rw", "rbind"],
    }


def _resources(plan: Plan) -> dict[str, Any]:
    limits = plan.spec.limits
    resources: dict[str, Any] = {"pids": {"limit": -1 if limits.pids is None else limits.pids}}
    if limits.memory_bytes is not None:
        # no swap on top: the limit is the limit
        resources["memory"] = {"limit": limits.memory_bytes, "swap": limits.memory_bytes}
    if (quota_us := cpu_quota_us(limits.nano_cpus)) is not None:
        resources["cpu"] = {"period": CPU_PERIOD_US, "quota": quota_us}
    return resources


def _network(mode: str) -> dict[str, Any]:
    if mode in ("none", "host", "bridge", "slirp4netns", "private"):
        return {"netns": {"nsmode": mode}}
    return {"netns": {"nsmode": "bridge"}, "Networks": {mode: {}}}
