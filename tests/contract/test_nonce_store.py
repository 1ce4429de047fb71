from __future__ import annotations

from dataclasses import replace

import pytest

from abaco.domain.ids import ActorId, Tenant
from abaco.domain.nonce import UNLIMITED, NonceId
from abaco.domain.permission import Level, ObjectKey, ObjectKind
from abaco.errors import ConflictError, ForbiddenError, NotFoundError
from abaco.ports.store import Stores
from tests.support.records import (
    NOON,
    TENANT,
    a_nonce,
    at,
)
from tests.support.stores import insert_actor, insert_alias, insert_nonce

OTHER = Tenant("OTHER")


async def test_a_nonce_comes_back_as_it_was_stored(stores: Stores) -> None:
    actor = await insert_actor(stores)
    nonce = await insert_nonce(
        stores,
        actor.key.shared,
        owner="a.b",
        roles=("Internal/abaco-admin", "é"),
        level=Level.UPDATE,
        description="a 'quoted'\ntext \0",
        max_uses=7,
        current_uses=3,
        remaining_uses=4,
        last_use_time=at(3),
    )
    assert await stores.nonces.get(nonce.id) == nonce
    assert await stores.nonces.list_nonces(nonce.target) == [nonce]
    plain = await insert_nonce(stores, actor.key.shared, roles=())
    assert await stores.nonces.get(plain.id) == plain


async def test_what_is_absent_is_said_without_repeating_it(stores: Stores) -> None:
    actor = await insert_actor(stores)
    nonce = a_nonce(actor.key.shared)
    for call in (
        stores.nonces.get(nonce.id),
        stores.nonces.redeem(nonce.id, nonce.target, Level.NONE, NOON),
        stores.nonces.delete(nonce.id),
    ):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert nonce.id not in caught.value.message + caught.value.detail


async def test_a_taken_id_stays_as_it_is(stores: Stores) -> None:
    nonce = await insert_nonce(stores, (await insert_actor(stores)).key.shared)
    with pytest.raises(ConflictError) as caught:
        await stores.nonces.insert(replace(nonce, level=Level.UPDATE))
    assert nonce.id not in caught.value.message
    assert await stores.nonces.get(nonce.id) == nonce


@pytest.mark.parametrize("kind", [ObjectKind.ACTOR, ObjectKind.ALIAS])
async def test_a_nonce_for_nothing_is_not_made(stores: Stores, kind: ObjectKind) -> None:
    nonce = a_nonce(ObjectKey(kind, TENANT, "ghost"))
    with pytest.raises(NotFoundError, match="ghost"):
        await stores.nonces.insert(nonce)
    with pytest.raises(NotFoundError):
        await stores.nonces.get(nonce.id)


async def test_a_nonce_of_another_tenant_than_its_targets_is_a_bug(stores: Stores) -> None:
    actor = await insert_actor(stores)
    with pytest.raises(ValueError, match="tenant"):
        await insert_nonce(stores, actor.key.shared, tenant=OTHER)


async def test_lists_hold_one_target_oldest_first(stores: Stores) -> None:
    actor = await insert_actor(stores, id=ActorId("x"))
    alias = await insert_alias(stores, actor, "x")
    made = [
        await insert_nonce(stores, key, id=NonceId(f"DEV_{name}"), create_time=at(time))
        for name, key, time in (
            ("c", actor.key.shared, 2),
            ("a", actor.key.shared, 3),
            ("z", alias.shared, 1),
            ("b", actor.key.shared, 2),
        )
    ]
    c, a, z, b = made
    assert await stores.nonces.list_nonces(actor.key.shared) == [b, c, a]
    assert await stores.nonces.list_nonces(alias.shared) == [z]


async def test_an_unlimited_nonce_is_counted_up_only(stores: Stores) -> None:
    nonce = await insert_nonce(stores, (await insert_actor(stores)).key.shared)
    for use in range(1, 4):
        used = await stores.nonces.redeem(nonce.id, nonce.target, nonce.level, at(use))
        assert used == replace(nonce, current_uses=use, last_use_time=at(use))
        assert used.remaining_uses == UNLIMITED
        assert await stores.nonces.get(nonce.id) == used


async def test_a_limited_nonce_ends(stores: Stores) -> None:
    target = (await insert_actor(stores)).key.shared
    nonce = await insert_nonce(stores, target, max_uses=2)
    for use in (1, 2):
        used = await stores.nonces.redeem(nonce.id, target, Level.READ, at(use))
        assert (used.current_uses, used.remaining_uses) == (use, 2 - use)
    for _ in range(2):
        with pytest.raises(ForbiddenError, match="no uses left"):
            await stores.nonces.redeem(nonce.id, target, Level.READ, at(9))
    assert await stores.nonces.get(nonce.id) == used
    assert (used.max_uses, used.last_use_time) == (2, at(2))


async def test_a_nonce_expires(stores: Stores) -> None:
    target = (await insert_actor(stores)).key.shared
    nonce = await insert_nonce(stores, target, max_uses=2, expires_at=at(10))
    assert await stores.nonces.get(nonce.id) == nonce
    assert (await stores.nonces.redeem(nonce.id, target, Level.READ, at(9.999))).current_uses == 1
    used = await stores.nonces.get(nonce.id)
    for seconds in (10, 11):
        with pytest.raises(ForbiddenError, match="expired"):
            await stores.nonces.redeem(nonce.id, target, Level.READ, at(seconds))
    assert await stores.nonces.get(nonce.id) == used


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("needed", Level)
async def test_a_level_too_low_uses_nothing_up(stores: Stores, level: Level, needed: Level) -> None:
    target = (await insert_actor(stores)).key.shared
    nonce = await insert_nonce(stores, target, max_uses=1, level=level)
    if level < needed:
        with pytest.raises(ForbiddenError, match=f"{level.name}.*{needed.name}"):
            await stores.nonces.redeem(nonce.id, target, needed, NOON)
        assert await stores.nonces.get(nonce.id) == nonce
    else:
        used = await stores.nonces.redeem(nonce.id, target, needed, NOON)
        assert used.remaining_uses == 0


async def test_a_nonce_opens_its_own_target_only(stores: Stores) -> None:
    actor = await insert_actor(stores, id=ActorId("x"))
    alias = await insert_alias(stores, actor, "x")
    await insert_actor(stores, id=ActorId("x"), tenant=OTHER)
    nonce = await insert_nonce(stores, actor.key.shared, max_uses=1)
    wrong = (
        alias.shared,
        actor.key.shared._replace(tenant=OTHER),
        *(actor.key.shared._replace(name=name) for name in ("", "X", "w", "y", "x ")),
    )
    for target in wrong:
        for needed in (Level.NONE, Level.UPDATE):
            with pytest.raises(NotFoundError, match="no such nonce"):
                await stores.nonces.redeem(nonce.id, target, needed, NOON)
    assert await stores.nonces.get(nonce.id) == nonce
    by_alias = await insert_nonce(stores, alias.shared)
    with pytest.raises(NotFoundError):
        await stores.nonces.redeem(by_alias.id, actor.key.shared, Level.READ, NOON)


async def test_delete_removes_one(stores: Stores) -> None:
    target = (await insert_actor(stores)).key.shared
    one, two = [await insert_nonce(stores, target) for _ in range(2)]
    await stores.nonces.delete(one.id)
    assert await stores.nonces.list_nonces(target) == [two]
    with pytest.raises(NotFoundError):
        await stores.nonces.delete(one.id)
    with pytest.raises(NotFoundError):
        await stores.nonces.redeem(one.id, target, Level.NONE, NOON)
