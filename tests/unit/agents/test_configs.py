"""What containers are given in ``_actor_configs``, through all agents."""

from __future__ import annotations

import ast
import logging
from typing import Any

import pytest

from abaco.domain.actor import Actor
from abaco.domain.caller import EVERYONE_ROLE, Caller
from abaco.domain.context import MAX_VARIABLE_BYTES
from abaco.domain.execution import ExecutionStatus
from abaco.domain.permission import Level
from abaco.operations import aliases, configs, permissions
from abaco.operations.configs import ConfigDraft
from agents.configs import MAX_STORED_BYTES
from backends.drivers.scripted import Script, ScriptedEngine
from backends.vault import ephemeral_vault
from tests.support.house import CALLER, House, a_house
from tests.support.records import API_SERVER, TENANT

JOE = Caller(tenant=TENANT, user="joe", roles=frozenset({EVERYONE_ROLE}), api_server=API_SERVER)


def an_echo() -> ScriptedEngine:
    """An engine whose containers print their environment."""
    return ScriptedEngine(Script(plays={}))


async def add(
    house: House, actors: str, name: str, value: str, *, caller: Caller = CALLER, **fields: Any
) -> None:
    draft = ConfigDraft(name=name, value=value, actors=actors, **{"is_secret": False, **fields})
    await configs.create(house.services, caller, draft)


async def given(house: House, actor: Actor) -> dict[str, str]:
    """Run a message and return what its container was given."""
    key = await house.post(actor)
    assert (await house.final(key)).status is ExecutionStatus.COMPLETE
    lines = (await house.log(key)).decode().splitlines()
    (line,) = [each for each in lines if each.startswith("_actor_configs=")]
    return dict(ast.literal_eval(line.partition("=")[2]))


async def test_values_and_secrets_reach_the_container_in_the_clear() -> None:
    async with a_house(an_echo()) as house:
        actor, other = await house.register(), await house.register()
        assert await given(house, actor) == {}
        await add(house, actor.id, "limits", "{'a': True}")
        await add(house, f"{other.id}, {actor.id}", "token", "hünter2'\"", is_secret=True)
        await aliases.create(house.services, CALLER, "greeter", actor.id)
        await add(house, "greeter", "by.alias", "", is_secret=True)
        assert await given(house, actor) == {
            "limits": "{'a': True}",
            "token": "hünter2'\"",
            "by.alias": "",
        }
        assert await given(house, other) == {"token": "hünter2'\""}


async def test_every_change_acts_on_the_next_execution() -> None:
    async with a_house(an_echo()) as house:
        services = house.services
        actor, other = await house.register(), await house.register()
        alias = await aliases.create(services, CALLER, "greeter", actor.id)
        await add(house, "greeter", "c", "one", is_secret=True)
        assert await given(house, actor) == {"c": "one"}
        present = await services.stores.configs.get_many(TENANT, ["c"])
        draft = ConfigDraft(name="c", value="two", is_secret=False, actors="greeter")
        changed = await configs.replace(services, present[0], draft)
        assert await given(house, actor) == {"c": "two"}
        await aliases.repoint(services, CALLER, alias, other.id)
        assert (await given(house, actor), await given(house, other)) == ({}, {"c": "two"})
        grant = permissions.grant
        await grant(services, CALLER, other.key.shared, "joe", "UPDATE")
        await grant(services, CALLER, other.key.shared, CALLER.user, "EXECUTE")
        assert await given(house, other) == {}
        await grant(services, CALLER, other.key.shared, CALLER.user, "UPDATE")
        assert await given(house, other) == {"c": "two"}
        await configs.delete(services, changed)
        assert await given(house, other) == {}


async def test_nobody_gives_values_to_an_actor_they_may_not_update() -> None:
    async with a_house(an_echo()) as house:
        actor = await house.register()
        await add(house, actor.id, "own", "1")
        await add(house, actor.id, "foreign", "2", caller=JOE)
        assert await given(house, actor) == {"own": "1"}
        await house.stores.permissions.grant(actor.key.shared, "joe", Level.UPDATE)
        assert await given(house, actor) == {"own": "1", "foreign": "2"}


async def test_a_secret_no_key_opens_is_left_out_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_house(an_echo()) as house:
        actor = await house.register()
        await add(house, actor.id, "good", "correct horse", is_secret=True)
        await add(house, actor.id, "lost", "battery staple", is_secret=True)
        present = {each.ciphertext: each for each in await house.stores.configs.list_sealed()}
        lost = (await house.stores.configs.get_many(TENANT, ["lost"]))[0].value
        foreign = ephemeral_vault().encrypt("battery staple")
        assert await house.stores.configs.reseal(present[lost], foreign)
        assert await given(house, actor) == {"good": "correct horse"}
    (warning,) = [each for each in caplog.records if "is kept from" in each.message]
    assert warning.levelno == logging.WARNING
    assert "config lost is kept from actor" in warning.message
    for text in ("correct horse", "battery staple", foreign, lost):
        assert text not in caplog.text


@pytest.mark.parametrize(
    ("count", "length"),
    [
        (2, MAX_VARIABLE_BYTES // 2),  # both fit the store's limit, not the environment
        (17, MAX_VARIABLE_BYTES),  # more than is looked at
    ],
)
async def test_more_than_fits_ends_the_execution_at_once(count: int, length: int) -> None:
    assert (count * length > MAX_STORED_BYTES) == (count == 17)
    async with a_house(an_echo()) as house:
        actor = await house.register()
        for number in range(count):
            await add(house, actor.id, f"c{number}", chr(97 + number) * length)
        execution = await house.final(await house.post(actor))
        assert execution.status is ExecutionStatus.ERROR
        assert (execution.attempt, execution.losses) == (1, 0)
        assert execution.outcome is not None
        assert "configs" in execution.outcome.error
        assert "bytes" in execution.outcome.error
        assert "aaa" not in execution.outcome.error
        # the actor is fine: with less it goes on
        for number in range(count):
            key = (await house.stores.configs.get_many(TENANT, [f"c{number}"]))[0].key
            await house.stores.configs.delete(key)
        assert await given(house, actor) == {}


async def test_many_short_secrets_fit_although_their_ciphertexts_are_long() -> None:
    async with a_house(an_echo()) as house:
        actor = await house.register()
        for number in range(1500):
            await add(house, actor.id, f"c{number}", "x", is_secret=True)
        assert len(await given(house, actor)) == 1500
