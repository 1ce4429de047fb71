"""Remover, engine watch, periodic rounds, pulse."""

from __future__ import annotations

import asyncio
import logging

import pytest

from abaco.errors import DriverError, EngineUnavailableError, StoreError
from agents import pulse as pulse_module
from agents.engine import EngineWatch
from agents.periodic import Periodic
from agents.pulse import Pulse
from agents.remover import Remover
from backends.drivers.scripted import ScriptedDriver, ScriptedEngine
from backends.system import SystemClock


class BusyRemovalsDriver(ScriptedDriver):
    """Fails the first removals with given errors."""

    def __init__(self, *errors: DriverError) -> None:
        super().__init__(ScriptedEngine())
        self.errors = list(errors)
        self.removed: list[str] = []
        self.tries = 0
        #: set when a given number of calls has been made
        self.is_done = asyncio.Event()
        self.wanted = 0

    async def remove(self, container_id: str) -> None:
        self.tries += 1
        if self.tries == self.wanted:
            self.is_done.set()
        if self.errors:
            raise self.errors.pop(0)
        self.removed.append(container_id)


async def run_remover(driver: BusyRemovalsDriver, *container_ids: str) -> None:
    retryable = [error for error in driver.errors if error.retryable]
    driver.wanted = len(driver.errors) or len(container_ids)
    driver.wanted += bool(retryable)
    engine = EngineWatch(driver)
    remover = Remover(driver, engine)
    tasks = [asyncio.create_task(one) for one in (engine.run(), remover.run())]
    for container_id in container_ids:
        remover.remove_soon(container_id)
    try:
        await asyncio.wait_for(driver.is_done.wait(), 5)
        await asyncio.sleep(0.02)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_containers_are_removed() -> None:
    driver = BusyRemovalsDriver()
    await run_remover(driver, "a", "b", "c", "d", "e", "f")
    assert sorted(driver.removed) == ["a", "b", "c", "d", "e", "f"]


async def test_a_removal_waits_for_an_engine_that_is_away() -> None:
    driver = BusyRemovalsDriver(*(EngineUnavailableError("away") for _ in range(5)))
    await run_remover(driver, "a")
    assert driver.removed == ["a"]
    assert driver.tries == 6


async def test_a_container_that_cannot_be_removed_is_given_up_loudly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver = BusyRemovalsDriver(*(DriverError("device busy") for _ in range(3)))
    await run_remover(driver, "stuck")
    assert driver.removed == []
    assert driver.tries == 3
    assert "container stuck could not be removed: device busy" in caplog.text


async def test_the_watch_knows_when_the_engine_is_back() -> None:
    engine = ScriptedEngine()
    engine.go_down()
    watch = EngineWatch(ScriptedDriver(engine))
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0.02)
    assert not watch.is_up
    assert watch.info is None
    engine.come_back()
    await asyncio.wait_for(watch.wait_until_up(), 5)
    assert watch.info is not None
    assert watch.info.driver == "scripted"
    engine.go_down()
    watch.report_down(EngineUnavailableError("gone"))
    assert not watch.is_up
    engine.come_back()
    await asyncio.wait_for(watch.wait_until_up(), 5)
    probes = len(engine.calls)
    await asyncio.sleep(0.1)
    assert len(engine.calls) == probes, "an engine that is up is not asked again and again"
    task.cancel()


async def test_a_round_that_fails_is_counted_and_the_next_one_comes() -> None:
    is_done = asyncio.Event()
    rounds = 0

    async def round_() -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 3:
            raise StoreError("away")
        is_done.set()

    periodic = Periodic("test", 0.001, round_)
    task = asyncio.create_task(periodic.run())
    await asyncio.wait_for(is_done.wait(), 5)
    task.cancel()
    assert (periodic.failure_count, periodic.round_count >= 2) == (2, True)


async def test_a_bug_in_a_round_is_the_supervisors_business() -> None:
    async def round_() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await Periodic("test", 0.001, round_).run()


async def test_a_blocked_loop_is_noticed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse_module, "TICK_S", 0.01)
    clock = SystemClock()
    task = asyncio.create_task(Pulse(clock).run())
    await asyncio.sleep(0)
    end = clock.monotonic() + 0.2
    while clock.monotonic() < end:  # block on purpose
        pass
    with caplog.at_level(logging.WARNING):
        await asyncio.sleep(0.02)
    task.cancel()
    assert "the loop was blocked for" in caplog.text
