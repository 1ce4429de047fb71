"""Random steps of sharing, taken on every backend at once, must look the same on each."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from abaco.domain.actor import Actor
from abaco.domain.actor_config import ActorConfig
from abaco.domain.alias import Alias
from abaco.domain.ids import ActorId
from abaco.domain.nonce import NonceId
from abaco.domain.permission import WORLD, Level, ObjectKey, ObjectKind
from abaco.ports.store import Stores
from tests.support.alike import NamedStep, Step, compare, steps
from tests.support.records import TENANT, a_config, a_nonce, an_actor, an_alias, at

#: few names, so that steps meet
ACTORS = [an_actor(id=ActorId("one")), an_actor(id=ActorId("two"))]
ALIASES = [an_alias(ACTORS[n % 2], f"alias{n}", owner="joe", create_time=at(n)) for n in (0, 1)]
CONFIGS = [
    a_config("one,alias0", "config0", owner="joe", is_secret=True),
    a_config(" alias1 ,two,alias1", "config1", owner="jane"),
]
OBJECTS = [
    *(actor.key.shared for actor in ACTORS),
    *(alias.shared for alias in ALIASES),
    *(config.shared for config in CONFIGS),
]
NONCES = [NonceId(f"n{n}") for n in range(3)]
ENTRIES = ["one", "two ,alias0", "alias1", "alias0, alias1", "ghost", "on"]
USERS = ["jane", "joe", WORLD]

actors = st.sampled_from(ACTORS)
aliases = st.sampled_from(ALIASES)
configs = st.sampled_from(CONFIGS)
objects = st.sampled_from(OBJECTS)
nonce_ids = st.sampled_from(NONCES)
levels = st.sampled_from(Level)
seconds = st.integers(0, 5)


def insert(actor: Actor) -> Step:
    return lambda stores: stores.actors.insert(actor)


def delete_actor(actor: Actor) -> Step:
    return lambda stores: stores.actors.delete(actor.key)


def grant(key: ObjectKey, user: str, level: Level) -> Step:
    return lambda stores: stores.permissions.grant(key, user, level)


def insert_alias(alias: Alias) -> Step:
    return lambda stores: stores.aliases.insert(alias)


def repoint(alias: Alias, actor: Actor) -> Step:
    return lambda stores: stores.aliases.repoint(alias.key, actor.id)


def delete_alias(alias: Alias) -> Step:
    return lambda stores: stores.aliases.delete(alias.key)


def insert_nonce(nonce_id: NonceId, target: ObjectKey, level: Level, max_uses: int) -> Step:
    nonce = a_nonce(target, max_uses, id=nonce_id, level=level)
    return lambda stores: stores.nonces.insert(nonce)


def redeem(nonce_id: NonceId, target: ObjectKey, needed: Level, time: int) -> Step:
    return lambda stores: stores.nonces.redeem(nonce_id, target, needed, at(time))


def redeem_well(nonce_id: NonceId, needed: Level, time: int) -> Step:
    async def step(stores: Stores) -> Any:
        nonce = await stores.nonces.get(nonce_id)
        return await stores.nonces.redeem(nonce_id, nonce.target, needed, at(time))

    return step


def insert_config(config: ActorConfig) -> Step:
    return lambda stores: stores.configs.insert(config)


def replace_config(config: ActorConfig, is_secret: bool, actors: str) -> Step:
    return lambda stores: stores.configs.replace(
        config.key, value="new", is_secret=is_secret, actors=actors
    )


def delete_config(config: ActorConfig) -> Step:
    return lambda stores: stores.configs.delete(config.key)


def reseal_all(ciphertext: str) -> Step:
    async def step(stores: Stores) -> Any:
        pages = [await stores.configs.list_sealed()]
        return [await stores.configs.reseal(each, ciphertext) for each in pages[0]]

    return step


def delete_nonce(nonce_id: NonceId) -> Step:
    return lambda stores: stores.nonces.delete(nonce_id)


any_steps = st.one_of(
    steps(insert, actors),
    steps(delete_actor, actors),
    steps(grant, objects, st.sampled_from(USERS), levels),
    steps(grant, objects, st.sampled_from(USERS), levels),
    steps(insert_alias, aliases),
    steps(insert_alias, aliases),
    steps(repoint, aliases, actors),
    steps(delete_alias, aliases),
    steps(insert_nonce, nonce_ids, objects, levels, st.sampled_from([-1, 1, 2])),
    steps(insert_nonce, nonce_ids, objects, levels, st.sampled_from([-1, 1, 2])),
    steps(redeem, nonce_ids, objects, levels, seconds),
    steps(redeem_well, nonce_ids, levels, seconds),
    steps(redeem_well, nonce_ids, st.just(Level.NONE), seconds),
    steps(delete_nonce, nonce_ids),
    steps(insert_config, configs),
    steps(insert_config, configs),
    steps(replace_config, configs, st.booleans(), st.sampled_from(ENTRIES)),
    steps(delete_config, configs),
    steps(reseal_all, st.sampled_from(["", "sealed"])),
)


async def _view(stores: Stores) -> dict[str, Any]:
    """Everything of sharing that can be seen from outside."""
    return {
        "aliases": await stores.aliases.list_aliases(TENANT),
        "actors": await stores.actors.get_many([actor.key for actor in ACTORS]),
        "of": [await stores.aliases.of_actor(actor.key) for actor in ACTORS],
        "levels": [list((await stores.permissions.levels(key)).items()) for key in OBJECTS],
        "configs": await stores.configs.get_many(TENANT, [each.name for each in CONFIGS]),
        "names": await stores.configs.list_names(TENANT),
        "given": [await stores.configs.of_actor(each.key, max_bytes=99) for each in ACTORS],
        "nonces": [await stores.nonces.list_nonces(key) for key in OBJECTS],
        "visible": [
            await stores.permissions.visible(kind, TENANT, user)
            for kind in ObjectKind
            for user in USERS
        ],
    }


def _check(view: dict[str, Any]) -> None:
    """What exists has somebody who may update it; what does not has nothing."""
    existing = {actor.key.shared for actor in view["actors"]}
    assert all(alias.actor.shared in existing for alias in view["aliases"])
    existing |= {alias.shared for alias in view["aliases"]}
    known = {actor.id for actor in view["actors"]} | {alias.alias for alias in view["aliases"]}
    assert all(known.issuperset(config.identifiers) for config in view["configs"])
    existing |= {config.shared for config in view["configs"]}
    for key, entries, nonces in zip(OBJECTS, view["levels"], view["nonces"], strict=True):
        assert bool(entries) is (key in existing), key
        assert not nonces or key in existing, key
        updaters = {user for user, level in entries if level is Level.UPDATE}
        assert not entries or updaters - {WORLD}
        for nonce in nonces:
            assert nonce.max_uses in (-1, nonce.current_uses + nonce.remaining_uses)


OPENING: list[Step] = [
    *(insert(actor) for actor in ACTORS),
    *(insert_alias(alias) for alias in ALIASES),
    *(insert_nonce(NONCES[n], OBJECTS[2 * n], Level.EXECUTE, 2) for n in (0, 1)),
]


@settings(max_examples=60, deadline=None)
@given(script=st.lists(any_steps, min_size=15, max_size=50))
def test_all_stores_share_alike(script: list[NamedStep]) -> None:
    asyncio.run(compare(OPENING, script, _view, _check))
