"""Permissions, aliases, nonces: every sentence of their contracts, one call at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaco.domain.actor import Actor
from abaco.domain.actor_config import ConfigKey
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.nonce import NonceId
from abaco.domain.permission import WORLD, Level, ObjectKey, ObjectKind, effective_level
from abaco.errors import ConflictError, NotFoundError
from abaco.ports.store import Stores
from tests.support.records import (
    NOON,
    OWNER,
    TENANT,
    SteppedClock,
    an_actor,
    at,
    new_id,
)
from tests.support.stores import (
    insert_actor,
    insert_alias,
    insert_config,
    insert_nonce,
    opened,
)

OTHER = Tenant("OTHER")

AWKWARD_NAMES = ["a.b", "$where", "%", "_", "jane ", "JANE", "né", "ne\u0301", "'; --", "\0", "👤"]


class TestPermissions:
    async def test_the_owner_of_a_new_actor_may_update_it(self, stores: Stores) -> None:
        actor = await insert_actor(stores, owner="joe")
        assert dict(await stores.permissions.levels(actor.key.shared)) == {"joe": Level.UPDATE}

    async def test_the_owner_of_a_new_alias_may_update_it(self, stores: Stores) -> None:
        actor = await insert_actor(stores, owner="joe")
        alias = await insert_alias(stores, actor, owner="eve")
        assert dict(await stores.permissions.levels(alias.shared)) == {"eve": Level.UPDATE}
        assert dict(await stores.permissions.levels(actor.key.shared)) == {"joe": Level.UPDATE}

    async def test_a_refused_insert_grants_nothing(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        alias = await insert_alias(stores, actor)
        with pytest.raises(ConflictError):
            await stores.actors.insert(replace(actor, owner="eve"))
        with pytest.raises(ConflictError):
            await stores.aliases.insert(replace(alias, owner="eve"))
        for key in (actor.key.shared, alias.shared):
            assert dict(await stores.permissions.levels(key)) == {OWNER: Level.UPDATE}

    async def test_an_object_without_permissions_has_an_empty_map(self, stores: Stores) -> None:
        for kind in ObjectKind:
            assert dict(await stores.permissions.levels(ObjectKey(kind, TENANT, "x"))) == {}

    async def test_grant_adds_and_replaces_one_entry_and_returns_the_map(
        self, stores: Stores
    ) -> None:
        key = (await insert_actor(stores)).key.shared
        for level in (*Level, Level.READ):
            levels = await stores.permissions.grant(key, "joe", level)
            assert dict(levels) == {OWNER: Level.UPDATE, "joe": level}
            assert all(isinstance(each, Level) for each in levels.values())
            assert await stores.permissions.levels(key) == levels
        await stores.permissions.grant(key, "ann", Level.NONE)
        assert list(await stores.permissions.levels(key)) == ["ann", OWNER, "joe"]

    @pytest.mark.parametrize("present", [Level.NONE, Level.UPDATE])
    async def test_a_grant_of_what_is_new_leaves_an_entry_as_it_is(
        self, stores: Stores, present: Level
    ) -> None:
        key = (await insert_actor(stores, owner="joe")).key.shared
        levels = await stores.permissions.grant(key, "eve", Level.READ, only_new=True)
        assert dict(levels) == {"eve": Level.READ, "joe": Level.UPDATE}
        await stores.permissions.grant(key, "eve", present)
        levels = await stores.permissions.grant(key, "eve", Level.EXECUTE, only_new=True)
        assert dict(levels) == {"eve": present, "joe": Level.UPDATE}
        assert await stores.permissions.levels(key) == levels

    async def test_a_map_that_was_returned_is_the_callers_own(self, stores: Stores) -> None:
        key = (await insert_actor(stores)).key.shared
        levels = await stores.permissions.grant(key, "joe", Level.READ)
        assert isinstance(levels, dict)
        levels.clear()
        assert len(await stores.permissions.levels(key)) == 2

    @pytest.mark.parametrize("level", [Level.NONE, Level.READ, Level.EXECUTE])
    async def test_the_last_who_may_update_cannot_be_taken_away(
        self, stores: Stores, level: Level
    ) -> None:
        key = (await insert_actor(stores)).key.shared
        await stores.permissions.grant(key, WORLD, Level.UPDATE)
        await stores.permissions.grant(key, "joe", Level.EXECUTE)
        before = await stores.permissions.levels(key)
        with pytest.raises(ConflictError, match="UPDATE"):
            await stores.permissions.grant(key, OWNER, level)
        assert await stores.permissions.levels(key) == before
        await stores.permissions.grant(key, "joe", Level.UPDATE)
        assert (await stores.permissions.grant(key, OWNER, level))[OWNER] is level

    @pytest.mark.parametrize("kind", ObjectKind)
    async def test_a_grant_on_what_does_not_exist_leaves_nothing_behind(
        self, stores: Stores, kind: ObjectKind
    ) -> None:
        key = ObjectKey(kind, TENANT, "ghost")
        with pytest.raises(NotFoundError, match=f"{kind} 'ghost'"):
            await stores.permissions.grant(key, "eve", Level.UPDATE)
        assert dict(await stores.permissions.levels(key)) == {}
        assert await stores.permissions.visible(kind, TENANT, "eve") == []

    async def test_any_text_is_a_users_name(self, stores: Stores) -> None:
        key = (await insert_actor(stores)).key.shared
        for number, user in enumerate(AWKWARD_NAMES):
            await stores.permissions.grant(key, user, Level(number % 4))
        levels = dict(await stores.permissions.levels(key))
        assert levels.pop(OWNER) is Level.UPDATE
        assert levels == {user: Level(n % 4) for n, user in enumerate(AWKWARD_NAMES)}
        for number, user in enumerate(AWKWARD_NAMES):
            seen = await stores.permissions.visible(ObjectKind.ACTOR, TENANT, user)
            assert seen == ([key.name] if number % 4 else [])

    async def test_kind_tenant_and_name_keep_objects_apart(self, stores: Stores) -> None:
        for tenant in (TENANT, OTHER):
            actor = await insert_actor(stores, tenant=tenant, id=ActorId("x"), owner=f"{tenant} 1")
            await insert_alias(stores, actor, "x", owner=f"{tenant} 2")
            await insert_config(stores, "x", "x", tenant=tenant, owner=f"{tenant} 3")
        for tenant in (TENANT, OTHER):
            for number, kind in enumerate(ObjectKind, 1):
                levels = await stores.permissions.levels(ObjectKey(kind, tenant, "x"))
                assert dict(levels) == {f"{tenant} {number}": Level.UPDATE}
        await stores.configs.delete(ConfigKey(TENANT, "x"))
        assert len(await stores.permissions.levels(ObjectKey(ObjectKind.ACTOR, TENANT, "x"))) == 1
        assert len(await stores.permissions.levels(ObjectKey(ObjectKind.CONFIG, OTHER, "x"))) == 1

    async def test_visible_names_what_is_own_shared_or_everybodys(self, stores: Stores) -> None:
        own = await insert_actor(stores, id=ActorId("own"), owner="ann")
        shared, everybodys, both, revoked, hidden = [
            (await insert_actor(stores, id=ActorId(name))).key.shared
            for name in ("shared", "everybodys", "both", "revoked", "hidden")
        ]
        grant = stores.permissions.grant
        await grant(shared, "ann", Level.READ)
        await grant(everybodys, WORLD, Level.EXECUTE)
        await grant(both, "ann", Level.NONE)
        await grant(both, WORLD, Level.READ)
        await grant(revoked, "ann", Level.READ)
        await grant(revoked, "ann", Level.NONE)
        await grant(hidden, WORLD, Level.NONE)
        await grant(hidden, "anna", Level.UPDATE)
        visible = stores.permissions.visible
        expected = ["both", "everybodys", "own", "shared"]
        assert await visible(ObjectKind.ACTOR, TENANT, "ann") == expected
        assert await visible(ObjectKind.ACTOR, TENANT, "nobody") == ["both", "everybodys"]
        assert await visible(ObjectKind.ACTOR, TENANT, WORLD) == ["both", "everybodys"]
        assert await visible(ObjectKind.ALIAS, TENANT, "ann") == []
        assert await visible(ObjectKind.ACTOR, OTHER, "ann") == []
        await stores.actors.delete(own.key)
        assert await visible(ObjectKind.ACTOR, TENANT, "ann") == ["both", "everybodys", "shared"]

    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        levels=st.dictionaries(st.sampled_from(["ann", "joe", WORLD]), st.sampled_from(Level)),
        user=st.sampled_from(["ann", "joe", "eve", WORLD]),
    )
    async def test_visible_agrees_with_the_effective_level(
        self, stores: Stores, levels: dict[str, Level], user: str
    ) -> None:
        key = (await insert_actor(stores)).key.shared
        for name, level in levels.items():
            await stores.permissions.grant(key, name, level)
        stored = await stores.permissions.levels(key)
        seen = await stores.permissions.visible(ObjectKind.ACTOR, TENANT, user)
        assert (key.name in seen) is (effective_level(stored, user) >= Level.READ)
        assert len(seen) == len(set(seen))


class TestActors:
    async def test_many_are_got_at_once_oldest_first(self, stores: Stores) -> None:
        three, one, two = [
            await insert_actor(stores, create_time=at(time), state={"n": time})
            for time in (3, 1, 2)
        ]
        same = await insert_actor(stores, id=ActorId(f"{two.id}0"), create_time=at(2))
        elsewhere = await insert_actor(stores, id=two.id, tenant=OTHER, create_time=at(0))
        keys = [three.key, an_actor().key, same.key, two.key, one.key, one.key]
        assert await stores.actors.get_many(keys) == [one, two, same, three]
        assert await stores.actors.get_many([two.key, elsewhere.key]) == [elsewhere, two]
        assert await stores.actors.get_many([]) == []
        assert await stores.actors.get_many({an_actor().key}) == []

    async def test_nobody_reaches_into_the_store_through_many(self, stores: Stores) -> None:
        actor = await insert_actor(stores, state={"n": [1]})
        (got,) = await stores.actors.get_many([actor.key])
        got.state["n"].append(2)
        assert await stores.actors.get(actor.key) == actor

    async def test_very_many_are_got_too(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        keys = [actor.key, *(actor.key._replace(id=ActorId(new_id())) for _ in range(40_000))]
        assert await stores.actors.get_many(keys) == [actor]

    async def test_delete_takes_aliases_permissions_and_nonces(self, stores: Stores) -> None:
        actor, other = await insert_actor(stores), await insert_actor(stores)
        gone = [await insert_alias(stores, actor, name) for name in ("one", "two")]
        moved = await insert_alias(stores, actor, "moved")
        kept = await stores.aliases.repoint(moved.key, other.id)
        await stores.permissions.grant(actor.key.shared, "joe", Level.UPDATE)
        targets = [actor.key.shared, *(alias.shared for alias in gone)]
        nonces = [await insert_nonce(stores, target) for target in targets]
        left = [await insert_nonce(stores, key) for key in (other.key.shared, kept.shared)]
        await stores.actors.delete(actor.key)
        assert await stores.aliases.list_aliases(TENANT) == [kept]
        for target, nonce in zip(targets, nonces, strict=True):
            assert dict(await stores.permissions.levels(target)) == {}
            assert await stores.nonces.list_nonces(target) == []
            with pytest.raises(NotFoundError):
                await stores.nonces.redeem(nonce.id, target, Level.NONE, NOON)
        for nonce in left:
            assert await stores.nonces.get(nonce.id) == nonce
            assert len(await stores.permissions.levels(nonce.target)) == 1
        assert await stores.permissions.visible(ObjectKind.ACTOR, TENANT, "joe") == []

    async def test_an_actor_made_again_inherits_nothing(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await stores.permissions.grant(actor.key.shared, "eve", Level.UPDATE)
        await stores.actors.delete(actor.key)
        with pytest.raises(NotFoundError):
            await stores.permissions.grant(actor.key.shared, "eve", Level.UPDATE)
        await stores.actors.insert(actor)
        levels = await stores.permissions.levels(actor.key.shared)
        assert dict(levels) == {OWNER: Level.UPDATE}


async def _share(stores: Stores) -> Actor:
    actor = await insert_actor(stores, id=ActorId("x"))
    alias = await insert_alias(stores, actor)
    await stores.permissions.grant(alias.shared, "joe", Level.READ)
    await insert_nonce(stores, actor.key.shared, id=NonceId("DEV_n"), max_uses=2)
    await stores.nonces.redeem(NonceId("DEV_n"), actor.key.shared, Level.READ, at(1))
    return actor


async def test_sharing_survives_a_restart(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        actor = await _share(stores)
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        (alias,) = await stores.aliases.of_actor(actor.key)
        levels = await stores.permissions.levels(alias.shared)
        assert dict(levels) == {OWNER: Level.UPDATE, "joe": Level.READ}
        (nonce,) = await stores.nonces.list_nonces(actor.key.shared)
        assert (nonce.remaining_uses, nonce.last_use_time) == (1, at(1))
