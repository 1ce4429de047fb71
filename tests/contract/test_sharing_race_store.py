"""Sharing and configs: many callers at once, in whatever order the store takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from abaco.domain.actor_config import ConfigKey
from abaco.domain.nonce import Nonce
from abaco.domain.permission import WORLD, Level, ObjectKey, ObjectKind
from abaco.errors import ConflictError, ForbiddenError, NotFoundError
from abaco.ports.store import Stores
from tests.support.records import OWNER, TENANT, a_config, a_nonce, an_alias, at
from tests.support.stores import insert_actor, insert_alias, insert_config, insert_nonce

ROUNDS = range(10)


async def _all(*calls: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


def _faults(answers: list[Any], *expected: type[Exception]) -> list[BaseException]:
    """Return the refusals, which must be of the expected types and no others."""
    faults = [each for each in answers if isinstance(each, BaseException)]
    assert all(isinstance(each, expected) for each in faults), faults
    return faults


async def test_ten_uses_serve_ten_of_many(stores: Stores) -> None:
    target = (await insert_actor(stores)).key.shared
    nonce = await insert_nonce(stores, target, max_uses=10)
    answers = await _all(
        *(stores.nonces.redeem(nonce.id, target, Level.EXECUTE, at(n)) for n in range(64))
    )
    assert len(_faults(answers, ForbiddenError)) == 54
    served = [each for each in answers if isinstance(each, Nonce)]
    assert sorted(each.current_uses for each in served) == list(range(1, 11))
    assert all(each.current_uses + each.remaining_uses == 10 for each in served)
    last = await stores.nonces.get(nonce.id)
    assert last in served
    assert (last.current_uses, last.remaining_uses) == (10, 0)


async def test_an_unlimited_nonce_counts_every_use(stores: Stores) -> None:
    target = (await insert_actor(stores)).key.shared
    nonce = await insert_nonce(stores, target)
    answers = await _all(
        *(stores.nonces.redeem(nonce.id, target, Level.READ, at(n)) for n in range(64))
    )
    assert sorted(each.current_uses for each in answers) == list(range(1, 65))


async def test_too_low_and_foreign_redeems_take_no_use_from_good_ones(stores: Stores) -> None:
    target = (await insert_actor(stores)).key.shared
    foreign = (await insert_actor(stores)).key.shared
    nonce = await insert_nonce(stores, target, max_uses=8)
    redeem = stores.nonces.redeem
    answers = await _all(
        *(
            redeem(nonce.id, *what, at(n))
            for n in range(8)
            for what in (
                (target, Level.UPDATE),
                (target, Level.EXECUTE),
                (foreign, Level.READ),
            )
        )
    )
    assert len(_faults(answers, ForbiddenError, NotFoundError)) == 16
    assert (await stores.nonces.get(nonce.id)).remaining_uses == 0


async def test_a_delete_ends_redeems_for_good(stores: Stores) -> None:
    for _ in ROUNDS:
        target = (await insert_actor(stores)).key.shared
        nonce = await insert_nonce(stores, target)
        early, deleted, late = await _all(
            stores.nonces.redeem(nonce.id, target, Level.READ, at(1)),
            stores.nonces.delete(nonce.id),
            stores.nonces.redeem(nonce.id, target, Level.READ, at(2)),
        )
        _faults([early, late], NotFoundError)
        assert deleted is None
        with pytest.raises(NotFoundError):
            await stores.nonces.get(nonce.id)


async def test_of_all_who_resign_at_once_one_stays(stores: Stores) -> None:
    for _ in ROUNDS:
        key = (await insert_actor(stores)).key.shared
        users = [OWNER, "ann", "joe", "eve"]
        for user in (*users, WORLD):
            await stores.permissions.grant(key, user, Level.UPDATE)
        answers = await _all(*(stores.permissions.grant(key, user, Level.READ) for user in users))
        assert len(_faults(answers, ConflictError)) == 1
        levels = await stores.permissions.levels(key)
        assert sorted(levels[user] for user in users) == [Level.READ] * 3 + [Level.UPDATE]


async def test_grants_to_many_all_count(stores: Stores) -> None:
    key = (await insert_actor(stores)).key.shared
    answers = await _all(
        *(stores.permissions.grant(key, f"user{n}", Level(n % 4)) for n in range(40))
    )
    assert _faults(answers) == []
    # each saw its own entry and all that were taken before it
    assert sorted(len(levels) for levels in answers) == list(range(2, 42))
    assert len(await stores.permissions.levels(key)) == 41


@pytest.mark.parametrize("grant_first", [True, False])
@pytest.mark.parametrize("kind", [ObjectKind.ACTOR, ObjectKind.ALIAS])
async def test_what_comes_while_an_object_goes_leaves_nothing_behind(
    stores: Stores, kind: ObjectKind, grant_first: bool
) -> None:
    for _ in ROUNDS:
        actor = await insert_actor(stores)
        alias = await insert_alias(stores, actor)
        is_actor = kind is ObjectKind.ACTOR
        key: ObjectKey = actor.key.shared if is_actor else alias.shared
        nonce = a_nonce(key)
        calls: list[Awaitable[Any]] = [
            stores.permissions.grant(key, "eve", Level.UPDATE),
            stores.nonces.insert(nonce),
            stores.actors.delete(actor.key) if is_actor else stores.aliases.delete(alias.key),
        ]
        if not grant_first:
            calls.reverse()
        _faults(await _all(*calls), NotFoundError)
        assert dict(await stores.permissions.levels(key)) == {}
        assert await stores.nonces.list_nonces(key) == []
        await stores.actors.delete(actor.key)
        assert await stores.permissions.visible(kind, TENANT, "eve") == []


@pytest.mark.parametrize("delete_first", [True, False])
async def test_an_alias_never_points_to_an_actor_that_went(
    stores: Stores, delete_first: bool
) -> None:
    for _ in ROUNDS:
        going, staying = await insert_actor(stores), await insert_actor(stores)
        moving = await insert_alias(stores, staying, "moving")
        calls: list[Awaitable[Any]] = [
            stores.aliases.insert(an_alias(going, "new")),
            stores.aliases.repoint(moving.key, going.id),
            stores.actors.delete(going.key),
        ]
        if delete_first:
            calls.reverse()
        _faults(await _all(*calls), NotFoundError)
        for alias in await stores.aliases.list_aliases(TENANT):
            assert alias.actor == staying.key
        assert await stores.aliases.of_actor(going.key) == []
        await stores.actors.delete(staying.key)


async def test_one_of_many_takes_a_name(stores: Stores) -> None:
    actors = [await insert_actor(stores) for _ in range(8)]
    answers = await _all(
        *(
            stores.aliases.insert(an_alias(actor, owner=f"user{n}"))
            for n, actor in enumerate(actors)
        )
    )
    assert len(_faults(answers, ConflictError)) == 7
    winner = answers.index(None)
    (alias,) = await stores.aliases.list_aliases(TENANT)
    assert alias.actor == actors[winner].key
    levels = await stores.permissions.levels(alias.shared)
    assert dict(levels) == {f"user{winner}": Level.UPDATE}


async def test_one_of_many_inserts_of_a_nonce_wins(stores: Stores) -> None:
    nonce = a_nonce((await insert_actor(stores)).key.shared)
    answers = await _all(*(stores.nonces.insert(nonce) for _ in range(8)))
    assert len(_faults(answers, ConflictError)) == 7


async def test_one_of_many_deletes_of_an_alias_wins(stores: Stores) -> None:
    alias = await insert_alias(stores, await insert_actor(stores))
    answers = await _all(*(stores.aliases.delete(alias.key) for _ in range(8)))
    assert len(_faults(answers, NotFoundError)) == 7


async def test_many_repoints_leave_an_alias_with_one_actor(stores: Stores) -> None:
    actors = [await insert_actor(stores) for _ in range(6)]
    alias = await insert_alias(stores, actors[0])
    answers = await _all(*(stores.aliases.repoint(alias.key, actor.id) for actor in actors))
    assert [each.actor_id for each in answers] == [actor.id for actor in actors]
    (owner,) = [actor for actor in actors if await stores.aliases.of_actor(actor.key)]
    assert (await stores.aliases.get(alias.key)).actor == owner.key


async def test_one_of_many_makes_a_config(stores: Stores) -> None:
    actor = await insert_actor(stores)
    answers = await _all(
        *(stores.configs.insert(a_config(actor.id, owner=f"user{n}")) for n in range(8))
    )
    assert len(_faults(answers, ConflictError)) == 7
    levels = await stores.permissions.levels(a_config("").shared)
    assert dict(levels) == {f"user{answers.index(None)}": Level.UPDATE}


@pytest.mark.parametrize("delete_first", [True, False])
async def test_a_config_never_lists_what_went(stores: Stores, delete_first: bool) -> None:
    for _ in ROUNDS:
        going, staying = await insert_actor(stores), await insert_actor(stores)
        alias = await insert_alias(stores, staying, "going")
        moving = await insert_config(stores, staying.id, "moving")
        every = f"{staying.id},{going.id},{alias.alias}"
        calls: list[Awaitable[Any]] = [
            stores.configs.insert(a_config(every, "new")),
            stores.configs.replace(moving.key, value="x", is_secret=False, actors=every),
            stores.actors.delete(going.key),
            stores.aliases.delete(alias.key),
        ]
        if delete_first:
            calls.reverse()
        _faults(await _all(*calls), NotFoundError)
        names = await stores.configs.list_names(TENANT)
        for config in await stores.configs.get_many(TENANT, names):
            assert config.actors == staying.id
        assert await stores.configs.of_actor(going.key, max_bytes=99) == []
        for name in names:
            await stores.configs.delete(ConfigKey(TENANT, name))


async def test_one_of_many_deletes_of_a_config_wins(stores: Stores) -> None:
    config = await insert_config(stores, (await insert_actor(stores)).id)
    answers = await _all(*(stores.configs.delete(config.key) for _ in range(8)))
    assert len(_faults(answers, NotFoundError)) == 7


async def test_a_reseal_loses_against_a_new_value(stores: Stores) -> None:
    actor = await insert_actor(stores)
    for number in ROUNDS:
        old = f"old{number}"
        config = await insert_config(stores, actor.id, value=old, is_secret=True)
        (sealed,) = await stores.configs.list_sealed()
        calls: list[Awaitable[Any]] = [
            stores.configs.reseal(sealed, "resealed"),
            stores.configs.replace(config.key, value="new", is_secret=True, actors=actor.id),
            stores.configs.reseal(sealed, "again"),
        ]
        if number % 2:
            calls.reverse()
        answers = await _all(*calls)
        assert _faults(answers) == []
        assert answers.count(True) == 1
        assert (await stores.configs.get(config.key)).value == "new"
        await stores.configs.delete(config.key)
