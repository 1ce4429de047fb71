"""The calls on containers that engines share, and the few in which they differ."""

from __future__ import annotations

import asyncio
import json
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from abaco.errors import ContainerMissingError, DriverError
from abaco.ports.driver import Bind, ContainerSpec, OwnedContainer
from backends.drivers.accountant import Accountant
from backends.drivers.confinement import Confinement
from backends.drivers.engine_http import EngineHttp
from backends.drivers.engine_stream import Stream
from backends.drivers.engine_wire import EngineReplyError, Query
from backends.drivers.labels import INSTANCE, attempt_name, name_of
from backends.drivers.state import Inspection, read_inspection
from backends.drivers.used import Used

log = logging.getLogger(__name__)

Names = list[str]

#: Seconds between tries to look at a container: Podman answers 500 when its process ends while
#: it is being looked at
INSPECT_PAUSES_S = (0.02, 0.05, 0.1)
#: Seconds until an engine is asked again who runs in a container; doubled each time. Docker
#: cannot say while its containerd is away.
LIST_PAUSE_S = 0.5
MAX_LIST_PAUSE_S = 15.0
#: seconds between tries to remove a container the engine is still busy with; about 10 s in all
REMOVE_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 2.0, 3.0)


#: Docker's and Podman's words for a container that is gone or on its way out, when they find
#: that out in mid-call and do not answer 404
_GONE = ("dead or marked for removal", "no such container", "does not exist in database")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All an engine is told when a container is created."""

    name: str
    spec: ContainerSpec
    environment: Mapping[str, str]
    binds: tuple[Bind, ...]
    labels: Mapping[str, str]
    network: str
    confinement: Confinement
    #: bytes of output the engine keeps
    log_bytes: int
    #: items of ``name:address``
    extra_hosts: tuple[str, ...] = ()
    #: control group under which the container's is made; None for where the engine likes it
    cgroup_parent: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an engine's bare state does not say reliably, in Docker's terms."""

    exit_code: int
    oom_killed: bool
    used: Used = field(default_factory=Used)


class Dialect(Protocol):
    """In what one engine's container calls differ from another's."""

    #: prefix of the paths
    base: str
    #: query name of the grace in a stop call
    grace_name: str
    #: more of the query of a remove call
    remove_query: Query

    async def resolve(self, plan: Plan) -> Plan:
        """Put in what only the engine knows. Raises EngineReplyError."""
        return plan

    @abstractmethod
    def create_body(self, plan: Plan) -> dict[str, Any]:
        """Spell a plan as the body of a create call."""

    @abstractmethod
    async def start(self, container_id: str, spec: ContainerSpec) -> None:
        """Start the program. Raises EngineReplyError."""

    @abstractmethod
    def attach(self, seen: Inspection) -> None:
        """Take notice of a container that runs already."""

    @abstractmethod
    async def ended(self, container_id: str) -> None:
        """Wait until the engine says that the container ended. Raises EngineReplyError."""

    async def is_empty(self, container_id: str) -> bool | None:
        """Tell whether the engine finds no process in a container that it says is running.

        None when it cannot say now.
        """
        return False

    @abstractmethod
    async def judge(self, seen: Inspection) -> Verdict:
        """Say how an ended container ended; may be asked again."""

    @abstractmethod
    async def forget(self, container_id: str) -> None:
        """Drop what is kept about a container. Idempotent."""

    @abstractmethod
    async def close(self) -> None:
        """Drop everything."""


class Containers:
    """Calls on the containers of one engine, with the engine's faults mapped."""

    def __init__(self, http: EngineHttp, dialect: Dialect, accountant: Accountant) -> None:
        self._http = http
        self._dialect = dialect
        self._accountant = accountant
        #: those that ran before this process did
        self._taken_over: set[str] = set()

    async def create(self, plan: Plan) -> str:
        """Create a container and return its id. Raises EngineReplyError."""
        resolved = await self._dialect.resolve(plan)
        reply = await self._http.call(
            "POST",
            f"{self._dialect.base}/containers/create",
            query={"name": plan.name},
            body=self._dialect.create_body(resolved),
        )
        container_id = str(reply.json()["Id"])
        if resolved.cgroup_parent is not None:
            self._accountant.made(container_id, plan.name)
        return container_id

    async def inspect(self, container_id: str) -> Inspection:
        """Look at a container, by id or name. Raises ContainerMissingError."""
        for pause_s in (*INSPECT_PAUSES_S, None):
            try:
                with _absence(container_id):
                    reply = await self._http.call("GET", self._path(container_id, "json"))
            except EngineReplyError as error:
                if error.status < 500 or pause_s is None:
                    raise
                log.info("inspect of %s is tried again: %s", container_id[:12], error.text)
                await asyncio.sleep(pause_s)
            else:
                return read_inspection(reply.json())
        raise AssertionError("the last try returns or raises")

    @asynccontextmanager
    async def logs(self, container_id: str, *, follow: bool) -> AsyncIterator[Stream]:
        """Open the framed output from its beginning on. Raises ContainerMissingError."""
        query: Query = {"follow": follow, "stdout": True, "stderr": True}
        path = self._path(container_id, "logs")
        with _absence(container_id):
            async with self._http.stream("GET", path, query=query, answers_late=True) as stream:
                yield stream

    async def stop(self, container_id: str, grace_s: int, timeout_s: float) -> None:
        """Stop, or find it stopped or gone."""
        query = {self._dialect.grace_name: grace_s}
        try:
            await self._http.call(
                "POST", self._path(container_id, "stop"), query=query, timeout_s=timeout_s
            )
        except EngineReplyError as error:
            # whatever it is, the caller looks at the container next
            log.info("stop of %s: %s", container_id[:12], error.message)

    async def kill(self, container_id: str) -> None:
        """Send SIGKILL, or find it ended or gone."""
        try:
            await self._http.call("POST", self._path(container_id, "kill"))
        except EngineReplyError as error:
            log.info("kill of %s: %s", container_id[:12], error.message)

    async def remove(self, container_id: str) -> None:
        """Kill and remove; tried again while the engine says it is busy with the container.

        Raises:
            DriverError: The engine was busy to the end.

        """
        path = f"{self._dialect.base}/containers/{container_id}"
        self._taken_over.discard(container_id)
        await self._dialect.forget(container_id)
        for pause_s in (*REMOVE_PAUSES_S, None):
            try:
                await self._http.call("DELETE", path, query=self._dialect.remove_query)
            except EngineReplyError as error:
                if error.status == 404:
                    break
                if error.status < 500 and error.status != 409:
                    raise
                if pause_s is None:
                    raise DriverError(
                        f"container {container_id[:12]} could not be removed", detail=error.text
                    ) from error
                log.info("remove of %s is tried again: %s", container_id[:12], error.text)
                await asyncio.sleep(pause_s)
            else:
                break
        self._accountant.forget(container_id)

    async def list(self, instance_id: str) -> list[Mapping[str, Any]]:
        """List an instance's containers as the engine describes them."""
        filters = json.dumps({"label": [f"{INSTANCE}={instance_id}"]})
        path = f"{self._dialect.base}/containers/json"
        reply = await self._http.call("GET", path, query={"all": True, "filters": filters})
        # Podman says null when there is none
        return list(reply.json() or [])

    async def ended(self, container_id: str) -> None:
        """Wait until the engine says that the container has ended.

        Raises:
            ContainerMissingError: It is gone.
            EndUnseenError: The engine has lost sight of it.

        """
        with _absence(container_id):
            await self._dialect.ended(container_id)

    async def gone(self, container_id: str) -> None:
        """Wait until this host says that the program has ended; for ever when it cannot tell.

        Whether one that was taken over has ended before, the engine is asked.
        """
        if container_id in self._taken_over and not await self.is_alive(container_id):
            is_empty = await self._is_empty(container_id)
            # not before there is an answer: who went away without one has to ask again
            self._taken_over.discard(container_id)
            if is_empty:
                return
        await self._accountant.ended(container_id)

    async def _is_empty(self, container_id: str) -> bool:
        pause_s = LIST_PAUSE_S
        while (is_empty := await self._dialect.is_empty(container_id)) is None:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_LIST_PAUSE_S)
        return is_empty

    async def is_alive(self, container_id: str) -> bool:
        """Tell whether this host says that the program runs."""
        return await self._accountant.is_alive(container_id)

    async def start(self, container_id: str, spec: ContainerSpec) -> None:
        """Start the program. Raises EngineReplyError."""
        await self._dialect.start(container_id, spec)

    def attach(self, seen: Inspection) -> None:
        """Take notice of a container that runs already."""
        self._dialect.attach(seen)
        self._taken_over.add(seen.container_id)
        self.watch(seen)

    def watch(self, seen: Inspection) -> None:
        """Keep the books of a container that runs, from here on if not before."""
        if seen.is_running:
            self._accountant.watch(seen.container_id, seen.pid)

    async def judge(self, seen: Inspection) -> Verdict:
        """Say how an ended container ended, and what it used."""
        if name := name_of(seen.labels):
            self._accountant.name(seen.container_id, name)
        used = await self._accountant.settle(seen.container_id)
        with _absence(seen.container_id):
            verdict = await self._dialect.judge(seen)
        return Verdict(verdict.exit_code, verdict.oom_killed or used.oom_kills > 0, used)

    async def list_groups(self) -> Names:
        """Return the names of containers whose control groups are here and ours."""
        return await self._accountant.list_groups()

    async def sweep_groups(self, names: Names, owned: Iterable[OwnedContainer]) -> None:
        """Remove those control groups whose containers are gone.

        Args:
            names: As listed, before the containers were: a group is made after its container.
            owned: The containers there are.

        """
        kept = {item.container_id: attempt_name(item.execution_id, item.attempt) for item in owned}
        for container_id, name in kept.items():
            self._accountant.name(container_id, name)
        await self._accountant.remove_groups(sorted(set(names).difference(kept.values())))

    async def close(self) -> None:
        """Drop what is kept about containers, and the connections."""
        await self._dialect.close()
        await self._accountant.close()
        self._http.close()

    def _path(self, container_id: str, verb: str) -> str:
        return f"{self._dialect.base}/containers/{container_id}/{verb}"


@contextmanager
def _absence(container_id: str) -> Iterator[None]:
    """Map what engines say of a container that is gone to ContainerMissingError."""
    try:
        yield
    except EngineReplyError as error:
        is_gone = any(sign in error.text.lower() for sign in _GONE)
        if error.status != 404 and not is_gone:
            raise
        raise ContainerMissingError(
            f"the engine knows no container {container_id[:12]}", detail=error.text
        ) from error
