"""Engine outages and killed processes, with a scripted engine: exact and quick."""

from __future__ import annotations

import asyncio

import pytest

from abaco.domain.actor import ActorStatus
from abaco.domain.execution import ExecutionStatus, HaltReason
from abaco.domain.worker import WorkerStatus
from abaco.operations import actors, executions
from abaco.ports.notices import Topic
from backends.drivers.scripted import Act
from tests.support.house import CALLER, a_house, an_engine

LONG = Act(output=[b"begun\n"], until_stopped=True)


async def test_an_outage_in_mid_run_is_waited_for() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register()
        key = await house.post(actor)
        await house.running(key)
        engine.go_down()
        await asyncio.sleep(0.05)
        (container,) = engine.of_execution(key.id)
        container.print(b"during the outage\n")
        engine.come_back()
        await asyncio.sleep(0.05)
        engine.finish(container.id, 0)
        execution = await house.final(key)
        assert execution.status is ExecutionStatus.COMPLETE
        assert execution.attempt == 1
        assert await house.log(key) == b"begun\nduring the outage\n"
        assert (await house.stores.actors.get(actor.key)).status is ActorStatus.READY


async def test_a_container_killed_with_its_engine_runs_again() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        key = await house.post(await house.register())
        await house.running(key)
        (container,) = engine.of_execution(key.id)
        engine.go_down()
        container.finish(137)
        await asyncio.sleep(0.05)
        engine.come_back()

        async def is_second() -> bool:
            return (await house.stores.executions.get(key)).attempt == 2

        await house.until(is_second)
        await house.running(key)
        second = engine.of_execution(key.id)[-1]
        engine.finish(second.id, 0)
        execution = await house.final(key)
        assert execution.status is ExecutionStatus.COMPLETE
        assert (execution.attempt, execution.losses) == (2, 1)
        assert await house.log(key) == b"begun\n"


async def test_a_message_that_always_loses_its_container_is_given_up() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register()
        key = await house.post(actor)
        for attempt in (1, 2, 3):

            async def is_there(number: int = attempt) -> bool:
                found = await house.stores.executions.get(key)
                return found.attempt == number and found.start_time is not None

            await house.until(is_there)
            (container,) = engine.of_execution(key.id)
            del engine.containers[container.id]
            engine.announce()
        execution = await house.final(key)
        assert execution.status is ExecutionStatus.ERROR
        assert execution.outcome is not None
        assert "lost" in execution.outcome.error
        assert (await house.stores.actors.get(actor.key)).status is ActorStatus.READY
        await house.check_conservation()


async def test_an_end_nobody_saw_is_an_error_and_the_worker_goes_on() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register(stateless=False)
        first, second = await house.post(actor), await house.post(actor)
        container_id = (await house.running(first)).container_id
        engine.finish(container_id, None)
        execution = await house.final(first)
        assert (execution.status, execution.attempt) == (ExecutionStatus.ERROR, 1)
        assert execution.outcome is not None
        assert execution.outcome.exit_code is None
        assert "did not see" in execution.outcome.error
        assert (execution.outcome.final_state or {})["AbacoEndUnseen"] is True
        assert await house.log(first) == b"begun\n"
        assert (await house.running(second)).worker_id == execution.worker_id
        assert (await house.stores.actors.get(actor.key)).status is ActorStatus.READY
        await house.check_conservation()


async def test_messages_wait_for_an_engine_that_is_away_at_the_start() -> None:
    engine = an_engine()
    engine.go_down()
    async with a_house(engine) as house:
        actor = await house.register()
        keys = [await house.post(actor) for _ in range(5)]
        await asyncio.sleep(0.1)
        assert await house.stores.mailbox.count(actor.key) == 5
        assert (await house.stores.actors.get(actor.key)).status is ActorStatus.SUBMITTED
        engine.come_back()
        for key in keys:
            assert (await house.final(key)).status is ExecutionStatus.COMPLETE


async def test_a_killed_process_adopts_what_runs_and_finalizes_what_ended() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register(max_workers=3)
        keys = [await house.post(actor, number) for number in range(3)]
        for key in keys:
            await house.running(key)
        queued = [await house.post(actor, number) for number in range(3, 20)]
        await house.crash()
        ended, lost, still = (engine.of_execution(key.id)[0] for key in keys)
        engine.finish(ended.id, 5)
        del engine.containers[lost.id]
        engine.print(still.id, b"while nobody looked\n")
        await house.start()

        assert (await house.final(keys[0])).outcome.exit_code == 5  # type: ignore[union-attr]

        async def is_adopted() -> bool:
            return b"nobody" in await house.log(keys[2])

        await house.until(is_adopted)
        engine.finish(still.id, 0)
        assert (await house.final(keys[2])).attempt == 1

        async def finish_the_rest() -> bool:
            for container in list(engine.containers.values()):
                engine.finish(container.id, 0)
            return (await house.stores.executions.counters()).final == 20

        await house.until(finish_the_rest)
        for key in [*keys, *queued]:
            execution = await house.final(key)
            assert execution.status is ExecutionStatus.COMPLETE
            assert execution.attempt == (2 if key == keys[1] else 1)
        await house.check_conservation()
        await house.no_containers()


async def test_containers_nobody_knows_are_removed_at_the_start() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        key = await house.post(await house.register())
        await house.running(key)
        await house.crash()
        # as after a kill between the message's return and the container's removal
        await house.stores.mailbox.release(key, 1, lost=True)
        await house.start()

        async def is_second() -> bool:
            found = [one.context.attempt for one in engine.of_execution(key.id)]
            return found == [2]

        await house.until(is_second)


async def test_a_halt_that_came_just_before_the_kill_is_obeyed_after_it() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        key = await house.post(await house.register())
        await house.running(key)
        await house.crash()
        await house.stores.executions.request_halt(key, HaltReason.FORCE_QUIT)
        await house.start()
        execution = await house.final(key)
        assert execution.status is ExecutionStatus.COMPLETE
        assert execution.outcome is not None
        assert execution.outcome.final_state is not None
        assert execution.outcome.final_state["AbacoReason"] == "force_quit"


async def test_an_actor_deleted_before_a_restart_is_finished_after_it() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register()
        key = await house.post(actor)
        await house.running(key)
        await house.crash()
        await house.stores.actors.set_status(
            actor.key, ActorStatus.SHUTTING_DOWN, "", expect=set(ActorStatus)
        )
        await house.start()
        execution = await house.final(key)
        assert execution.outcome is not None
        assert execution.outcome.final_state is not None
        assert execution.outcome.final_state["AbacoReason"] == "actor_deleted"

        async def is_gone() -> bool:
            return not await house.stores.actors.list_actors()

        await house.until(is_gone)


async def test_deleting_an_actor_stops_a_container_that_is_just_starting() -> None:
    engine = an_engine(Act(until_stopped=True, start_delay_s=0.2))
    async with a_house(engine) as house:
        actor = await house.register()
        key = await house.post(actor)

        async def is_claimed() -> bool:
            return (await house.stores.executions.get(key)).attempt == 1

        await house.until(is_claimed)
        assert await actors.delete(house.services, actor)
        assert (await house.final(key)).status is ExecutionStatus.COMPLETE
        await house.no_containers()


async def test_a_halt_ends_the_run_and_not_the_worker() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register(stateless=False)
        first, second = await house.post(actor), await house.post(actor)
        await house.running(first)
        await executions.halt(house.services, actor, first.id)
        execution = await house.final(first)
        assert execution.outcome is not None
        assert execution.outcome.exit_code in {137, 143}
        assert (await house.running(second)).worker_id == execution.worker_id


@pytest.mark.parametrize("is_stateless", [True, False])
async def test_an_update_lets_the_running_message_finish_on_the_old_revision(
    is_stateless: bool,
) -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register("one", stateless=is_stateless, max_workers=None)
        first = await house.post(actor)
        await house.running(first)
        draft = actors.ActorDraft(image="two")
        await actors.update(house.services, CALLER, actor, draft)
        second = await house.post(actor)
        (container,) = engine.of_execution(first.id)
        if not is_stateless:
            await asyncio.sleep(0.05)
            assert not engine.of_execution(second.id)
        engine.finish(container.id, 0)
        await house.final(first)
        await house.running(second)
        (container,) = engine.of_execution(second.id)
        assert container.slot.spec.image.reference.startswith("two")
        assert container.slot.spec.revision == 2
        engine.finish(container.id, 0)
        assert (await house.final(second)).status is ExecutionStatus.COMPLETE


async def test_an_image_that_cannot_be_started_fails_the_actor_after_six_tries() -> None:
    engine = an_engine(bad=Act(start_error="exec format error"))
    async with a_house(engine) as house:
        actor = await house.register("bad", stateless=False)
        key = await house.post(actor)
        execution = await house.final(key)
        assert execution.status is ExecutionStatus.ERROR
        assert execution.attempt == 6
        failed = await house.actor_status(actor, ActorStatus.ERROR)
        assert "exec format error" in failed.status_message
        await house.check_conservation()


async def test_an_image_that_is_not_to_be_had_fails_the_actor_with_a_reason() -> None:
    async with a_house() as house:
        actor = await house.register("missing-image")
        await house.post(actor)
        failed = await house.actor_status(actor, ActorStatus.ERROR)
        assert "missing-image" in failed.status_message

        async def has_no_worker() -> bool:
            return not await house.stores.workers.list_workers()

        await house.until(has_no_worker)
        assert await house.stores.mailbox.count(actor.key) == 1  # it waits for a repair


async def test_a_worker_deleted_while_busy_finishes_first() -> None:
    engine = an_engine(LONG)
    async with a_house(engine) as house:
        actor = await house.register(stateless=False)
        first, second = await house.post(actor), await house.post(actor)
        execution = await house.running(first)
        (worker,) = await house.stores.workers.list_workers(actor.key)
        await house.stores.workers.set_status(
            worker.key, WorkerStatus.SHUTDOWN_REQUESTED, expect={WorkerStatus.BUSY}
        )
        house.services.notices.publish(Topic.POOL, actor.key)
        engine.finish(execution.container_id, 0)
        assert (await house.final(first)).attempt == 1
        assert (await house.running(second)).worker_id != worker.id
