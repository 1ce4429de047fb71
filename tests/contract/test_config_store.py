"""Configs: every sentence of their contract, one call at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from abaco.domain.actor import Actor
from abaco.domain.actor_config import ActorConfig, ConfigKey
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.permission import WORLD, Level, ObjectKind
from abaco.errors import ConflictError, NotFoundError, TooLargeError
from abaco.ports.store import Stores
from abaco.ports.vault import Sealed
from tests.support.records import OWNER, TENANT, a_config, an_actor, at
from tests.support.stores import insert_actor, insert_alias, insert_config

OTHER = Tenant("OTHER")
PLENTY = 10**6


async def given(stores: Stores, actor: Actor) -> list[str]:
    """Name the configs an execution of the actor is given."""
    found = await stores.configs.of_actor(actor.key, max_bytes=PLENTY)
    return [config.name for config in found]


class TestRecords:
    async def test_a_config_comes_back_as_it_was_stored(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        east = timezone(timedelta(hours=5, minutes=30))
        config = await insert_config(
            stores,
            f" {actor.id} ,{actor.id}",
            'my.config_1 %"\\☃',
            value="'; -- ☃\n",
            is_secret=True,
            owner="a.b",
            create_time=at(1).astimezone(east),
        )
        assert await stores.configs.get(config.key) == config
        assert await stores.configs.get_many(TENANT, [config.name]) == [config]
        assert dict(await stores.permissions.levels(config.shared)) == {"a.b": Level.UPDATE}
        assert await stores.permissions.visible(ObjectKind.CONFIG, TENANT, "a.b") == [config.name]

    async def test_what_is_absent_is_named(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        key = ConfigKey(TENANT, "ghost")
        for call in (
            stores.configs.get(key),
            stores.configs.replace(key, value="", is_secret=False, actors=actor.id),
            stores.configs.delete(key),
        ):
            with pytest.raises(NotFoundError, match="config 'ghost'"):
                await call
        assert await stores.configs.list_names(TENANT) == []
        assert await stores.configs.get_many(TENANT, ["ghost"]) == []

    async def test_a_taken_name_stays_as_it_is(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        config = await insert_config(stores, actor.id)
        with pytest.raises(ConflictError, match="'settings' already exists"):
            await insert_config(stores, actor.id, value="other", owner="eve")
        assert await stores.configs.get(config.key) == config
        assert dict(await stores.permissions.levels(config.shared)) == {OWNER: Level.UPDATE}

    async def test_the_same_name_in_two_tenants_is_two_configs(self, stores: Stores) -> None:
        for tenant in (TENANT, OTHER):
            actor = await insert_actor(stores, tenant=tenant)
            await insert_config(stores, actor.id, tenant=tenant, value=tenant)
        await stores.configs.delete(ConfigKey(TENANT, "settings"))
        (left,) = await stores.configs.get_many(OTHER, ["settings"])
        assert left.value == OTHER
        assert await stores.configs.list_names(TENANT) == []

    async def test_lists_are_by_name(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        for name in ("b", "a", "C", "d"):
            await insert_config(stores, actor.id, name)
        assert await stores.configs.list_names(TENANT) == ["C", "a", "b", "d"]
        found = await stores.configs.get_many(TENANT, ["d", "a", "a", "x"])
        assert [config.name for config in found] == ["a", "d"]

    async def test_replace_keeps_owner_time_and_permissions(self, stores: Stores) -> None:
        one, two = await insert_actor(stores), await insert_actor(stores)
        config = await insert_config(stores, one.id, create_time=at(3))
        await stores.permissions.grant(config.shared, "joe", Level.READ)
        levels = await stores.permissions.levels(config.shared)
        changed = await stores.configs.replace(
            config.key, value="new", is_secret=True, actors=two.id
        )
        assert changed == replace(config, value="new", is_secret=True, actors=two.id)
        assert await stores.configs.get(config.key) == changed
        assert await stores.permissions.levels(config.shared) == levels
        assert (await given(stores, one), await given(stores, two)) == ([], ["settings"])

    async def test_delete_takes_its_permissions_only(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        config, other = [await insert_config(stores, actor.id, name) for name in ("one", "two")]
        await stores.permissions.grant(config.shared, "eve", Level.UPDATE)
        await stores.configs.delete(config.key)
        assert dict(await stores.permissions.levels(config.shared)) == {}
        with pytest.raises(NotFoundError):
            await stores.permissions.grant(config.shared, "eve", Level.UPDATE)
        assert len(await stores.permissions.levels(other.shared)) == 1
        assert await given(stores, actor) == ["two"]
        await insert_config(stores, actor.id, "one", owner="new")
        assert dict(await stores.permissions.levels(config.shared)) == {"new": Level.UPDATE}


class TestEntries:
    @pytest.mark.parametrize("entry", ["ghost", "x", "somebody", "%", "_"])
    async def test_what_does_not_exist_cannot_be_listed(self, stores: Stores, entry: str) -> None:
        actor = await insert_actor(stores)
        elsewhere = await insert_actor(stores, tenant=OTHER)
        await insert_alias(stores, elsewhere, "somebody")
        for ghost in (entry, elsewhere.id, actor.id[:-1]):
            with pytest.raises(NotFoundError, match=f"no actor or alias '{ghost}'"):
                await insert_config(stores, f"{actor.id},{ghost}")
            assert await stores.configs.list_names(TENANT) == []
            assert dict(await stores.permissions.levels(a_config("").shared)) == {}

    async def test_a_refused_replace_changes_nothing(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        config = await insert_config(stores, actor.id)
        with pytest.raises(NotFoundError, match="'ghost'"):
            await stores.configs.replace(
                config.key, value="new", is_secret=True, actors=f"ghost,{actor.id}"
            )
        assert await stores.configs.get(config.key) == config
        assert await given(stores, actor) == ["settings"]

    async def test_an_entry_counts_as_a_whole(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        for alias in ("e", "hello", "hell", "ello", "HELLO"):
            await insert_alias(stores, await insert_actor(stores), alias)
        await insert_alias(stores, actor, "ell")
        await insert_config(stores, "hello, e,hell ,ello,HELLO")
        assert await given(stores, actor) == []

    async def test_ids_and_all_aliases_count_and_each_config_once(self, stores: Stores) -> None:
        actor, other = await insert_actor(stores), await insert_actor(stores)
        for alias in ("one", "two"):
            await insert_alias(stores, actor, alias)
        await insert_config(stores, actor.id, "by id")
        await insert_config(stores, " two ", "by alias")
        await insert_config(stores, f"one,{actor.id} , two,one", "by all")
        await insert_config(stores, other.id, "of other")
        assert await given(stores, actor) == ["by alias", "by all", "by id"]
        assert await given(stores, other) == ["of other"]
        assert await given(stores, an_actor()) == []

    async def test_the_same_names_in_another_tenant_do_not_count(self, stores: Stores) -> None:
        for tenant in (TENANT, OTHER):
            actor = await insert_actor(stores, tenant=tenant, id=ActorId("same"))
            await insert_alias(stores, actor, "alias")
        await insert_config(stores, "same,alias")
        assert await given(stores, actor) == []
        assert actor.tenant == OTHER

    async def test_a_repointed_alias_takes_the_config_along(self, stores: Stores) -> None:
        one, two = await insert_actor(stores), await insert_actor(stores)
        alias = await insert_alias(stores, one)
        await insert_config(stores, alias.alias)
        await stores.aliases.repoint(alias.key, two.id)
        assert (await given(stores, one), await given(stores, two)) == ([], ["settings"])

    @pytest.mark.parametrize("by_actor", [True, False])
    async def test_what_is_deleted_is_listed_no_more(self, stores: Stores, by_actor: bool) -> None:
        actor, other = await insert_actor(stores), await insert_actor(stores)
        alias = await insert_alias(stores, actor, "gone")
        config = await insert_config(stores, f"{other.id}, gone,{actor.id} ,gone")
        if by_actor:
            await stores.actors.delete(actor.key)
            assert (await stores.configs.get(config.key)).actors == other.id
        else:
            await stores.aliases.delete(alias.key)
            assert (await stores.configs.get(config.key)).actors == f"{other.id},{actor.id}"
            assert await given(stores, actor) == ["settings"]
        assert await given(stores, other) == ["settings"]
        # whoever takes the name is given nothing
        newcomer = await insert_actor(stores)
        await insert_alias(stores, newcomer, "gone")
        assert await given(stores, newcomer) == []

    async def test_a_config_whose_last_actor_went_stays_and_lists_none(
        self, stores: Stores
    ) -> None:
        actor = await insert_actor(stores)
        config = await insert_config(stores, f" {actor.id} ")
        await stores.actors.delete(actor.key)
        assert await stores.configs.get(config.key) == replace(config, actors="")


class TestOwners:
    @pytest.mark.parametrize("level", Level)
    async def test_an_owner_who_may_not_update_the_actor_gives_it_nothing(
        self, stores: Stores, level: Level
    ) -> None:
        actor = await insert_actor(stores)
        await insert_config(stores, actor.id, owner="ann")
        assert await given(stores, actor) == []
        await stores.permissions.grant(actor.key.shared, "ann", level)
        assert await given(stores, actor) == (["settings"] if level is Level.UPDATE else [])

    async def test_what_everybody_may_do_counts_for_the_owner(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await insert_alias(stores, actor, "alias")
        await insert_config(stores, actor.id, "a", owner="ann")
        await insert_config(stores, f"alias,{actor.id}", "b", owner="ann")
        await insert_config(stores, "alias", "c")
        assert await given(stores, actor) == ["c"]
        await stores.permissions.grant(actor.key.shared, WORLD, Level.EXECUTE)
        assert await given(stores, actor) == ["c"]
        await stores.permissions.grant(actor.key.shared, WORLD, Level.UPDATE)
        assert await given(stores, actor) == ["a", "b", "c"]

    async def test_levels_on_alias_and_config_do_not_count(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        alias = await insert_alias(stores, actor, owner="ann")
        await insert_config(stores, f"{alias.alias},{actor.id}", owner="ann")
        assert await given(stores, actor) == []

    async def test_what_the_owner_lost_the_actor_loses(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await insert_config(stores, actor.id)
        await stores.permissions.grant(actor.key.shared, "ann", Level.UPDATE)
        await stores.permissions.grant(actor.key.shared, OWNER, Level.EXECUTE)
        assert await given(stores, actor) == []


class TestSize:
    async def test_more_than_the_limit_is_refused(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        for name in ("a", "b"):
            await insert_config(stores, actor.id, name, value="☃" * 10)
        await insert_config(stores, (await insert_actor(stores)).id, "c", value="x" * 1000)
        assert len(await stores.configs.of_actor(actor.key, max_bytes=60)) == 2
        with pytest.raises(TooLargeError, match="59 bytes"):
            await stores.configs.of_actor(actor.key, max_bytes=59)


class TestSealed:
    async def all(self, stores: Stores, limit: int = 2) -> list[Sealed]:
        found: list[Sealed] = []
        while page := await stores.configs.list_sealed(
            after=found[-1].place if found else None, limit=limit
        ):
            assert len(page) <= limit
            found += page
        return found

    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_pages_have_each_secret_of_all_tenants_once(
        self, stores: Stores, limit: int
    ) -> None:
        for tenant in (TENANT, OTHER):
            actor = await insert_actor(stores, tenant=tenant)
            for n in range(12):
                await insert_config(
                    stores,
                    actor.id,
                    f"c{n}",
                    tenant=tenant,
                    value=f"{tenant}{n}",
                    is_secret=n % 4 > 0,
                )
        found = await self.all(stores, limit)
        expected = {f"{t}{n}" for t in (TENANT, OTHER) for n in range(12) if n % 4}
        assert sorted(each.ciphertext for each in found) == sorted(expected)

    async def test_reseal_replaces_what_is_still_there(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        config = await insert_config(stores, actor.id, value="old", is_secret=True)
        (sealed,) = await self.all(stores)
        assert await stores.configs.reseal(sealed, "new")
        assert await stores.configs.get(config.key) == replace(config, value="new")
        assert not await stores.configs.reseal(sealed, "newer")
        assert await given(stores, actor) == ["settings"]

    async def test_reseal_never_touches_what_was_changed_or_removed(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        config = await insert_config(stores, actor.id, value="old", is_secret=True)
        (sealed,) = await self.all(stores)

        async def change(value: str, *, is_secret: bool) -> ActorConfig:
            return await stores.configs.replace(
                config.key, value=value, is_secret=is_secret, actors=actor.id
            )

        for value, is_secret in (("other", True), ("old", False)):
            present = await change(value, is_secret=is_secret)
            assert not await stores.configs.reseal(sealed, "new")
            assert await stores.configs.get(config.key) == present
        await stores.configs.delete(config.key)
        assert not await stores.configs.reseal(sealed, "new")
        assert await stores.configs.list_names(TENANT) == []
