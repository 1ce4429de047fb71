"""Pools that grow and shrink, tenants and queues side by side, over a scripted engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from abaco.config import Settings
from abaco.domain.actor import Actor, ActorKey, ActorStatus
from abaco.domain.caller import ALL_ROLE, Caller
from abaco.domain.execution import ExecutionKey
from abaco.domain.ids import Tenant
from abaco.domain.worker import Worker, WorkerKey, WorkerStatus
from abaco.errors import ConflictError
from abaco.operations import actors, messages, workers
from abaco.operations.definition import ActorDraft
from abaco.ports.store import Stores
from abaco.settings import RuntimeSettings, SpawnerSettings, WebSettings, WorkersSettings
from backends.drivers.scripted import Act
from tests.support.house import CALLER, QUICK, House, a_house, an_engine
from tests.support.records import API_SERVER

LONG = Act(until_stopped=True)
SHORT = Act(output=[0.02])


def settings(**changes: object) -> Settings:
    return QUICK.model_copy(update=changes)


def two_queues(places: int, **counts: int) -> Settings:
    return settings(
        web=WebSettings(all_queues="default, special, elsewhere"),
        spawner=SpawnerSettings(
            host_queues="default, special", max_workers_per_host=places, queue_slots=counts
        ),
    )


async def pool(house: House, actor: Actor) -> list[Worker]:
    return await house.stores.workers.list_workers(actor.key)


async def pool_of(house: House, actor: Actor, *statuses: WorkerStatus) -> None:
    """Wait until the actor's workers have these statuses, in any order."""

    async def is_so() -> bool:
        return sorted(one.status for one in await pool(house, actor)) == sorted(statuses)

    await house.until(is_so)


async def register_as(house: House, tenant: str, **fields: Any) -> Actor:
    return await actors.register(
        house.services, member_of(tenant), ActorDraft(image="abaco_test", **fields)
    )


def member_of(tenant: str) -> Caller:
    return Caller(
        tenant=Tenant(tenant), user="joe", roles=frozenset({ALL_ROLE}), api_server=API_SERVER
    )


# Growing.


async def test_one_decision_fills_the_pool() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register()
        keys = [await house.post(actor, number) for number in range(30)]
        for key in keys[:19]:  # one place of twenty is spared for somebody else
            await house.running(key)
        await asyncio.sleep(0.05)
        assert len(await pool(house, actor)) == 19
        other = await house.register()
        await house.running(await house.post(other))


async def test_one_step_at_a_time_gets_there_too() -> None:
    quick = settings(runtime=RuntimeSettings(scale_step="one", idle_grace=0.2))
    async with a_house(an_engine(LONG), quick) as house:
        actor = await house.register()
        for key in [await house.post(actor, number) for number in range(4)]:
            await house.running(key)
        assert len(await pool(house, actor)) == 4


async def test_a_stateful_actor_is_not_scaled() -> None:
    async with a_house(an_engine(LONG)) as house:
        actor = await house.register(stateless=False)
        keys = [await house.post(actor, number) for number in range(5)]
        await house.running(keys[0])
        await asyncio.sleep(0.3)
        assert len(await pool(house, actor)) == 1


async def test_two_workers_of_a_stateful_actor_keep_its_order() -> None:
    engine = an_engine(SHORT)
    async with a_house(engine) as house:
        actor = await house.register(stateless=False)
        await workers.ensure(house.services, actor, 2)
        await pool_of(house, actor, WorkerStatus.READY, WorkerStatus.READY)
        keys = [await house.post(actor, number) for number in range(8)]
        ends = [await house.final(key) for key in keys]
        for before, after in itertools.pairwise(ends):
            assert before.outcome is not None
            assert after.start_time is not None
            assert after.start_time >= before.outcome.finish_time
        await asyncio.sleep(0.5)
        assert len(await pool(house, actor)) == 2, "the autoscaler leaves it alone"


# Shrinking.


async def test_an_idle_pool_goes_away_after_the_grace() -> None:
    async with a_house(an_engine(SHORT)) as house:
        actor = await house.register()
        for key in [await house.post(actor, number) for number in range(6)]:
            await house.final(key)
        await pool_of(house, actor)


async def test_sync_keeps_one_ready_worker() -> None:
    async with a_house(an_engine(SHORT)) as house:
        actor = await house.register(hints=("sync",))
        for key in [await house.post(actor, number) for number in range(5)]:
            await house.final(key)
        await pool_of(house, actor, WorkerStatus.READY)
        await asyncio.sleep(0.5)
        (kept,) = await pool(house, actor)
        await house.final(await house.post(actor))
        assert [one.id for one in await pool(house, actor)] == [kept.id]


async def test_sync_lets_go_in_the_end() -> None:
    quick = settings(workers=WorkersSettings(init_count=0, sync_max_idle_time=1))
    async with a_house(an_engine(SHORT), quick) as house:
        actor = await house.register(hints=("sync",))
        await house.final(await house.post(actor))
        await asyncio.sleep(0.6)
        assert len(await pool(house, actor)) == 1
        await pool_of(house, actor)


async def test_a_hint_that_is_taken_away_keeps_nobody() -> None:
    async with a_house(an_engine(SHORT)) as house:
        actor = await house.register(hints=("sync",))
        await house.final(await house.post(actor))
        await asyncio.sleep(0.4)
        assert len(await pool(house, actor)) == 1
        await actors.update(house.services, CALLER, actor, ActorDraft(image="abaco_test"))
        await pool_of(house, actor)


async def test_a_worker_that_sync_keeps_makes_way_on_a_full_host() -> None:
    quick = settings(spawner=SpawnerSettings(max_workers_per_host=1))
    async with a_house(an_engine(SHORT), quick) as house:
        kept, other = await house.register(hints=("sync",)), await house.register()
        await house.final(await house.post(kept))
        await house.final(await house.post(other))


Hook = Callable[[WorkerKey], Awaitable[None]]


class SlowToLeave:
    """Lets something happen between a worker's wish to go and its last step."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self.hook: Hook | None = None
        self.requests = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    async def request(self, worker: Worker, *, limit: int) -> bool:
        self.requests += 1
        return bool(await self._target.request(worker, limit=limit))

    async def leave(self, key: WorkerKey) -> bool:
        hook, self.hook = self.hook, None
        if hook is not None:
            await hook(key)
        return bool(await self._target.leave(key))


def slowly(stores: Stores) -> Stores:
    return replace(stores, workers=SlowToLeave(stores.workers))  # type: ignore[arg-type]


async def test_a_message_keeps_the_worker_that_was_about_to_go() -> None:
    """No message waits for a new worker while a live one goes away."""
    async with a_house(an_engine(SHORT), wrap_stores=slowly) as house:
        slow: Any = house.stores.workers
        actor = await house.register()
        sent: list[ExecutionKey] = []

        async def send(_: WorkerKey) -> None:
            sent.append(await house.post(actor))
            await asyncio.sleep(0.1)  # the spawner looks, and asks for nobody

        slow.hook = send
        first = await house.final(await house.post(actor))

        async def is_sent() -> bool:
            return bool(sent)

        await house.until(is_sent)
        second = await house.final(sent[0])
        assert second.worker_id == first.worker_id
        assert slow.requests == 1
        await pool_of(house, actor)


@pytest.mark.parametrize("how", ["drain", "update", "delete"])
async def test_who_must_go_goes_all_the_same(how: str) -> None:
    async with a_house(an_engine(SHORT), wrap_stores=slowly) as house:
        slow: Any = house.stores.workers
        actor = await house.register()
        sent: list[ExecutionKey] = []

        async def send_and_order(key: WorkerKey) -> None:
            sent.append(await house.post(actor))
            if how == "drain":
                await workers.drain(house.services, actor, key.id)
            elif how == "update":
                draft = ActorDraft(image="other")
                await actors.update(house.services, CALLER, actor, draft)
            else:
                await actors.delete(house.services, actor, wait_s=0)

        slow.hook = send_and_order
        first = await house.final(await house.post(actor))

        async def is_sent() -> bool:
            return bool(sent)

        await house.until(is_sent)
        second = await house.final(sent[0])
        assert second.worker_id != first.worker_id
        assert (second.worker_id is None) == (how == "delete")


async def test_a_worker_told_to_go_says_so_while_it_finishes() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register(stateless=False)
        running = await house.running(await house.post(actor))
        (worker,) = await pool(house, actor)
        await workers.drain(house.services, actor, worker.id)
        await pool_of(house, actor, WorkerStatus.SHUTTING_DOWN)
        await workers.drain(house.services, actor, worker.id)
        await asyncio.sleep(0.05)
        assert (await pool(house, actor))[0].status is WorkerStatus.SHUTTING_DOWN
        engine.finish(running.container_id, 0)
        assert (await house.final(running.key)).attempt == 1
        await pool_of(house, actor)


# Tenants.


async def test_one_tenant_with_many_actors_leaves_room_for_another() -> None:
    quick = settings(spawner=SpawnerSettings(max_workers_per_host=4))
    async with a_house(an_engine(SHORT), quick) as house:
        big = [await register_as(house, "BIG") for _ in range(25)]
        keys = [await post_as(house, actor, number) for number in range(20) for actor in big]
        await house.running(keys[0])
        small = await register_as(house, "SMALL")
        for number in range(10):
            await house.final(await post_as(house, small, number))
        left = sum((await house.stores.mailbox.backlog()).values())
        assert left > 200, "the big tenant had been served first"
        await house.check_conservation()


async def post_as(house: House, actor: Actor, body: Any) -> ExecutionKey:
    post = messages.Post(body=body, content_type="str", environment={})
    posted = await messages.post(house.services, member_of(actor.tenant), actor, post)
    return posted.execution.key


async def test_weights_are_those_of_the_settings() -> None:
    spawner = SpawnerSettings.model_validate({"max_workers_per_host": 8, "big_weight": 3})
    engine = an_engine(LONG)
    async with a_house(engine, settings(spawner=spawner)) as house:
        tenants = {name: await register_as(house, name) for name in ("BIG", "SMALL")}
        for actor in tenants.values():
            for number in range(60):
                await post_as(house, actor, number)

        async def shares() -> tuple[int, int]:
            big, small = [
                sum(one.status is WorkerStatus.BUSY for one in await pool(house, actor))
                for actor in tenants.values()
            ]
            return big, small

        async def is_fair() -> bool:
            if await shares() == (6, 2):
                return True
            for container in list(engine.containers.values())[:1]:
                engine.finish(container.id, 0)
            return False

        await house.until(is_fair)


# Queues.


async def test_a_busy_default_queue_does_not_delay_the_special_one() -> None:
    async with a_house(an_engine(LONG), two_queues(4)) as house:
        for _ in range(4):
            actor = await house.register()
            for number in range(3):
                await house.post(actor, number)
        special = await house.register(queue="special")
        key = await house.post(special)
        assert (await house.running(key)).attempt == 1
        slots = house.crew.kit.slots
        assert {name: len(queue) for name, queue in slots.queues.items()} == {
            "default": 2,
            "special": 1,
        }


async def test_a_queue_has_no_more_workers_than_its_own() -> None:
    async with a_house(an_engine(LONG), two_queues(10, special=1)) as house:
        special = await house.register(queue="special")
        keys = [await house.post(special, number) for number in range(3)]
        await house.running(keys[0])
        await asyncio.sleep(0.1)
        assert len(await pool(house, special)) == 1


async def test_messages_of_a_queue_served_elsewhere_wait_and_the_actor_says_why() -> None:
    quick = two_queues(4)
    quick = quick.model_copy(update={"workers": WorkersSettings(init_count=1)})
    async with a_house(None, quick) as house:
        actor = await house.register(queue="elsewhere")
        await house.post(actor)

        async def is_told() -> bool:
            return "'elsewhere'" in (await house.stores.actors.get(actor.key)).status_message

        await house.until(is_told)
        present = await house.stores.actors.get(actor.key)
        assert present.status is ActorStatus.SUBMITTED
        assert await house.stores.mailbox.count(actor.key) == 1
        assert await pool(house, actor) == []
        with pytest.raises(ConflictError, match="elsewhere"):
            await workers.ensure(house.services, present, 1)
        draft = ActorDraft(image="abaco_test", queue="special")
        await actors.update(house.services, CALLER, present, draft)
        assert (await house.actor_status(actor, ActorStatus.READY)).status_message == " "


@pytest.mark.parametrize("queue", ["special", "elsewhere"])
async def test_an_actor_that_moves_to_another_queue_takes_its_messages_along(queue: str) -> None:
    engine = an_engine(LONG)
    async with a_house(engine, two_queues(4)) as house:
        actor = await house.register(stateless=False)
        running = await house.running(await house.post(actor))
        waiting = await house.post(actor)
        draft = ActorDraft(image="abaco_test", queue=queue)
        await actors.update(house.services, CALLER, actor, draft)
        successors = [WorkerStatus.READY] if queue == "special" else []
        await pool_of(house, actor, WorkerStatus.SHUTTING_DOWN, *successors)
        engine.finish(running.container_id, 0)
        assert (await house.final(running.key)).attempt == 1
        if queue == "special":
            await house.running(waiting)
            # the one before may not have left yet
            busy = [each for each in await pool(house, actor) if each.status is WorkerStatus.BUSY]
            assert [house.crew.kit.slots.queue_of(each.key) for each in busy] == ["special"]
        else:
            await pool_of(house, actor)
            assert await house.stores.mailbox.count(actor.key) == 1


async def test_runs_of_a_queue_that_is_no_longer_served_are_adopted() -> None:
    engine = an_engine(LONG)
    async with a_house(engine, two_queues(4)) as house:
        actor = await house.register(queue="special")
        running = await house.running(await house.post(actor))
        await house.crash()
        house.settings = settings(web=WebSettings(all_queues="default, special"))
        await house.start()
        await pool_of(house, actor, WorkerStatus.SHUTTING_DOWN)
        engine.finish(running.container_id, 0)
        assert (await house.final(running.key)).attempt == 1
        await pool_of(house, actor)


def keys_of(found: list[Actor]) -> set[ActorKey]:
    return {actor.key for actor in found}


async def test_after_a_start_only_those_with_something_to_do_are_looked_at() -> None:
    async with a_house(an_engine(SHORT)) as house:
        quiet = [await house.register() for _ in range(3)]
        for actor in quiet:
            await house.final(await house.post(actor))
            await pool_of(house, actor)
        loud, fresh = await house.register(), await house.register()
        await house.crash()
        await house.post(loud)
        await house.start()
        assert set(await house.crew.spawner._restless()) == keys_of([loud, fresh])
