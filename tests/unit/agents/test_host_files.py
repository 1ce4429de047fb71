"""What workers tell the engine of an actor's user and mounts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.execution import ExecutionStatus
from abaco.domain.host_access import HostUser
from abaco.domain.ids import Tenant
from abaco.operations import actors
from abaco.operations.definition import ActorDraft
from abaco.ports.driver import Bind
from abaco.ports.identity import IdentityProvider
from abaco.settings import RuntimeSettings, WorkersSettings
from tests.support.house import CALLER, QUICK, House, a_house

RETRIES = RuntimeSettings(start_backoff=0.01, idle_grace=0.2, stop_grace=0, max_start_failures=1)


class EverybodyIs(IdentityProvider):
    def __init__(self, user: HostUser) -> None:
        self.user = user

    async def find(self, tenant: Tenant, user: str) -> HostUser | None:
        return self.user


def settings(**workers: Any) -> Any:
    update = {"workers": WorkersSettings(init_count=0, **workers), "runtime": RETRIES}
    return QUICK.model_copy(update=update)


async def register(house: House, user: HostUser | None = None, **fields: Any) -> Actor:
    if user is not None:
        house.services = replace(house.services, identity=EverybodyIs(user))
    return await house.register(**fields)


async def spec_of(house: House, actor: Actor) -> Any:
    key = await house.post(actor)
    await house.running(key)
    (container,) = house.engine.of_execution(key.id) or [None]
    assert container is not None, (await house.stores.actors.get(actor.key)).status_message
    return container.slot.spec


async def test_the_containers_user_and_mounts_are_the_actors(tmp_path: Path) -> None:
    (tmp_path / "jane").mkdir()
    mounts = f"{tmp_path}/{{username}}:/work:rw, {tmp_path}:/all:ro"
    async with a_house(settings=settings(global_mounts=mounts, leave_containers=True)) as house:
        actor = await register(house, HostUser(uid=1001, gid=816))
        spec = await spec_of(house, actor)
        assert spec.user == "1001:816"
        assert spec.binds == (
            Bind(host_path=f"{tmp_path}/jane", container_path="/work", is_read_only=False),
            Bind(host_path=str(tmp_path), container_path="/all"),
        )
        assert not spec.privileged


async def test_nothing_without_configuration() -> None:
    async with a_house(settings=settings(leave_containers=True)) as house:
        spec = await spec_of(house, await register(house))
        assert (spec.user, spec.binds, spec.privileged) == (None, (), False)


async def test_an_update_acts_on_the_next_message(tmp_path: Path) -> None:
    async with a_house(settings=settings(leave_containers=True)) as house:
        actor = await register(house, HostUser(uid=1, gid=1))
        assert (await spec_of(house, actor)).user == "1:1"
        house.services = replace(
            house.services, identity=EverybodyIs(HostUser(uid=2, gid=3, home=str(tmp_path)))
        )
        await actors.update(house.services, CALLER, actor, ActorDraft(image="abaco_test"))
        assert (await spec_of(house, actor)).user == "2:3"


@pytest.mark.parametrize("skips", [True, False])
async def test_a_mount_that_goes_away(tmp_path: Path, skips: bool) -> None:
    place = tmp_path / "data"
    place.mkdir()
    workers = settings(
        global_mounts=f"{place}:/data:ro",
        mount_missing="skip" if skips else "error",
        leave_containers=True,
    )
    async with a_house(settings=workers) as house:
        actor = await register(house)
        assert len((await spec_of(house, actor)).binds) == 1
        place.rmdir()
        if skips:
            assert (await spec_of(house, actor)).binds == ()
            return
        execution = await house.final(await house.post(actor))
        assert execution.status is ExecutionStatus.ERROR
        broken = await house.actor_status(actor, ActorStatus.ERROR)
        assert f"{place}: it is not there" in broken.status_message


async def test_a_privileged_actor_is_not_started_once_they_are_switched_off() -> None:
    async with a_house(settings=settings(allow_privileged=True, leave_containers=True)) as house:
        actor = await register(house, privileged=True)
        assert (await spec_of(house, actor)).privileged
        await house.crash()
        house.settings = settings(leave_containers=True)
        await house.start()
        key = await house.post(actor)
        assert (await house.final(key)).status is ExecutionStatus.ERROR
        assert house.engine.of_execution(key.id) == []
        broken = await house.actor_status(actor, ActorStatus.ERROR)
        assert "allow_privileged" in broken.status_message
