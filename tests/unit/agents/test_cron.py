"""The agent of cron schedules, round by round on a clock the test moves, and in a whole house."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from abaco.config import Settings
from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.cron import Cron, SetCron, SwitchCron
from abaco.domain.execution import Execution, ExecutionStatus
from abaco.errors import StoreError
from abaco.operations import actors
from abaco.operations.definition import ActorDraft
from abaco.operations.services import Services
from abaco.ports.intake import Submission
from abaco.ports.notices import Topic
from abaco.ports.store import Stores
from abaco.settings import RuntimeSettings
from agents.cron import RETRY_S, TICK_S, CronAgent
from agents.notices import LocalNotices
from backends.system import RandomIds
from backends.vault import ephemeral_vault
from tests.support.faults import Fault, When, faulty_stores, store_away
from tests.support.house import CALLER, a_house
from tests.support.records import SteppedClock, a_cron, an_error_outcome
from tests.support.stores import BACKENDS, add_worker, check_conservation, claim, opened

START = datetime(2024, 2, 29, 12, 0, 5, tzinfo=UTC)
HOUR_S, MINUTE_S = 3600.0, 60.0


class Round:
    """An agent, its stores, and a clock."""

    def __init__(self, stores: Stores, clock: SteppedClock, **runtime: Any) -> None:
        self.stores = stores
        self.clock = clock
        self.services = Services(
            settings=Settings(runtime=RuntimeSettings(**runtime), workers={"init_count": 0}),
            stores=stores,
            notices=LocalNotices(),
            clock=clock,
            ids=RandomIds("salt"),
            vault=ephemeral_vault(),
        )
        self.agent = CronAgent(self.services)

    async def register(self, schedule: str, **fields: Any) -> Actor:
        draft = ActorDraft(image="abaco_test", cron_schedule=schedule, **fields)
        return await actors.register(self.services, CALLER, draft)

    async def later(self, seconds: float) -> float:
        """Let time pass and run a round; returns how long it would wait."""
        self.clock.advance(seconds)
        return await self.agent.round()

    async def fired(self, actor: Actor) -> list[Execution]:
        return await self.stores.executions.list_executions(actor.key)

    async def next_text(self, actor: Actor) -> str | None:
        cron = (await self.stores.actors.get(actor.key)).cron
        assert cron is not None
        return cron.next_text

    async def set_status(self, actor: Actor, status: ActorStatus) -> None:
        await self.stores.actors.set_status(actor.key, status, "", expect=set(ActorStatus))


Make = Callable[..., Round]


@pytest.fixture(params=BACKENDS)
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    clock = SteppedClock(START)
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(opened(request.param, tmp_path, clock))
        yield lambda wrap=lambda stores: stores, **runtime: Round(wrap(stores), clock, **runtime)
        await check_conservation(stores)


async def test_now_fires_at_once_and_then_on_the_hour(make: Make) -> None:
    house = make()
    actor = await house.register("now + 2 hours")
    assert await house.agent.round() == TICK_S
    assert len(await house.fired(actor)) == 1
    assert await house.next_text(actor) == "2024-2-29 14"
    await house.later(2 * HOUR_S - 6)
    assert len(await house.fired(actor)) == 1
    await house.later(1)
    assert len(await house.fired(actor)) == 2
    assert await house.next_text(actor) == "2024-2-29 16"


async def test_what_is_submitted(make: Make) -> None:
    house = make()
    actor = await house.register("now + 1 hour", stateless=False)
    with house.services.notices.subscribe(Topic.MAILBOX) as mailboxes:
        await house.agent.round()
        assert mailboxes.take() == [actor.key]
    (execution,) = await house.fired(actor)
    assert (execution.executor, execution.api_server) == ("cron", actor.api_server)
    worker = await add_worker(house.stores, actor)
    message = (await claim(house.stores, worker)).message
    assert message.body == "This is your cron execution"
    assert (message.content_type, message.username) == ("str", "cron")
    assert (message.api_server, message.revision) == (actor.api_server, 1)
    assert (dict(message.environment), message.jwt_header) == ({}, None)


async def test_it_waits_until_the_next_slot_but_no_longer_than_a_tick(make: Make) -> None:
    house = make()
    assert await house.agent.round() == TICK_S
    await house.register("* * * * *")
    assert await house.agent.round() == TICK_S  # 55 s to go
    assert await house.later(30) == 25.0
    assert await house.later(24.75) == 0.25
    assert await house.later(0.25) == TICK_S


@pytest.mark.parametrize(("misfire", "count"), [("one", 1), ("all", 5), ("skip", 1)])
async def test_slots_the_server_slept_through(make: Make, misfire: str, count: int) -> None:
    house = make(cron_misfire=misfire)
    actor = await house.register("* * * * *")
    await house.later(5 * MINUTE_S)
    assert len(await house.fired(actor)) == count
    assert await house.next_text(actor) == "2024-2-29 12:06"
    await house.agent.round()
    assert len(await house.fired(actor)) == count


async def test_a_daily_slot_is_skipped_when_its_hour_is_over(make: Make) -> None:
    house = make(cron_misfire="skip")
    actor = await house.register("2024-2-29 13 + 1 day")
    await house.later(2 * HOUR_S)
    assert await house.fired(actor) == []
    assert await house.next_text(actor) == "2024-3-1 13"


async def test_missed_slots_of_many_come_in_turns_and_in_full(make: Make) -> None:
    house = make(cron_misfire="all")
    found = [await house.register("* * * * *") for _ in range(60)]
    await house.later(3 * MINUTE_S)
    for actor in found:
        assert len(await house.fired(actor)) == 3
        assert await house.next_text(actor) == "2024-2-29 12:04"


async def test_one_that_is_far_behind_is_brought_up_with_others_in_between(make: Make) -> None:
    house = make(cron_misfire="all")
    far, near = await house.register("now + 1 hour"), await house.register("2024-2-29 16 + 1 day")
    await house.later(5 * HOUR_S)
    assert [len(await house.fired(each)) for each in (far, near)] == [6, 1]
    assert await house.next_text(far) == "2024-2-29 18"


async def test_clocks_that_jump(make: Make) -> None:
    house = make()
    actor = await house.register("now + 1 hour")
    await house.agent.round()
    assert await house.later(-26 * HOUR_S) == TICK_S
    assert len(await house.fired(actor)) == 1
    await house.later(26 * HOUR_S)
    assert len(await house.fired(actor)) == 1
    await house.later(100 * HOUR_S)
    assert len(await house.fired(actor)) == 2
    assert await house.next_text(actor) == "2024-3-4 17"


async def test_what_is_off_passes_and_stays_on_its_slots(make: Make) -> None:
    house = make()
    actor = await house.register("2024-2-29 13 + 2 hours", cron_on=False)
    await house.later(4.5 * HOUR_S)
    assert await house.fired(actor) == []
    assert await house.next_text(actor) == "2024-2-29 17"
    actor = await actors.update(
        house.services, CALLER, actor, ActorDraft(image="abaco_test", cron_on=True)
    )
    await house.later(HOUR_S / 2)
    assert len(await house.fired(actor)) == 1
    assert await house.next_text(actor) == "2024-2-29 19"


async def test_an_actor_that_cannot_run_passes_over_its_slots(make: Make) -> None:
    house = make(cron_misfire="all")
    broken, leaving, well = [await house.register("2024-2-29 13 + 1 hour") for _ in range(3)]
    await house.set_status(broken, ActorStatus.ERROR)
    await house.set_status(leaving, ActorStatus.SHUTTING_DOWN)
    await house.later(2.5 * HOUR_S)
    assert await house.fired(broken) == await house.fired(leaving) == []
    assert len(await house.fired(well)) == 2
    assert await house.next_text(broken) == "2024-2-29 15"
    await house.set_status(broken, ActorStatus.READY)
    await house.later(HOUR_S)
    assert len(await house.fired(broken)) == 1


@pytest.mark.parametrize(("overlap", "count"), [("queue", 3), ("skip", 1)])
async def test_an_execution_that_has_not_ended(make: Make, overlap: str, count: int) -> None:
    house = make(cron_overlap=overlap)
    actor = await house.register("now + 1 hour")
    await house.agent.round()
    for _ in range(2):
        await house.later(HOUR_S)
    assert len(await house.fired(actor)) == count
    await house.stores.mailbox.purge(actor.key, an_error_outcome())
    await house.later(HOUR_S)
    assert len(await house.fired(actor)) == count + 1


async def test_a_record_that_is_gone_does_not_stand_in_the_way(make: Make) -> None:
    house = make(cron_overlap="skip")
    actor = await house.register("now + 1 hour")
    cron = a_cron(next_at=START, last_execution="gone")
    await house.stores.actors.update(
        actor.key, actor.definition, new_revision=False, now=START, cron=SetCron(cron)
    )
    await house.agent.round()
    assert len(await house.fired(actor)) == 1


async def test_a_full_mailbox_costs_the_slot_and_nothing_else(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    house = make(max_mailbox=1)
    actor, other = await house.register("now + 1 hour"), await house.register("now + 1 hour")
    await house.agent.round()
    await house.stores.mailbox.purge(other.key, an_error_outcome())
    await house.later(HOUR_S)
    assert [len(await house.fired(each)) for each in (actor, other)] == [1, 2]
    assert await house.next_text(actor) == "2024-2-29 14"
    assert f"cron: actor {actor.id} missed a slot: the mailbox of actor" in caplog.text


async def test_one_that_cannot_be_read_stops_nobody(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    house = make()
    bad, good = await house.register("* * * * *"), await house.register("* * * * *")
    lost = Cron(schedule="CRON_TZ=Gone/Zone * * * * *", is_on=True, given_at=START, next_at=START)
    await house.stores.actors.update(
        bad.key, bad.definition, new_revision=False, now=START, cron=SetCron(lost)
    )
    assert await house.later(MINUTE_S) == TICK_S  # no hurry for what is left behind
    assert await house.fired(bad) == []
    assert len(await house.fired(good)) == 1
    assert f"a slot of actor {bad.id} is left for later: " in caplog.text
    whole = replace(lost, schedule="* * * * *")
    await house.stores.actors.update(
        bad.key, bad.definition, new_revision=False, now=START, cron=SetCron(whole)
    )
    await house.agent.round()
    assert len(await house.fired(bad)) == 1


async def test_a_store_that_fails_for_one_stops_nobody(make: Make) -> None:
    fault = Fault("fire", When.BEFORE, lambda: StoreError("broken (on purpose)"))
    house = make(faulty_stores(fault))
    found = [await house.register("now + 1 hour") for _ in range(3)]
    await house.agent.round()
    assert sum([len(await house.fired(actor)) for actor in found]) == 2
    await house.agent.round()
    assert [len(await house.fired(actor)) for actor in found] == [1, 1, 1]


@pytest.mark.parametrize("method", ["due", "next_due"])
async def test_a_store_that_is_away_is_asked_again(
    make: Make, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    house = make(faulty_stores(Fault(method, When.BEFORE, store_away)))
    actor = await house.register("now + 1 hour")
    assert await house.agent.round() == RETRY_S
    assert "cron: no round, will try again" in caplog.text
    assert await house.agent.round() == TICK_S
    assert len(await house.fired(actor)) == 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("when", list(When))
async def test_a_lost_answer_doubles_nothing_and_wakes_the_spawner(
    make: Make, when: When, times: int
) -> None:
    fault = Fault("fire", when, store_away, times)
    house = make(faulty_stores(fault))
    actor = await house.register("now + 1 hour")
    with house.services.notices.subscribe(Topic.MAILBOX) as mailboxes:
        await house.agent.round()
        assert mailboxes.take() == [actor.key]
    assert fault.struck == times
    assert len(await house.fired(actor)) == 1
    assert await house.next_text(actor) == "2024-2-29 13"


async def test_an_overlap_that_cannot_be_seen_is_asked_again(make: Make) -> None:
    house = make(cron_overlap="skip")
    actor = await house.register("now + 1 hour")
    await house.agent.round()
    blind = make(faulty_stores(Fault("get", When.BEFORE, store_away)), cron_overlap="skip")
    assert await blind.later(HOUR_S) == RETRY_S
    assert await house.next_text(actor) == "2024-2-29 13"


class SwitchedOffMeanwhile:
    """A cron store before which somebody switches the schedule off at the moment of firing."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stores.cron, name)

    async def fire(self, submission: Submission, **slot: Any) -> bool:
        actor = await self._stores.actors.get(submission.message.actor)
        await self._stores.actors.update(
            actor.key, actor.definition, new_revision=False, now=START, cron=SwitchCron(False)
        )
        return await self._stores.cron.fire(submission, **slot)


async def test_a_schedule_switched_off_at_the_last_moment_does_not_fire(make: Make) -> None:
    house = make(lambda stores: replace(stores, cron=SwitchedOffMeanwhile(stores)))
    actor = await house.register("now + 1 hour")
    await house.agent.round()
    assert await house.fired(actor) == []
    await house.agent.round()
    assert await house.next_text(actor) == "2024-2-29 13"


async def test_two_agents_fire_once(make: Make) -> None:
    one, other = make(), make()
    actor = await one.register("* * * * *")
    for count in range(1, 6):
        one.clock.advance(MINUTE_S)
        await asyncio.gather(one.agent.round(), other.agent.round())
        assert len(await one.fired(actor)) == count


async def test_how_late_a_slot_was_is_measured(make: Make) -> None:
    def measured() -> tuple[float, float]:
        names = ("abaco_cron_lag_seconds_count", "abaco_cron_lag_seconds_sum")
        return tuple(REGISTRY.get_sample_value(name) or 0.0 for name in names)  # type: ignore[return-value]

    house = make()
    await house.register("0 13 * * *")
    count, total = measured()
    await house.later(HOUR_S)  # 13:00:05
    assert measured() == (count + 1, pytest.approx(total + 5))


async def test_the_end_of_the_calendar(make: Make) -> None:
    house = make()
    actor = await house.register("9999-12-31 23 + 1 hour")
    house.clock.advance((datetime(9999, 12, 31, 23, 30, tzinfo=UTC) - START).total_seconds())
    assert await house.agent.round() == TICK_S
    assert len(await house.fired(actor)) == 1
    assert await house.next_text(actor) is None


# In a whole house, on the clock of the host.


async def next_in(stores: Stores, actor: Actor, seconds: float) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=seconds)
    cron = Cron(schedule="* * * * *", is_on=True, given_at=soon, next_at=soon)
    await stores.actors.update(
        actor.key, actor.definition, new_revision=False, now=soon, cron=SetCron(cron)
    )


async def test_a_schedule_brings_its_own_worker() -> None:
    async with a_house() as house:
        actor = await house.register(cron_schedule="now + 1 hour")

        async def has_ended() -> bool:
            found = await house.stores.executions.list_executions(actor.key)
            return [one.status for one in found] == [ExecutionStatus.COMPLETE]

        await house.until(has_ended)
        (execution,) = await house.stores.executions.list_executions(actor.key)
        assert await house.log(execution.key) == b"hello\n"


async def test_it_wakes_by_itself_when_a_slot_comes() -> None:
    async with a_house() as house:
        actor = await house.register()
        await next_in(house.stores, actor, 0.4)
        house.services.notices.publish(Topic.CRON, actor.key)
        began = house.services.clock.monotonic()

        async def has_fired() -> bool:
            return bool(await house.stores.executions.list_executions(actor.key))

        await house.until(has_fired)
        assert 0.3 < house.services.clock.monotonic() - began < 5


async def test_a_schedule_that_is_switched_on_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with a_house() as house:
        actor = await house.register(cron_schedule="now + 1 hour", cron_on=False)
        await asyncio.sleep(0.05)
        assert await house.stores.executions.list_executions(actor.key) == []
        present = await house.stores.actors.get(actor.key)
        assert present.cron is not None
        assert present.cron.next_at is not None
        assert present.cron.next_at > datetime.now(UTC)  # passed over at once
        draft = ActorDraft(image="abaco_test", cron_schedule="Now + 1 hour")
        await actors.update(house.services, CALLER, present, draft)

        async def has_fired() -> bool:
            return bool(await house.stores.executions.list_executions(actor.key))

        await house.until(has_fired)
        assert f"cron: actor {actor.id} got execution " in caplog.text
