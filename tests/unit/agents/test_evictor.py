"""The evictor: what is removed, in which order, and what never is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from abaco.config import EngineSettings, Settings
from abaco.errors import EngineUnavailableError
from abaco.ports.images import EVERYBODY, ImageId
from agents import evictor as evictor_module
from agents.evictor import Evictor
from backends.drivers.scripted import Act, ScriptedDriver
from tests.support.house import QUICK, House, a_house, an_engine
from tests.support.records import at

LONG = Act(until_stopped=True)


def with_budget(text: str) -> Settings:
    engine = EngineSettings.model_validate({"image_disk_budget": text})
    return QUICK.model_copy(update={"engine": engine})


async def image_id(house: House, name: str) -> ImageId:
    found = await ScriptedDriver(house.engine).find_image(name)
    assert found is not None
    return ImageId(found.id)


async def pulled(house: House, name: str, used_s: float = 0.0, *, is_ours: bool = True) -> ImageId:
    """Put an image on the host, a byte large, and note that it was pulled."""
    house.engine.images.add(name)
    image = await image_id(house, name)
    await house.stores.images.note_pull(
        image, name, EVERYBODY, size_bytes=1, is_ours=is_ours, now=at(used_s)
    )
    return image


def evictions(outcome: str) -> float:
    return REGISTRY.get_sample_value("abaco_image_evictions_total", {"outcome": outcome}) or 0.0


@pytest.fixture(autouse=True)
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evictor_module, "PAUSE_S", 0.01)


async def test_the_longest_unused_go_until_there_is_room() -> None:
    async with a_house(None, with_budget("2")) as house:
        for seconds, name in ((3, "third"), (1, "first"), (4, "fourth"), (2, "second")):
            await pulled(house, name, seconds)
        before = evictions("removed")
        await Evictor(house.crew.kit).round()
        assert house.engine.images == {"third", "fourth"}
        assert evictions("removed") == before + 2
        assert REGISTRY.get_sample_value("abaco_image_bytes") == 2
        assert len(await house.stores.images.list_images()) == 2


async def test_without_a_budget_everything_stays() -> None:
    async with a_house(None, with_budget("0")) as house:
        await pulled(house, "kept")
        await Evictor(house.crew.kit).round()
        assert house.engine.images == {"kept"}
        assert REGISTRY.get_sample_value("abaco_image_bytes") == 1


@pytest.mark.parametrize(("budget", "is_looked_at"), [("0", False), ("9", True)])
async def test_a_worker_that_leaves_costs_no_look_without_a_budget(
    budget: str, is_looked_at: bool
) -> None:
    async with a_house(None, with_budget(budget)) as house:
        await house.final(await house.post(await house.register(image="one")))
        await asyncio.sleep(0.05)
        house.engine.calls.clear()
        house.crew.kit.images.changed.set()
        await asyncio.sleep(0.1)
        assert (("list_images", "") in house.engine.calls) is is_looked_at


async def test_what_was_here_before_is_not_ours_to_remove() -> None:
    async with a_house(None, with_budget("1")) as house:
        await pulled(house, "theirs", is_ours=False)
        house.engine.images.add("built")
        await pulled(house, "ours", 5)
        await pulled(house, "ours too", 6)
        await Evictor(house.crew.kit).round()
        assert house.engine.images == {"theirs", "built", "ours too"}


async def test_images_of_actors_with_workers_stay_until_the_workers_leave(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = an_engine(LONG)
    async with a_house(engine, with_budget("1")) as house:
        caplog.set_level(logging.INFO)
        first, second = [await house.register(image=name) for name in ("one", "two")]
        keys = [await house.post(actor) for actor in (first, second)]
        for key in keys:
            await house.running(key)
        await Evictor(house.crew.kit).round()
        assert {"one", "two"} <= engine.images
        for container in list(engine.containers.values()):
            engine.finish(container.id)
        for key in keys:
            await house.final(key)

        async def has_room() -> bool:
            return len(engine.images) == 1

        await house.until(has_room)
        assert "is removed: unused since" in caplog.text
        gone, actor = ("one", first) if "one" not in engine.images else ("two", second)
        key = await house.post(actor)
        execution = await house.running(key)
        assert f"{gone}@" in "".join(engine.images)  # pulled again, by its digest
        engine.finish(execution.container_id)
        await house.final(key)


async def test_an_image_a_container_has_stays() -> None:
    engine = an_engine(LONG)
    async with a_house(engine, with_budget("0")) as house:
        await house.running(await house.post(await house.register(image="one")))
        records = await house.stores.images.list_images()
        assert [record.is_needed for record in records] == [True]
    # as if no actor needed it: the engine is the one to refuse
    before = evictions("kept"), evictions("removed")
    async with a_house(engine, with_budget("1")) as house:
        for number in range(2):
            await pulled(house, f"more {number}", 10 + number)
        await house.stores.images.note_pull(
            await image_id(house, "one"), "one", EVERYBODY, size_bytes=1, is_ours=True, now=at(0)
        )
        await Evictor(house.crew.kit).round()
        assert engine.images == {"one", "more 1"} or engine.images == {"one"}
        assert (evictions("kept"), evictions("removed")) > before
        assert await house.stores.images.find(await image_id(house, "one")) is not None


async def test_what_is_gone_is_forgotten() -> None:
    async with a_house(None, with_budget("5")) as house:
        await pulled(house, "gone")
        kept = await pulled(house, "kept")
        house.engine.images.discard("gone")
        await Evictor(house.crew.kit).round()
        assert [image.id for image in await house.stores.images.list_images()] == [kept]


async def test_what_an_earlier_process_was_pulling_is_ours_if_it_came() -> None:
    settings = with_budget("0")
    async with a_house(None, settings) as house:
        now, longest = house.crew.kit.clock.now(), 2 * settings.runtime.image_pull_timeout
        for name, age_s in (("came", 9 * longest), ("comes", longest - 60), ("lost", longest + 1)):
            await house.stores.images.begin_pull(name, now - timedelta(seconds=age_s))
        house.engine.images.add("came")
        evictor = Evictor(house.crew.kit)
        await evictor.round()
        assert list(await house.stores.images.list_begun()) == ["comes"]
        (record,) = await house.stores.images.list_images()
        assert (record.id, record.is_ours) == (await image_id(house, "came"), True)
        assert record.tenants == frozenset()
        house.engine.images.add("comes")
        await evictor.round()
        assert await house.stores.images.list_begun() == {}
        assert len(await house.stores.images.list_images()) == 2


async def test_what_comes_while_the_host_is_looked_at_is_not_forgotten() -> None:
    class SlowListDriver(ScriptedDriver):
        async def list_images(self) -> Mapping[str, int]:
            found = await super().list_images()
            await pulled(house, "just came", 9)
            return found

    async with a_house(None, with_budget("0")) as house:
        slow = SlowListDriver(house.engine)
        await Evictor(replace(house.crew.kit, driver=slow)).round()
        (record,) = await house.stores.images.list_images()
        assert record.references == {"just came"}


async def test_an_engine_that_is_away_is_waited_for() -> None:
    async with a_house(None, with_budget("1")) as house:
        for number in range(3):
            await pulled(house, f"image {number}", number)
        house.engine.go_down()
        house.crew.kit.engine.report_down(EngineUnavailableError("away"))
        house.crew.kit.images.changed.set()
        await asyncio.sleep(0.05)
        assert len(house.engine.images) == 3
        house.engine.come_back()
        house.crew.kit.images.changed.set()

        async def has_room() -> bool:
            house.crew.kit.images.changed.set()
            return house.engine.images == {"image 2"}

        await house.until(has_room)


async def test_a_driver_finds_images_by_name_and_id() -> None:
    async with a_house(None) as house:
        house.engine.images.add("team/one:2")
        driver = ScriptedDriver(house.engine)
        found = await driver.find_image("team/one:2")
        assert found is not None
        assert found == await driver.find_image(found.id)
        assert await driver.list_images() == {found.id: 1}
        assert await driver.remove_image(found.id, [])
        assert await driver.find_image(found.id) is None
