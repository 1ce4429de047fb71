"""Rounds that clear up what nobody moves any more, and the tick under the notices."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.execution import ExecutionStatus
from abaco.domain.worker import WorkerStatus
from abaco.errors import StoreError
from abaco.operations import workers
from abaco.ports.clock import Clock
from abaco.ports.notices import Topic
from abaco.ports.store import Claim, Stores
from abaco.settings import SpawnerSettings, WorkersSettings
from agents.autoscaler import Autoscaler
from agents.health import Health
from backends.drivers.scripted import Act
from backends.system import SystemClock
from tests.support.house import QUICK, House, a_house, an_engine
from tests.support.records import a_message, a_worker, an_execution
from tests.support.stores import add_worker, enqueue, insert_actor

LONG = Act(until_stopped=True)


class LateClock(Clock):
    """Is ahead of the system's clock, so that records and agents look old."""

    def __init__(self, ahead_s: float) -> None:
        self._clock = SystemClock()
        self._ahead_s = ahead_s

    def now(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._ahead_s)

    def monotonic(self) -> float:
        return self._clock.monotonic() + self._ahead_s


async def check(house: House, ahead_s: float = 0) -> None:
    """Make one health round, as if it were so much later."""
    await house.crew.spawner.is_reconciled.wait()
    kit = replace(house.crew.kit, clock=LateClock(ahead_s))
    await Health(kit, house.crew.spawner).round()


async def statuses(house: House) -> list[WorkerStatus]:
    return [worker.status for worker in await house.stores.workers.list_workers()]


async def no_workers(house: House) -> None:
    async def are_gone() -> bool:
        return not await house.stores.workers.list_workers()

    await house.until(are_gone)


async def test_live_workers_are_stamped() -> None:
    async with a_house(an_engine(LONG)) as house:
        await house.running(await house.post(await house.register()))
        await check(house)
        (worker,) = await house.stores.workers.list_workers()
        assert worker.last_health_check_time is not None


async def test_a_run_without_a_limit_may_last() -> None:
    async with a_house(an_engine(LONG)) as house:
        await house.running(await house.post(await house.register()))
        await check(house, 10**7)
        await asyncio.sleep(0.05)
        assert await statuses(house) == [WorkerStatus.BUSY]


async def test_a_worker_stuck_in_a_run_is_replaced_and_its_message_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quick = QUICK.model_copy(update={"workers": WorkersSettings(init_count=0, max_run_time=100)})
    engine = an_engine(LONG)
    async with a_house(engine, quick) as house:
        running = await house.running(await house.post(await house.register()))
        await check(house, 159)
        assert "stuck" not in caplog.text
        for _ in range(3):  # it is told once, however long its clearing up takes
            await check(house, 161)
        assert caplog.text.count("is stuck in BUSY") == 1
        engine.finish(running.container_id, 0)
        ended = await house.final(running.key)
        assert (ended.status, ended.attempt) == (ExecutionStatus.COMPLETE, 1)
        await no_workers(house)


async def test_nobody_is_stuck_while_the_engine_is_away(caplog: pytest.LogCaptureFixture) -> None:
    quick = QUICK.model_copy(update={"workers": WorkersSettings(init_count=0, max_run_time=100)})
    engine = an_engine(LONG)
    async with a_house(engine, quick) as house:
        await house.running(await house.post(await house.register()))
        engine.go_down()

        async def is_noticed() -> bool:
            return not house.crew.kit.engine.is_up

        await house.until(is_noticed)
        await check(house, 10**6)
        assert "stuck" not in caplog.text


async def test_a_wish_that_finds_no_place_is_given_up() -> None:
    quick = QUICK.model_copy(update={"spawner": SpawnerSettings(max_workers_per_host=1)})
    async with a_house(an_engine(LONG), quick) as house:
        await house.running(await house.post(await house.register()))
        crowded = await house.register()
        await workers.ensure(house.services, crowded, 2)
        await asyncio.sleep(0.05)
        await check(house, 299)
        assert await statuses(house) == [WorkerStatus.BUSY, *[WorkerStatus.REQUESTED] * 2]
        await check(house, 301)

        async def are_gone() -> bool:
            return await statuses(house) == [WorkerStatus.BUSY]

        await house.until(are_gone)


@pytest.mark.parametrize(
    "status", sorted(set(WorkerStatus) - {WorkerStatus.REQUESTED, WorkerStatus.BUSY})
)
async def test_a_record_without_an_agent_is_cleared_up(status: WorkerStatus) -> None:
    async with a_house() as house:
        actor = await house.register()
        await check(house)
        await add_worker(house.stores, actor, status)
        await check(house)
        await check(house)
        await no_workers(house)


async def test_the_message_of_a_record_without_an_agent_runs_again() -> None:
    async with a_house() as house:
        actor = await house.register()
        await check(house)
        ghost = await add_worker(house.stores, actor)
        execution = an_execution(actor)
        await enqueue(house.stores, execution, a_message(execution))
        taken = await house.stores.mailbox.claim(ghost.key, 1, execution.message_received_time)
        assert isinstance(taken, Claim)
        await check(house)
        ended = await house.final(execution.key)
        assert (ended.status, ended.attempt, ended.losses) == (ExecutionStatus.COMPLETE, 2, 0)
        await no_workers(house)


async def test_before_the_start_is_reconciled_records_are_left_alone() -> None:
    async with a_house() as house:
        await house.crash()
        await add_worker(house.stores, await insert_actor(house.stores), WorkerStatus.BUSY)
        house.crew.spawner.is_reconciled.clear()
        await Health(house.crew.kit, house.crew.spawner).round()
        assert await statuses(house) == [WorkerStatus.BUSY]


@pytest.mark.parametrize("has_container", [True, False])
async def test_a_leased_message_of_an_actor_that_is_gone_ends(has_container: bool) -> None:
    """The actor's record went while an attempt without a worker was under way."""
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register()
        if has_container:
            running = await house.running(await house.post(actor))
            await house.crash()
        else:
            await house.crash()
            worker = a_worker(actor, status=WorkerStatus.READY)
            await house.stores.workers.request(worker, limit=1)
            running = an_execution(actor)
            await enqueue(house.stores, running, a_message(running))
            received = running.message_received_time
            await house.stores.mailbox.claim(worker.key, 1, received)
        await house.stores.actors.delete(actor.key)
        await house.start()
        ended = await house.final(running.key)
        assert ended.status is ExecutionStatus.ERROR
        assert ended.outcome is not None
        assert "deleted" in ended.outcome.error
        await house.no_containers()
        await house.check_conservation()


# The tick.


async def ticked(house: House) -> set[object]:
    """Make one tick and return whom it names."""
    with house.services.notices.subscribe(Topic.POOL) as notices:
        await Autoscaler(house.crew.kit, house.crew.spawner).round()
        return set(notices.take())


async def silent_message(house: House, actor: Actor) -> None:
    """Queue a message and tell nobody."""
    execution = an_execution(actor)
    await enqueue(house.stores, execution, a_message(execution))


async def test_a_message_nobody_heard_of_is_found() -> None:
    async with a_house(an_engine(LONG)) as house:
        actor, _ = await house.register(), await house.register()
        await asyncio.sleep(0.05)
        assert await ticked(house) == set()
        await silent_message(house, actor)
        assert await ticked(house) == {actor.key}

        async def is_served() -> bool:
            return await statuses(house) == [WorkerStatus.BUSY]

        await house.until(is_served)
        await silent_message(house, actor)
        assert await ticked(house) == set(), "somebody is at work there"


async def test_an_actor_in_error_is_not_asked_for_again_and_again() -> None:
    async with a_house() as house:
        actor = await house.register()
        await house.stores.actors.set_status(
            actor.key, ActorStatus.ERROR, "broken", expect=set(ActorStatus)
        )
        await house.post(actor)
        await asyncio.sleep(0.05)
        assert await ticked(house) == set()


class FailsOnce:
    """Fails the first count of a mailbox, not by being away but by being broken."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self.left = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    async def count(self, *args: Any) -> int:
        if self.left:
            self.left -= 1
            raise StoreError("broken (on purpose)")
        return int(await self._target.count(*args))


def failing_once(stores: Stores) -> Stores:
    return replace(stores, mailbox=FailsOnce(stores.mailbox))  # type: ignore[arg-type]


async def test_a_decision_that_failed_is_made_again() -> None:
    async with a_house(wrap_stores=failing_once) as house:
        actor = await house.register()
        await asyncio.sleep(0.05)
        assert await ticked(house) == {actor.key}
        assert await ticked(house) == set(), "it was made"
