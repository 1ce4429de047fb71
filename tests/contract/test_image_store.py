"""Images that were pulled, and the one each revision runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.ids import ActorId, Tenant
from abaco.errors import ConflictError
from abaco.ports.images import EVERYBODY, ImageId, ImageRecord, Pin
from abaco.ports.store import Stores
from tests.support.records import NOON, TENANT, at
from tests.support.stores import add_worker, insert_actor

ONE, TWO, THREE = (ImageId(f"sha256:{number * 64}") for number in "123")
OTHER = Tenant("OTHER")


async def pulled(
    stores: Stores, image: ImageId = ONE, tenant: Tenant | None = TENANT, **fields: Any
) -> ImageRecord:
    """Note a pull, and return what is known of the image then."""
    await stores.images.note_pull(
        image,
        fields.get("reference", "host.example/one"),
        tenant,
        size_bytes=fields.get("size_bytes", 10),
        is_ours=fields.get("is_ours", True),
        now=fields.get("now", NOON),
    )
    found = await stores.images.find(image)
    assert found is not None
    return found


async def new_revision(stores: Stores, actor: Actor, *, pull_image: bool = False) -> Actor:
    return await stores.actors.update(
        actor.key, actor.definition, new_revision=True, now=NOON, pull_image=pull_image
    )


async def test_a_pull_is_remembered(stores: Stores) -> None:
    assert await stores.images.find(ONE) is None
    record = await pulled(stores)
    assert record == ImageRecord(
        id=ONE,
        size_bytes=10,
        pulled_at=NOON,
        used_at=NOON,
        references=frozenset({"host.example/one"}),
        tenants=frozenset({TENANT}),
        is_ours=True,
    )
    assert await stores.images.list_images() == [record]


async def test_pulls_of_an_image_add_up(stores: Stores) -> None:
    await pulled(stores)
    record = await pulled(
        stores, tenant=OTHER, reference="host.example/two", size_bytes=11, is_ours=False, now=at(5)
    )
    assert record.references == {"host.example/one", "host.example/two"}
    assert record.tenants == {TENANT, OTHER}
    assert record.is_ours
    assert (record.size_bytes, record.pulled_at, record.used_at) == (11, at(5), at(5))
    assert EVERYBODY in (await pulled(stores, tenant=EVERYBODY)).tenants
    assert len(await stores.images.list_images()) == 1


async def test_an_image_that_was_here_before_is_not_ours(stores: Stores) -> None:
    assert not (await pulled(stores, is_ours=False)).is_ours
    assert (await pulled(stores, is_ours=True)).is_ours


async def test_a_pull_for_nobody_names_no_tenant(stores: Stores) -> None:
    assert (await pulled(stores, tenant=None)).tenants == frozenset()


async def test_images_come_by_their_last_use(stores: Stores) -> None:
    for number, image in enumerate((ONE, TWO, THREE)):
        await pulled(stores, image, now=at(number))
    await stores.images.touch(ONE, at(9))
    await stores.images.touch(TWO, at(0))  # an older use than the one that is known
    await stores.images.touch(ImageId("sha256:none"), at(9))
    found = await stores.images.list_images()
    assert [image.id for image in found] == [TWO, THREE, ONE]
    assert [image.used_at for image in found] == [at(1), at(2), at(9)]


async def test_what_is_gone_is_forgotten(stores: Stores) -> None:
    record = await pulled(stores)
    for _ in range(2):
        await stores.images.forget(record)
        assert await stores.images.find(ONE) is None
        assert await stores.images.list_images() == []
    assert (await pulled(stores, tenant=OTHER)).tenants == {OTHER}


async def test_what_came_again_is_not_forgotten(stores: Stores) -> None:
    before = await pulled(stores)
    record = await pulled(stores, now=at(1))
    await stores.images.forget(before)
    assert await stores.images.find(ONE) == record


async def test_a_pull_that_began_is_noted_until_it_ends(stores: Stores) -> None:
    for seconds, name in enumerate(("b", "a", "a")):
        await stores.images.begin_pull(name, at(seconds))
    assert await stores.images.list_begun() == {"a": at(2), "b": at(0)}
    for _ in range(2):
        await stores.images.end_pull("a")
    assert await stores.images.list_begun() == {"b": at(0)}
    await pulled(stores, reference="b")
    assert await stores.images.list_begun() == {}


async def test_the_images_of_actors_with_workers_are_needed(stores: Stores) -> None:
    idle, served = [await insert_actor(stores) for _ in range(2)]
    worker = await add_worker(stores, served)
    for actor, image in ((idle, ONE), (served, TWO)):
        await pulled(stores, image)
        await stores.pins.set(actor.key, 1, image, "")
    await pulled(stores, THREE)

    async def needed() -> list[str]:
        return [image.id for image in await stores.images.list_images() if image.is_needed]

    assert await needed() == [TWO]
    await add_worker(stores, idle)
    assert sorted(await needed()) == [ONE, TWO]
    await stores.workers.delete(worker.key)
    assert await needed() == [ONE]
    await stores.actors.delete(idle.key)
    assert await needed() == []


async def test_a_revision_gets_its_image_once(stores: Stores) -> None:
    actor = await insert_actor(stores)
    assert await stores.pins.find(actor.key, 1) == Pin()
    pins = await asyncio.gather(
        *(stores.pins.set(actor.key, 1, image, f"x@{image}") for image in (ONE, TWO, THREE))
    )
    assert len(set(pins)) == 1
    (pin,) = set(pins)
    assert pin == await stores.pins.find(actor.key, 1)
    assert pin.digest == f"x@{pin.image_id}"
    assert not pin.is_forced


@pytest.mark.parametrize("is_forced", [False, True])
async def test_a_new_revision_has_no_image_yet(stores: Stores, *, is_forced: bool) -> None:
    actor = await insert_actor(stores)
    await stores.pins.set(actor.key, 1, ONE, "one")
    actor = await new_revision(stores, actor, pull_image=is_forced)
    assert await stores.pins.find(actor.key, 2) == Pin(is_forced=is_forced)
    assert await stores.pins.set(actor.key, 1, ONE, "one") in (
        Pin(),
        Pin(image_id=ONE, digest="one"),
    )
    pin = await stores.pins.set(actor.key, 2, TWO, "two")
    assert pin == Pin(image_id=TWO, digest="two", is_forced=is_forced)
    assert await stores.pins.find(actor.key, 2) == pin
    assert await stores.pins.find(actor.key, 1) == Pin()
    await new_revision(stores, actor)
    assert (await stores.pins.set(actor.key, 3, ONE, "")).is_forced is False


async def test_an_update_without_a_new_revision_keeps_the_image(stores: Stores) -> None:
    actor = await insert_actor(stores)
    pin = await stores.pins.set(actor.key, 1, ONE, "one")
    await stores.actors.update(
        actor.key, actor.definition, new_revision=False, now=NOON, pull_image=True
    )
    assert await stores.pins.find(actor.key, 1) == pin


async def test_an_update_that_is_refused_forces_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores)
    with pytest.raises(ConflictError):
        await stores.actors.update(
            actor.key,
            actor.definition,
            new_revision=True,
            now=NOON,
            pull_image=True,
            expect_revision=7,
        )
    assert await stores.pins.find(actor.key, 1) == Pin()


async def test_nothing_is_set_for_an_actor_that_is_not_there(stores: Stores) -> None:
    actor = await insert_actor(stores)
    nobody = ActorKey(TENANT, ActorId("nobody"))
    assert await stores.pins.set(nobody, 1, ONE, "") == Pin()
    assert await stores.pins.set(actor.key, 2, ONE, "") == Pin()
    assert await stores.pins.find(nobody, 1) == Pin()
    assert await stores.pins.find(actor.key, 2) == Pin()


async def test_a_pin_goes_with_its_actor(stores: Stores) -> None:
    actor = await insert_actor(stores)
    await stores.pins.set(actor.key, 1, ONE, "")
    await stores.actors.delete(actor.key)
    await stores.actors.insert(actor)
    assert await stores.pins.find(actor.key, 1) == Pin()
