"""Links: no sequence of updates, however they meet, makes an actor tell itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.ids import ActorId
from abaco.errors import InvalidInputError, NotFoundError
from abaco.ports.store import Stores
from tests.support.alike import NamedStep, Step, compare, steps
from tests.support.records import TENANT, a_definition, an_actor, an_alias, at
from tests.support.stores import insert_actor, insert_alias

CYCLE = "this update would result in a cycle of linked actors"


async def link(stores: Stores, actor: Actor, name: str) -> None:
    definition = a_definition(link=name)
    await stores.actors.update(actor.key, definition, new_revision=False, now=at(1))


async def refuse(stores: Stores, actor: Actor, name: str) -> None:
    before = await stores.actors.get(actor.key)
    with pytest.raises(InvalidInputError, match=CYCLE) as caught:
        await link(stores, actor, name)
    assert caught.value.field == "link"
    assert await stores.actors.get(actor.key) == before


async def chain(stores: Stores, length: int) -> list[Actor]:
    """Actors, each linked to the one before."""
    actors = [await insert_actor(stores)]
    for _ in range(length - 1):
        actors.append(await insert_actor(stores, link=actors[-1].id))
    return actors


async def test_an_actor_is_not_linked_to_itself(stores: Stores) -> None:
    actor = await insert_actor(stores)
    await refuse(stores, actor, actor.id)
    await insert_alias(stores, actor, "me")
    await refuse(stores, actor, "me")


@pytest.mark.parametrize("length", [2, 3, 12])
async def test_a_chain_is_not_closed(stores: Stores, length: int) -> None:
    actors = await chain(stores, length)
    await refuse(stores, actors[0], actors[-1].id)
    await insert_alias(stores, actors[-1], "end")
    await refuse(stores, actors[0], "end")
    # not even by one who had another link before
    other = await insert_actor(stores)
    await link(stores, actors[0], other.id)
    await refuse(stores, actors[0], actors[-1].id)


async def test_several_may_tell_one_and_a_cycle_can_be_opened_first(stores: Stores) -> None:
    first, second, third = await chain(stores, 3)
    other = await insert_actor(stores, link=first.id)
    await link(stores, third, "")
    await link(stores, first, third.id)
    await refuse(stores, third, other.id)
    await refuse(stores, third, second.id)


async def test_a_link_leads_to_somebody(stores: Stores) -> None:
    nobody = r"there is no actor or alias 'no-such-alias'"
    refused = an_actor(link="no-such-alias")
    with pytest.raises(InvalidInputError, match=nobody) as caught:
        await stores.actors.insert(refused)
    assert caught.value.field == "link"
    with pytest.raises(NotFoundError):
        await stores.actors.get(refused.key)
    assert await stores.permissions.levels(refused.key.shared) == {}
    actor = await insert_actor(stores)
    with pytest.raises(InvalidInputError, match=nobody):
        await link(stores, actor, "no-such-alias")
    assert await stores.actors.get(actor.key) == actor


async def test_whoever_links_while_the_alias_goes_is_linked_to_nobody(stores: Stores) -> None:
    target = await insert_actor(stores)
    for number in range(8):
        actor = await insert_actor(stores)
        alias = await insert_alias(stores, target, f"turn{number}")
        linked, _ = await asyncio.gather(
            link(stores, actor, alias.alias),
            stores.aliases.delete(alias.key),
            return_exceptions=True,
        )
        assert linked is None or isinstance(linked, InvalidInputError)
        assert await link_of(stores, actor) == ""


async def test_an_alias_closes_no_cycle_made_or_moved(stores: Stores) -> None:
    first, second, third = await chain(stores, 3)
    outside = await insert_actor(stores)
    alias = await insert_alias(stores, outside, "next")
    await link(stores, first, "next")
    for actor in (first, second, third):
        with pytest.raises(InvalidInputError, match=CYCLE) as caught:
            await stores.aliases.repoint(alias.key, actor.id)
        assert caught.value.field == "actor_id"
    assert await stores.aliases.get(alias.key) == alias


async def test_an_id_wins_over_an_alias_of_that_name(stores: Stores) -> None:
    actor, other = await insert_actor(stores), await insert_actor(stores)
    await insert_alias(stores, actor, str(other.id))
    await link(stores, actor, other.id)


async def link_of(stores: Stores, actor: Actor) -> str:
    return (await stores.actors.get(actor.key)).definition.link


async def test_a_link_by_an_alias_goes_with_the_alias(stores: Stores) -> None:
    target = await insert_actor(stores)
    alias = await insert_alias(stores, target, "mine")
    other = await insert_alias(stores, target, "other")
    fields = {"link": "mine", "webhook": "https://example.org/hook", "description": "stays"}
    linked = [await insert_actor(stores, **fields) for _ in range(2)]
    by_other = await insert_actor(stores, link="other")
    by_id = await insert_actor(stores, link=target.id)
    await stores.aliases.delete(alias.key)
    for actor in linked:
        definition = replace(actor.definition, link="")
        assert await stores.actors.get(actor.key) == replace(actor, definition=definition)
    assert await link_of(stores, by_other) == "other"
    await stores.actors.delete(target.key)  # and with it, its aliases
    assert await link_of(stores, by_other) == ""
    assert await link_of(stores, by_id) == target.id
    stranger = await insert_actor(stores)
    for name in (alias.alias, other.alias):
        await insert_alias(stores, stranger, name)
    await link(stores, stranger, linked[0].id)  # nobody is linked to the stranger


async def test_a_link_by_an_alias_of_another_tenant_stays(stores: Stores) -> None:
    await insert_alias(stores, await insert_actor(stores), "mine")
    theirs = await insert_actor(stores, tenant="OTHER")
    alias = await insert_alias(stores, theirs, "mine", tenant="OTHER")
    actor = await insert_actor(stores, link="mine")
    await stores.aliases.delete(alias.key)
    assert await link_of(stores, actor) == "mine"


async def test_a_link_by_an_id_stays_when_an_alias_of_that_name_goes(stores: Stores) -> None:
    target, stranger = await insert_actor(stores), await insert_actor(stores)
    alias = await insert_alias(stores, stranger, str(target.id))
    actor = await insert_actor(stores, link=target.id)
    await stores.aliases.delete(alias.key)
    assert await link_of(stores, actor) == target.id


async def test_links_stay_in_their_tenant(stores: Stores) -> None:
    actor = await insert_actor(stores)
    twin = an_actor(tenant="OTHER", id=ActorId("twin"), link=actor.id)
    with pytest.raises(InvalidInputError, match=f"no actor or alias '{actor.id}'"):
        await stores.actors.insert(twin)
    await insert_actor(stores, tenant="OTHER", id=actor.id)
    await stores.actors.insert(twin)  # linked to the other one of that id
    await insert_actor(stores, id=ActorId("twin"))
    await link(stores, actor, "twin")


async def test_two_updates_at_once_close_no_cycle(stores: Stores) -> None:
    for _ in range(5):
        one, two = await insert_actor(stores), await insert_actor(stores)
        answers = await asyncio.gather(
            link(stores, one, two.id), link(stores, two, one.id), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == [
            "InvalidInputError", "NoneType",
        ]  # fmt: skip


async def test_an_update_and_an_alias_at_once_close_no_cycle(stores: Stores) -> None:
    for number in range(5):
        one, two = await insert_actor(stores), await insert_actor(stores)
        outside = await insert_actor(stores)
        alias = await insert_alias(stores, outside, f"turn{number}")
        await link(stores, one, alias.alias)
        answers = await asyncio.gather(
            stores.aliases.repoint(alias.key, two.id),
            link(stores, two, one.id),
            return_exceptions=True,
        )
        assert [isinstance(answer, InvalidInputError) for answer in answers].count(True) == 1


# Random links and aliases, on every backend alike.

ACTORS = [an_actor(id=ActorId(f"a{n}")) for n in range(4)]
ALIASES = ["x", "y"]

actors = st.sampled_from(ACTORS)
aliases = st.sampled_from(ALIASES)
links = st.sampled_from(["", *(str(actor.id) for actor in ACTORS), *ALIASES])


def set_link(actor: Actor, name: str) -> Step:
    return lambda stores: link(stores, actor, name)


def make_alias(name: str, actor: Actor) -> Step:
    return lambda stores: stores.aliases.insert(an_alias(actor, name))


def repoint(name: str, actor: Actor) -> Step:
    return lambda stores: stores.aliases.repoint(an_alias(actor, name).key, actor.id)


def drop_alias(name: str) -> Step:
    return lambda stores: stores.aliases.delete(an_alias(ACTORS[0], name).key)


def delete(actor: Actor) -> Step:
    return lambda stores: stores.actors.delete(actor.key)


def insert(actor: Actor) -> Step:
    return lambda stores: stores.actors.insert(actor)


script = st.lists(
    st.one_of(
        steps(set_link, actors, links),
        steps(set_link, actors, links),
        steps(make_alias, aliases, actors),
        steps(repoint, aliases, actors),
        steps(drop_alias, aliases),
        steps(delete, actors),
        steps(insert, actors),
    ),
    max_size=25,
)


async def see(stores: Stores) -> dict[str, Any]:
    return {
        "links": {actor.id: actor.definition.link for actor in await stores.actors.list_actors()},
        "aliases": {
            alias.alias: alias.actor_id for alias in await stores.aliases.list_aliases(TENANT)
        },
    }


def check(seen: dict[str, Any]) -> None:
    """Follow every actor's links by hand: none comes back."""
    for start in seen["links"]:
        passed = []
        here = start
        while here is not None:
            assert here not in passed, (start, passed)
            passed.append(here)
            name = seen["links"].get(here, "")
            here = name if name in seen["links"] else seen["aliases"].get(name)


@settings(max_examples=60, deadline=None)
@given(script)
def test_no_sequence_of_steps_makes_a_cycle(script: list[NamedStep]) -> None:
    asyncio.run(compare([insert(actor) for actor in ACTORS], script, see, check))


def test_the_check_would_see_a_cycle() -> None:
    seen = {"links": {ActorKey(TENANT, ActorId("a")).id: "x"}, "aliases": {"x": "a"}}
    with pytest.raises(AssertionError):
        check(seen)
