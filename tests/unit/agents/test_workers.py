"""Spawner and workers together, over memory and a scripted engine."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from abaco.config import Settings
from abaco.domain.actor import ActorStatus
from abaco.domain.execution import ExecutionStatus
from abaco.domain.worker import WorkerStatus
from abaco.operations import actors, workers
from abaco.operations.definition import ActorDraft
from abaco.settings import (
    EngineSettings,
    RuntimeSettings,
    SpawnerSettings,
    WebSettings,
    WorkersSettings,
)
from agents.reaper import Reaper
from backends.drivers.scripted import Act, Script, ScriptedEngine
from tests.support.house import CALLER, QUICK, House, a_house, an_engine

LONG = Act(until_stopped=True)


def settings(**changes: object) -> Settings:
    return QUICK.model_copy(update=changes)


async def worker_count(house: House) -> int:
    return len(await house.stores.workers.list_workers())


async def test_a_pool_fills_up_to_its_limit_and_no_further() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register(max_workers=4)
        keys = [await house.post(actor, number) for number in range(9)]
        for key in keys[:4]:
            await house.running(key)
        assert await house.stores.mailbox.count(actor.key) == 5
        assert await worker_count(house) == 4

        async def finish_all() -> bool:
            for container in list(engine.containers.values()):
                engine.finish(container.id, 0)
            return (await house.stores.executions.counters()).final == 9

        await house.until(finish_all)
        started = [call for call in engine.calls if call[0] == "dispatch"]
        assert len(started) == 9


async def test_without_autoscaling_the_first_worker_still_comes() -> None:
    quick = settings(workers=WorkersSettings(init_count=0, autoscaling=False))
    async with a_house(an_engine(Act(output=[0.05])), quick) as house:
        actor = await house.register()
        keys = [await house.post(actor, number) for number in range(5)]
        for key in keys:
            await house.final(key)
        assert await worker_count(house) == 1


async def test_a_host_that_is_full_makes_room_for_who_has_messages() -> None:
    """Stateful workers never retire by themselves; an idle one makes way."""
    quick = settings(spawner=SpawnerSettings(max_workers_per_host=2))
    async with a_house(None, quick) as house:
        found = [await house.register(stateless=False) for _ in range(5)]
        for actor in found:
            key = await house.post(actor)
            assert (await house.final(key)).status is ExecutionStatus.COMPLETE
        assert await worker_count(house) <= 2


async def test_a_full_host_brings_every_actor_up_in_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quick = settings(
        workers=WorkersSettings(init_count=1), spawner=SpawnerSettings(max_workers_per_host=3)
    )
    async with a_house(None, quick) as house:
        found = [await house.register(stateless=number % 2 == 0) for number in range(40)]
        for actor in found:
            await house.actor_status(actor, ActorStatus.READY)
        assert await worker_count(house) <= 3
    assert "crashed" not in caplog.text


@pytest.mark.parametrize("slots", [1, 3])
async def test_a_deep_mailbox_does_not_keep_others_waiting(slots: int) -> None:
    quick = settings(spawner=SpawnerSettings(max_workers_per_host=slots))
    async with a_house(an_engine(Act(output=[0.02])), quick) as house:
        greedy, modest = await house.register(), await house.register()
        many = [await house.post(greedy, number) for number in range(60 * slots)]
        await house.running(many[0])
        for _ in range(3):
            await house.final(await house.post(modest))
        assert await house.stores.mailbox.count(greedy.key) > 5
        for key in many:
            assert (await house.final(key)).attempt == 1


async def test_an_actor_whose_turn_comes_after_it_was_deleted_blocks_nobody() -> None:
    quick = settings(spawner=SpawnerSettings(max_workers_per_host=1))
    engine = an_engine(LONG)
    async with a_house(engine, quick) as house:
        first, gone, last = [await house.register() for _ in range(3)]
        running = await house.running(await house.post(first))
        await house.post(gone)
        waiting = await house.post(last)
        await asyncio.sleep(0.05)
        await actors.delete(house.services, gone)
        engine.finish(running.container_id, 0)
        assert (await house.running(waiting)).attempt == 1


async def test_the_first_worker_shows_whether_the_image_can_be_run() -> None:
    quick = settings(workers=WorkersSettings(init_count=1))
    async with a_house(None, quick) as house:
        actor = await house.register()
        await house.actor_status(actor, ActorStatus.READY)


async def test_a_new_actor_gets_one_worker_and_not_two() -> None:
    """Registration asks for one, and so does the spawner when it sees the new actor."""
    quick = settings(workers=WorkersSettings(init_count=1), runtime=RuntimeSettings(idle_grace=60))
    async with a_house(None, quick) as house:
        found = [await house.register() for _ in range(10)]
        for actor in found:
            await house.actor_status(actor, ActorStatus.READY)
        assert await worker_count(house) == 10


async def test_an_engine_away_from_the_start_is_told_to_who_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quick = settings(workers=WorkersSettings(init_count=1))
    engine = ScriptedEngine()
    engine.go_down()
    async with a_house(engine, quick) as house:
        actor = await house.register()

        async def is_told() -> bool:
            found = await house.stores.actors.get(actor.key)
            return found.status_message.startswith("waiting for the container engine: ")

        await house.until(is_told)
        warnings = [one for one in caplog.records if "engine is away" in one.message]
        assert len(warnings) == 1
        engine.come_back()
        assert (await house.actor_status(actor, ActorStatus.READY)).status_message == " "


async def test_a_new_revision_gets_its_worker_without_a_message() -> None:
    quick = settings(workers=WorkersSettings(init_count=1))
    async with a_house(None, quick) as house:
        actor = await house.register()
        await house.actor_status(actor, ActorStatus.READY)
        draft = actors.ActorDraft(image="two")
        await actors.update(house.services, CALLER, actor, draft)
        updated = await house.actor_status(actor, ActorStatus.READY)
        assert updated.revision == 2


async def test_an_actor_in_error_has_no_workers_and_keeps_its_messages() -> None:
    engine = ScriptedEngine(Script(missing=("gone",)))
    async with a_house(engine) as house:
        actor = await house.register("gone")
        await house.post(actor)
        await house.actor_status(actor, ActorStatus.ERROR)
        await house.post(actor)
        await asyncio.sleep(0.05)
        assert await house.stores.mailbox.count(actor.key) == 2
        assert await worker_count(house) == 0


async def test_admins_may_ask_for_workers_and_send_them_away() -> None:
    quick = settings(runtime=RuntimeSettings(idle_grace=60))
    async with a_house(None, quick) as house:
        actor = await house.register()
        await workers.ensure(house.services, actor, 3)

        async def are_ready() -> bool:
            found = await house.stores.workers.list_workers()
            return [one.status for one in found] == [WorkerStatus.READY] * 3

        await house.until(are_ready)
        (first, *_) = await house.stores.workers.list_workers()
        await workers.drain(house.services, actor, first.id)

        async def is_gone() -> bool:
            found = await house.stores.workers.list_workers()
            return first.id not in {one.id for one in found} and len(found) == 2

        await house.until(is_gone)


async def test_a_run_is_stopped_at_its_time_limit() -> None:
    quick = settings(workers=WorkersSettings(init_count=0, max_run_time=1))
    async with a_house(an_engine(LONG), quick) as house:
        execution = await house.final(await house.post(await house.register()))
        assert execution.status is ExecutionStatus.COMPLETE
        assert execution.outcome is not None
        assert execution.outcome.final_state is not None
        assert execution.outcome.final_state["AbacoReason"] == "timeout"


async def test_a_state_that_has_grown_too_large_ends_the_execution_and_nothing_else() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register(stateless=False)
        first, second, third = [await house.post(actor) for _ in range(3)]
        running = await house.running(first)
        await house.stores.actors.set_state(actor.key, "x" * 200_000)
        engine.finish(running.container_id, 0)
        refused = await house.final(second)
        assert refused.status is ExecutionStatus.ERROR
        assert refused.attempt == 1
        assert refused.outcome is not None
        assert "_abaco_actor_state" in refused.outcome.error
        assert (await house.final(third)).status is ExecutionStatus.ERROR
        assert (await house.stores.actors.get(actor.key)).status is ActorStatus.READY


async def test_containers_can_be_kept() -> None:
    quick = settings(workers=WorkersSettings(init_count=0, leave_containers=True))
    engine = an_engine()
    async with a_house(engine, quick) as house:
        key = await house.post(await house.register())
        await house.final(key)
        await Reaper(house.crew.kit).round()
        assert len(engine.of_execution(key.id)) == 1


async def test_a_long_log_is_stored_up_to_the_limit() -> None:
    quick = settings(web=WebSettings(max_log_length=1000))
    engine = an_engine(Act(output=[b"x" * 700, 0.01, b"y" * 700, 0.01, b"z" * 700]))
    async with a_house(engine, quick) as house:
        key = await house.post(await house.register())
        await house.final(key)
        log = await house.stores.logs.read(key)
        assert log.data == b"x" * 700 + b"y" * 300
        assert (log.bytes_seen, log.is_truncated) == (2100, True)


@pytest.mark.parametrize("policy_s", [0.0, 5.0])
async def test_a_drain_waits_for_what_runs_but_not_for_ever(policy_s: float) -> None:
    engine = an_engine(Act(output=[0.3] if policy_s else [600.0]))
    async with a_house(engine) as house:
        actor = await house.register()
        key = await house.post(actor)
        await house.running(key)
        queued = [await house.post(actor, number) for number in range(3)]
        until_s = house.services.clock.monotonic() + policy_s
        await house.crew.spawner.drain(until_s)
        execution = await house.stores.executions.get(key)
        wanted = ExecutionStatus.COMPLETE if policy_s else ExecutionStatus.RUNNING
        assert execution.status is wanted
        assert await house.stores.mailbox.count(actor.key) >= len(queued) - 3


async def test_an_actors_own_time_limit_is_the_shorter_one() -> None:
    quick = settings(workers=WorkersSettings(init_count=0, max_run_time=600))
    async with a_house(an_engine(LONG), quick) as house:
        actor = await house.register(max_run_time=1)
        execution = await house.final(await house.post(actor))
        assert execution.outcome is not None
        assert execution.outcome.final_state is not None
        assert execution.outcome.final_state["AbacoReason"] == "timeout"


async def test_containers_get_the_actors_confinement_or_the_tenants() -> None:
    quick = settings(
        engine=EngineSettings.model_validate({"network": "lan", "other_network": "none"}),
        workers=WorkersSettings.model_validate(
            {"init_count": 0, "dev_read_only_rootfs": True, "max_cpus": 10_000_000}
        ),
    )
    engine = an_engine()
    async with a_house(engine, quick) as house:
        await house.final(await house.post(await house.register()))
        (first,) = engine.containers.values()
        spec = first.slot.spec
        assert (spec.network, spec.read_only_rootfs) == ("lan", True)
        assert spec.limits.nano_cpus == 10_000_000
    engine = an_engine()
    async with a_house(engine) as house:
        actor = await house.register(network="none", read_only_rootfs=True)
        await house.final(await house.post(actor))
        (first,) = engine.containers.values()
        assert (first.slot.spec.network, first.slot.spec.read_only_rootfs) == ("none", True)


@pytest.mark.parametrize("policy", ["wait", "halt"])
async def test_what_becomes_of_a_run_whose_actor_gets_another_image(policy: str) -> None:
    runtime = QUICK.runtime.model_copy(update={"update_running": policy})
    engine = an_engine(LONG)
    async with a_house(engine, settings(runtime=runtime)) as house:
        actor = await house.register()
        key = await house.post(actor)
        running = await house.running(key)
        draft = ActorDraft(image="abaco_test", description="another")
        await actors.update(house.services, CALLER, actor, draft)
        assert (await house.stores.executions.get(key)).outcome is None, "no new revision"
        draft = ActorDraft(image="abaco_other")
        await actors.update(house.services, CALLER, actor, draft)
        if policy == "wait":
            await asyncio.sleep(0.2)
            assert (await house.stores.executions.get(key)).outcome is None
            engine.finish(running.container_id, 0)
        execution = await house.final(key)
        assert execution.status is ExecutionStatus.COMPLETE
        assert execution.outcome is not None
        state = execution.outcome.final_state or {}
        assert state.get("AbacoReason") == ("actor_updated" if policy == "halt" else None)


async def test_a_run_is_halted_although_its_worker_crashed_after_the_update() -> None:
    runtime = QUICK.runtime.model_copy(update={"update_running": "halt"})
    async with a_house(an_engine(LONG), settings(runtime=runtime)) as house:
        actor = await house.register()
        key = await house.post(actor)
        await house.running(key)
        other = replace(actor.definition, image="abaco_other")
        now = house.crew.kit.clock.now()  # and nobody is told
        await house.stores.actors.update(actor.key, other, new_revision=True, now=now)
        (worker,) = await house.stores.workers.list_workers()
        agent = house.crew.spawner.find_live(worker.key)
        assert agent is not None
        assert agent.abort()
        execution = await house.final(key)
        assert execution.outcome is not None
        assert (execution.outcome.final_state or {})["AbacoReason"] == "actor_updated"


async def test_a_run_is_halted_although_the_server_died_after_the_update() -> None:
    runtime = QUICK.runtime.model_copy(update={"update_running": "halt"})
    async with a_house(an_engine(LONG), settings(runtime=runtime)) as house:
        actor = await house.register()
        key = await house.post(actor)
        await house.running(key)
        await house.crash()
        draft = ActorDraft(image="abaco_other")
        await actors.update(house.services, CALLER, actor, draft)
        await house.start()
        execution = await house.final(key)
        assert execution.outcome is not None
        assert (execution.outcome.final_state or {})["AbacoReason"] == "actor_updated"
