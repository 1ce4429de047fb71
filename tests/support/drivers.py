"""What tests of a driver share: settings, specs, and one call that runs a container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from abaco.config import Settings
from abaco.domain.execution import ExecutionKey
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId
from abaco.ports.driver import (
    Bind,
    ContainerSpec,
    Context,
    Driver,
    Exit,
    Limits,
    Running,
)
from tests.support.records import new_id
from tests.support.session import GROUP


def settings(**engine: Any) -> Settings:
    """Settings for a private engine, which has no network."""
    # groups of containers that tests leave must not be those of another run of tests
    fields = {"network": "none", "call_timeout_s": 30, "cgroup_parent": GROUP} | engine
    return Settings.model_validate({"engine": fields})


async def read_all(running: Running, offset: int = 0) -> bytes:
    """Read the output to its end."""
    async with aclosing(running.output(offset)) as chunks:  # type: ignore[type-var]
        return b"".join([chunk async for chunk in chunks])


async def first_words(running: Running) -> bytes:
    """Wait until the program says something, which shows that it runs."""
    async with aclosing(running.output()) as chunks:  # type: ignore[type-var]
        return await anext(chunks)


@dataclass
class Lab:
    """A driver, and short ways to use it. Execution ids are new for every container."""

    driver: Driver
    ran: list[Running] = field(default_factory=list)

    async def spec(self, image: str = "abaco_test_shell", **fields: Any) -> ContainerSpec:
        """Make a spec of an image that is there."""
        found = await self.driver.find_image(image)
        assert found is not None
        limits = fields.pop("limits", Limits())
        return ContainerSpec(
            image=found,
            tenant=Tenant("DEV"),
            actor_id=ActorId("actor1"),
            worker_id=WorkerId("worker1"),
            revision=7,
            limits=limits,
            **fields,
        )

    def context(
        self,
        message: str = "",
        environment: Mapping[str, str] | None = None,
        attempt: int = 1,
        binds: Sequence[Bind] = (),
    ) -> Context:
        """Make the context of a new execution."""
        key = ExecutionKey(Tenant("DEV"), ActorId("actor1"), ExecutionId(new_id()))
        return Context(
            execution=key,
            attempt=attempt,
            environment={"MSG": message, **(environment or {})},
            binds=tuple(binds),
        )

    async def start(
        self,
        message: str = "",
        image: str = "abaco_test_shell",
        *,
        environment: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Running:
        """Start a container; with the default image the message is a shell script."""
        slot = await self.driver.prepare(await self.spec(image, **fields))
        running = await self.driver.dispatch(slot, self.context(message, environment))
        self.ran.append(running)
        return running

    async def run(
        self, message: str = "", image: str = "abaco_test_shell", **fields: Any
    ) -> tuple[bytes, Exit]:
        """Run a container to its end; returns its output and how it ended."""
        running = await self.start(message, image, **fields)
        return await read_all(running), await running.wait()
