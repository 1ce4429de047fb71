from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from abaco.domain.alias import AliasKey
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.permission import Level
from abaco.errors import ConflictError, NotFoundError
from abaco.ports.store import Stores
from tests.support.records import (
    NOON,
    TENANT,
    a_nonce,
    an_actor,
    an_alias,
    at,
)
from tests.support.stores import insert_actor, insert_alias, insert_nonce

OTHER = Tenant("OTHER")


async def test_an_alias_comes_back_as_it_was_stored(stores: Stores) -> None:
    actor = await insert_actor(stores)
    east = timezone(timedelta(hours=5, minutes=30))
    name = "my.älias_1 %"
    alias = await insert_alias(stores, actor, name, owner="a.b", create_time=at(1).astimezone(east))
    assert await stores.aliases.get(alias.key) == alias
    assert await stores.aliases.list_aliases(TENANT) == [alias]


async def test_what_is_absent_is_named(stores: Stores) -> None:
    actor = await insert_actor(stores)
    key = AliasKey(TENANT, "ghost")
    for call in (
        stores.aliases.get(key),
        stores.aliases.repoint(key, actor.id),
        stores.aliases.delete(key),
    ):
        with pytest.raises(NotFoundError, match="alias 'ghost'"):
            await call
    assert await stores.aliases.list_aliases(TENANT) == []


async def test_a_taken_name_stays_as_it_is(stores: Stores) -> None:
    alias = await insert_alias(stores, await insert_actor(stores))
    other = await insert_actor(stores)
    with pytest.raises(ConflictError, match="'counter' already exists"):
        await insert_alias(stores, other)
    assert await stores.aliases.get(alias.key) == alias


async def test_the_same_name_in_two_tenants_is_two_aliases(stores: Stores) -> None:
    for tenant in (TENANT, OTHER):
        await insert_alias(stores, await insert_actor(stores, tenant=tenant))
    await stores.aliases.delete(AliasKey(TENANT, "counter"))
    assert [each.tenant for each in await stores.aliases.list_aliases(OTHER)] == [OTHER]
    assert await stores.aliases.list_aliases(TENANT) == []


async def test_an_alias_of_no_actor_is_not_made(stores: Stores) -> None:
    ghost = an_actor()
    with pytest.raises(NotFoundError, match=f"actor '{ghost.id}'"):
        await insert_alias(stores, ghost)
    assert await stores.aliases.list_aliases(TENANT) == []
    elsewhere = await insert_actor(stores, tenant=OTHER)
    with pytest.raises(NotFoundError):
        await stores.aliases.insert(an_alias(elsewhere, tenant=TENANT))
    key = an_alias(ghost).shared
    assert dict(await stores.permissions.levels(key)) == {}


async def test_repoint_changes_the_actor_only(stores: Stores) -> None:
    one, two = await insert_actor(stores), await insert_actor(stores)
    alias = await insert_alias(stores, one)
    await stores.permissions.grant(alias.shared, "joe", Level.READ)
    nonce = await insert_nonce(stores, alias.shared)
    levels = await stores.permissions.levels(alias.shared)
    repointed = await stores.aliases.repoint(alias.key, two.id)
    assert repointed == replace(alias, actor_id=two.id)
    assert await stores.aliases.get(alias.key) == repointed
    assert await stores.aliases.of_actor(one.key) == []
    assert await stores.aliases.of_actor(two.key) == [repointed]
    assert await stores.permissions.levels(alias.shared) == levels
    assert await stores.nonces.list_nonces(alias.shared) == [nonce]


async def test_repoint_to_no_actor_changes_nothing(stores: Stores) -> None:
    alias = await insert_alias(stores, await insert_actor(stores))
    elsewhere = await insert_actor(stores, tenant=OTHER)
    for actor_id in (ActorId("ghost"), elsewhere.id):
        with pytest.raises(NotFoundError, match=f"actor '{actor_id}'"):
            await stores.aliases.repoint(alias.key, actor_id)
    assert await stores.aliases.get(alias.key) == alias


async def test_lists_are_oldest_first_and_then_by_name(stores: Stores) -> None:
    one, two = await insert_actor(stores), await insert_actor(stores)
    made = [
        await insert_alias(stores, actor, name, create_time=at(time))
        for name, actor, time in (
            ("d", one, 3), ("b", one, 1), ("c", two, 2), ("a", two, 1), ("B", one, 1),
        )
    ]  # fmt: skip
    d, b, c, a, big_b = made
    assert await stores.aliases.list_aliases(TENANT) == [big_b, a, b, c, d]
    assert await stores.aliases.of_actor(one.key) == [big_b, b, d]
    assert await stores.aliases.of_actor(two.key) == [a, c]
    assert await stores.aliases.of_actor(an_actor().key) == []


async def test_delete_takes_its_permissions_and_nonces_only(stores: Stores) -> None:
    actor = await insert_actor(stores)
    alias, other = [await insert_alias(stores, actor, name) for name in ("one", "two")]
    nonces = [
        await insert_nonce(stores, key)
        for key in (alias.shared, alias.shared, other.shared, actor.key.shared)
    ]
    await stores.aliases.delete(alias.key)
    assert dict(await stores.permissions.levels(alias.shared)) == {}
    for nonce in nonces[:2]:
        with pytest.raises(NotFoundError):
            await stores.nonces.get(nonce.id)
    for nonce in nonces[2:]:
        assert await stores.nonces.get(nonce.id) == nonce
        assert len(await stores.permissions.levels(nonce.target)) == 1
    assert await stores.actors.get(actor.key) == actor


async def test_a_name_that_is_taken_again_inherits_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores)
    alias = await insert_alias(stores, actor)
    await stores.permissions.grant(alias.shared, "eve", Level.UPDATE)
    nonce = await insert_nonce(stores, alias.shared)
    await stores.aliases.delete(alias.key)
    for late in (
        stores.permissions.grant(alias.shared, "eve", Level.UPDATE),
        stores.nonces.insert(a_nonce(alias.shared)),
    ):
        with pytest.raises(NotFoundError):
            await late
    await insert_alias(stores, actor, owner="new")
    assert dict(await stores.permissions.levels(alias.shared)) == {"new": Level.UPDATE}
    assert await stores.nonces.list_nonces(alias.shared) == []
    with pytest.raises(NotFoundError):
        await stores.nonces.redeem(nonce.id, alias.shared, Level.READ, NOON)
