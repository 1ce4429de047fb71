"""What containers are handed and hand back, over the scripted engine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.execution import ExecutionKey, ExecutionStatus
from abaco.domain.ids import ExecutionId, WorkerId
from abaco.errors import NotFoundError, StoreUnavailableError
from abaco.operations import messages, uploads
from abaco.ports.driver import Driver, EngineInfo
from abaco.ports.ipc import Place
from abaco.ports.notices import Topic
from abaco.ports.store import Stores
from agents.exchange import Exchange
from agents.litter import sweep_files
from agents.reaper import Reaper
from backends.drivers.scripted import Act
from backends.ipc import open_ipc
from tests.support.faults import Fault, When, faulty_stores, store_away
from tests.support.house import CALLER, QUICK, House, a_house, an_engine
from tests.support.records import an_execution


async def upload(house: House, actor: Actor, body: bytes) -> ExecutionKey:
    """Post a binary message as the HTTP edge does."""
    incoming = await uploads.begin(house.services)
    await incoming.write(body)
    post = messages.Post(
        body="binary - omitted",
        content_type="application/octet-stream",
        environment={"MSG": "spoof"},
        execution_id=incoming.execution_id,
        blob=await incoming.finish(),
    )
    return (await messages.post(house.services, CALLER, actor, post)).execution.key


async def results_of(house: House, key: ExecutionKey) -> AsyncIterator[bytes]:
    while (result := await house.stores.results.pop(key, house.services.clock.now())) is not None:
        yield result


def blob_of(house: House, key: ExecutionKey) -> Path:
    return Path(house.stores.blobs.path(key.id))


@asynccontextmanager
async def held_back(house: House, actor: Actor) -> AsyncIterator[None]:
    """Let no message of the actor start while the context lasts."""

    async def set_status(status: ActorStatus) -> None:
        await house.stores.actors.set_status(actor.key, status, "", expect=set(ActorStatus))
        house.services.notices.publish(Topic.ACTOR, actor.key)

    await set_status(ActorStatus.ERROR)
    yield
    await set_status(ActorStatus.READY)


def with_runtime(**runtime: Any) -> Any:
    return QUICK.model_copy(update={"runtime": QUICK.runtime.model_copy(update=runtime)})


async def no_files(house: House) -> None:
    async def is_empty() -> bool:
        return not any(house.ipc_root.iterdir())

    await house.until(is_empty)


async def test_results_are_stored_in_order_before_the_execution_is_final() -> None:
    sent = [b"result %d" % number for number in range(500)]
    async with a_house(an_engine(Act(results=sent))) as house:
        actor = await house.register()
        key = await house.post(actor)
        done = await house.final(key)
        assert [each async for each in results_of(house, key)] == sent
        assert done.outcome is not None
        assert not {"AbacoResultsLost", "AbacoResultsRefused"} & set(done.outcome.final_state or {})
        await no_files(house)


async def test_results_can_be_read_while_the_program_runs() -> None:
    async with a_house(an_engine(Act(results=[b"early"], until_stopped=True))) as house:
        key = await house.post(await house.register())

        async def is_there() -> bool:
            return [each async for each in results_of(house, key)] == [b"early"]

        await house.until(is_there)
        assert (await house.stores.executions.get(key)).outcome is None


async def test_a_result_above_the_limit_is_noted_at_the_end_of_the_log() -> None:
    act = Act(output=[b"printed"], results=[b"fits", b"x" * 2000, b"y" * 3000, b"fits too"])
    async with a_house(an_engine(act), with_runtime(max_result_size=1000)) as house:
        key = await house.post(await house.register())
        done = await house.final(key)
        assert [each async for each in results_of(house, key)] == [b"fits", b"fits too"]
        log = (await house.log(key)).decode()
        assert log.startswith("printed\nABACO: results refused: 2\n")
        assert "3000 bytes" in log
        assert "1000" in log
        assert done.outcome is not None
        assert done.outcome.final_state is not None
        assert done.outcome.final_state["AbacoResultsRefused"] == 2


@pytest.mark.parametrize("when", When)
async def test_a_store_that_is_away_for_a_while_gets_every_result_once(when: When) -> None:
    fault = Fault("push", when, store_away, times=3)
    sent = [b"%d" % number for number in range(100)]
    engine = an_engine(Act(results=sent))
    async with a_house(engine, wrap_stores=faulty_stores(fault)) as house:
        key = await house.post(await house.register())
        await house.final(key)
        assert fault.struck == 3
        assert [each async for each in results_of(house, key)] == sent


async def test_a_store_that_is_behind_makes_the_sender_wait() -> None:
    release = asyncio.Event()

    def slow(stores: Stores) -> Stores:
        class SlowResults:
            def __getattr__(self, name: str) -> Any:
                return getattr(stores.results, name)

            async def push(self, *args: Any, **named: Any) -> None:
                await release.wait()
                await stores.results.push(*args, **named)

        return replace(stores, results=SlowResults())  # type: ignore[arg-type]

    size = 100_000
    sent = [os.urandom(size) for _ in range(120)]
    async with a_house(an_engine(Act(results=sent)), wrap_stores=slow) as house:
        key = await house.post(await house.register())
        await asyncio.sleep(0.5)
        execution = await house.stores.executions.get(key)
        assert execution.start_time is None, "the sender is still sending"
        release.set()
        await house.final(key)
        assert [each async for each in results_of(house, key)] == sent


async def test_a_binary_message_is_given_as_a_file_and_gone_afterwards() -> None:
    async with a_house(an_engine(Act(until_stopped=True))) as house:
        key = await upload(house, await house.register(), b"\0binary")
        await house.running(key)
        (container,) = house.engine.of_execution(key.id)
        paths = {bind.container_path: bind for bind in container.context.binds}
        assert set(paths) == {"/_abaco_results.sock", "/_abaco_binary_data"}
        assert Path(paths["/_abaco_binary_data"].host_path).read_bytes() == b"\0binary"
        assert "MSG" not in container.context.environment
        assert container.context.environment["_abaco_Content_Type"] == "application/octet-stream"
        assert blob_of(house, key).exists()
        house.engine.finish(container.id)
        await house.final(key)
        await no_files(house)
        assert not blob_of(house, key).exists()


async def test_as_a_pipe_where_that_is_configured() -> None:
    settings = with_runtime(binary_transport="fifo")
    async with a_house(an_engine(Act(until_stopped=True)), settings) as house:
        key = await upload(house, await house.register(), b"in a pipe")
        await house.running(key)
        (container,) = house.engine.of_execution(key.id)
        assert Path(container.context.binds[1].host_path).is_fifo()


async def test_a_message_no_pipe_can_hold_ends_in_error_with_the_reason() -> None:
    async with a_house(settings=with_runtime(binary_transport="fifo")) as house:
        actor = await house.register()
        async with held_back(house, actor):
            key = await upload(house, actor, b"x")
            with blob_of(house, key).open("ab") as file:
                file.truncate(2**31)
        done = await house.final(key)
        assert done.outcome is not None
        assert "a pipe on this host can hold" in done.outcome.error
        assert (await house.stores.actors.get(actor.key)).status is ActorStatus.READY
        await no_files(house)
        assert not blob_of(house, key).exists()


async def test_a_failed_start_leaves_no_files() -> None:
    async with a_house(an_engine(Act(start_error="no such program"))) as house:
        actor = await house.register()
        key = await upload(house, actor, b"x")
        done = await house.final(key)
        assert done.status is ExecutionStatus.ERROR
        await no_files(house)
        assert not blob_of(house, key).exists()


async def test_a_message_whose_file_is_gone_ends_in_error() -> None:
    async with a_house() as house:
        actor = await house.register()
        async with held_back(house, actor):
            key = await upload(house, actor, b"x")
            blob_of(house, key).unlink()
        done = await house.final(key)
        assert done.outcome is not None
        assert "gone" in done.outcome.error


async def test_an_engine_elsewhere_gets_messages_that_are_no_files() -> None:
    class ElsewhereDriver:
        def __init__(self, driver: Driver) -> None:
            self._driver = driver

        def __getattr__(self, name: str) -> Any:
            return getattr(self._driver, name)

        async def info(self) -> EngineInfo:
            return replace(await self._driver.info(), sees_our_files=False)

    async with a_house(
        an_engine(Act(until_stopped=True)),
        wrap_driver=lambda driver: ElsewhereDriver(driver),  # type: ignore[return-value]
    ) as house:
        actor = await house.register()
        text = await house.post(actor)
        await house.running(text)
        (container,) = house.engine.of_execution(text.id)
        assert container.context.binds == ()
        house.engine.finish(container.id)
        binary = await upload(house, actor, b"x")
        done = await house.final(binary)
        assert done.outcome is not None
        assert "not on this host" in done.outcome.error


async def test_after_a_restart_the_results_are_lost_and_the_execution_says_so() -> None:
    async with a_house(an_engine(Act(results=[b"before"], until_stopped=True))) as house:
        key = await upload(house, await house.register(), b"x")
        await house.running(key)
        await house.crash()
        assert any(house.ipc_root.iterdir()), "the container may still read its message"
        await house.start()
        (container,) = house.engine.of_execution(key.id)
        house.engine.finish(container.id)
        done = await house.final(key)
        assert done.outcome is not None
        assert done.outcome.final_state is not None
        assert done.outcome.final_state["AbacoResultsLost"] is True
        assert [each async for each in results_of(house, key)] == [b"before"]
        await no_files(house)
        assert not blob_of(house, key).exists()


async def test_a_run_that_was_lost_begins_again_with_its_message_and_no_old_results() -> None:
    async with a_house(an_engine(Act(results=[b"a", b"b"], until_stopped=True))) as house:
        key = await upload(house, await house.register(), b"message")
        await house.running(key)
        (lost,) = house.engine.of_execution(key.id)

        async def has_both() -> bool:
            found = await house.stores.results.pop(key, house.services.clock.now())
            return found == b"b"

        await house.until(has_both)
        del house.engine.containers[lost.id]
        house.engine.announce()

        async def runs_again() -> bool:
            return (await house.stores.executions.get(key)).attempt == 2 and bool(
                house.engine.of_execution(key.id)
            )

        await house.until(runs_again)
        (again,) = house.engine.of_execution(key.id)
        message = next(
            bind for bind in again.context.binds if bind.container_path.endswith("binary_data")
        )
        assert Path(message.host_path).read_bytes() == b"message"
        house.engine.finish(again.id)
        await house.final(key)
        assert [each async for each in results_of(house, key)] == [b"a", b"b"]


async def test_a_sweep_removes_what_nobody_needs_and_nothing_else() -> None:
    async with a_house(an_engine(Act(until_stopped=True))) as house:
        actor = await house.register(stateless=False)
        running, waiting = await upload(house, actor, b"1"), await upload(house, actor, b"2")
        await house.running(running)
        orphan = await uploads.begin(house.services)
        await orphan.finish()
        (house.ipc_root / "worker" / "gone.1").mkdir(parents=True)
        path = Path(house.stores.blobs.path(orphan.execution_id))
        assert await sweep_files(house.crew.kit) == 1, "the blob is too young"
        an_hour_ago = time.time() - 3600
        for each in path.parent.iterdir():
            os.utime(each, (an_hour_ago, an_hour_ago))
        await Reaper(house.crew.kit).round()
        assert not path.exists()
        assert blob_of(house, running).exists()
        assert blob_of(house, waiting).exists()
        assert len(list(house.ipc_root.glob("*/*"))) == 1


async def test_purged_and_deleted_messages_take_their_files_along() -> None:
    async with a_house(an_engine(Act(until_stopped=True))) as house:
        actor = await house.register(stateless=False)
        first = await upload(house, actor, b"1")
        await house.running(first)
        second = await upload(house, actor, b"2")
        assert blob_of(house, second).exists()
        await messages.purge(house.services, actor)
        assert not blob_of(house, second).exists()
        assert blob_of(house, first).exists()


async def test_what_the_store_refuses_leaves_no_file() -> None:
    async with a_house() as house:
        actor = await house.register()
        await house.stores.actors.delete(actor.key)
        incoming = await uploads.begin(house.services)
        blob = await incoming.finish()
        post = messages.Post(
            body="", content_type="application/octet-stream", environment={},
            execution_id=incoming.execution_id, blob=blob,
        )  # fmt: skip
        with pytest.raises(NotFoundError, match="no actor"):
            await messages.post(house.services, CALLER, actor, post)
        assert not Path(house.stores.blobs.path(incoming.execution_id)).exists()


async def test_a_message_that_may_have_been_stored_keeps_its_file() -> None:
    fault = Fault("submit", When.AFTER, store_away)
    async with a_house(
        an_engine(Act(until_stopped=True)), wrap_stores=faulty_stores(fault)
    ) as house:
        actor = await house.register()
        with pytest.raises(StoreUnavailableError):
            await upload(house, actor, b"x")
        (execution,) = await house.stores.executions.list_executions(actor.key)
        assert blob_of(house, execution.key).exists()


def left_of(house: House, key: ExecutionKey) -> tuple[str, Path]:
    """The container of an execution, and the directory where it may leave results."""
    (container,) = house.engine.of_execution(key.id)
    (path,) = [
        bind.host_path
        for bind in container.context.binds
        if bind.container_path == "/_abaco_results.d"
    ]
    return container.id, Path(path)


async def test_left_files_become_results_behind_what_was_sent() -> None:
    engine = an_engine(Act(results=[b"sent"], until_stopped=True))
    settings = with_runtime(large_results=True, max_large_result=1_000_000)
    async with a_house(engine, settings) as house:
        key = await house.post(await house.register())
        await house.running(key)
        container, left = left_of(house, key)
        (left / "2").write_bytes(b"b" * 1_000_000)
        (left / "1").write_bytes(b"a" * 500_000)
        (left / "3").write_bytes(b"c" * 1_000_001)
        (left / "4").symlink_to("/etc/passwd")
        house.engine.finish(container)
        done = await house.final(key)
        expected = [b"sent", b"a" * 500_000, b"b" * 1_000_000]
        assert [each async for each in results_of(house, key)] == expected
        assert done.outcome is not None
        assert done.outcome.final_state is not None
        assert done.outcome.final_state["AbacoResultsRefused"] == 2
        log = (await house.log(key)).decode()
        assert "file '3': it has 1000001 bytes, the limit is 1000000" in log
        assert "file '4'" in log
        assert "root:" not in log
        await no_files(house)


async def test_left_files_survive_the_server_and_come_once() -> None:
    engine = an_engine(Act(results=[b"sent"], until_stopped=True))
    fault = Fault("finalize", When.BEFORE, store_away, times=2)
    async with a_house(
        engine, with_runtime(large_results=True), wrap_stores=faulty_stores(fault)
    ) as house:
        key = await house.post(await house.register())
        await house.running(key)
        await house.crash()
        container, left = left_of(house, key)
        (left / "file").write_bytes(b"left")
        (left / "link").symlink_to("file")
        house.engine.finish(container)
        await house.start()

        async def is_pushed() -> bool:
            return fault.struck > 0

        await house.until(is_pushed)
        await house.crash()  # after the push, before the outcome is written
        await house.start()
        done = await house.final(key)
        assert [each async for each in results_of(house, key)] == [b"sent", b"left"]
        assert (await house.log(key)).decode().count("results refused") == 1
        assert done.outcome is not None
        assert done.outcome.final_state is not None
        assert done.outcome.final_state["AbacoResultsRefused"] == 1
        await no_files(house)


async def test_left_files_have_a_limit_together() -> None:
    engine = an_engine(Act(until_stopped=True))
    settings = with_runtime(large_results=True, max_large_result=500, max_large_results=1000)
    async with a_house(engine, settings) as house:
        key = await house.post(await house.register())
        await house.running(key)
        container, left = left_of(house, key)
        for name, size in {"a": 500, "b": 499, "c": 2, "d": 1, "e": 1}.items():
            (left / name).write_bytes(name.encode() * size)
        house.engine.finish(container)
        await house.final(key)
        expected = [b"a" * 500, b"b" * 499, b"d"]
        assert [each async for each in results_of(house, key)] == expected
        log = (await house.log(key)).decode()
        assert "file 'c': it has 2 bytes, the limit is 1\n" in log
        assert "file 'e': it has 1 bytes, the limit is 0\n" in log


async def test_one_large_result_is_in_memory_at_a_time() -> None:
    engine = an_engine(Act(until_stopped=True))
    async with a_house(engine, with_runtime(large_results=True)) as house:
        key = await house.post(await house.register())
        await house.running(key)
        container, left = left_of(house, key)
        (left / "file").write_bytes(b"left")
        async with house.crew.kit.large_results:
            house.engine.finish(container)
            await asyncio.sleep(0.3)
            assert (await house.stores.executions.get(key)).status is ExecutionStatus.RUNNING
            assert await house.stores.results.pop(key, house.services.clock.now()) is None
        await house.final(key)
        assert [each async for each in results_of(house, key)] == [b"left"]


async def test_what_is_collected_twice_counts_once(tmp_path: Path) -> None:
    # files of its own: the house's are swept
    async with a_house(an_engine()) as house, open_ipc(tmp_path) as host:
        actor = await house.register()
        place = Place("w1", "e1.1")
        ipc = await host.open(place, max_result_bytes=9, delivery=None, takes_files=True)
        left = Path(ipc.binds[1].host_path)
        ipc.detach()
        (left / "a").write_bytes(b"left")
        (left / "link").symlink_to("a")
        execution = an_execution(actor, id=ExecutionId("e1"), worker_id=WorkerId("w1"), attempt=1)
        exchange = Exchange(replace(house.crew.kit, ipc=host), execution, None)
        for _ in range(2):  # as after an engine that was away in between
            await exchange.collect()
        assert exchange.report() == {"AbacoResultsLost": True, "AbacoResultsRefused": 1}
        assert exchange.note().count("link") == 1
        await exchange.close()
        assert [each async for each in results_of(house, execution.key)] == [b"left"]


async def test_more_files_than_anybody_wants() -> None:
    engine = an_engine(Act(until_stopped=True))
    async with a_house(engine, with_runtime(large_results=True)) as house:
        key = await house.post(await house.register())
        await house.running(key)
        container, left = left_of(house, key)
        for number in range(1005):
            (left / f"{number:04}").write_bytes(b"%d" % number)
        house.engine.finish(container)
        done = await house.final(key)
        found = [each async for each in results_of(house, key)]
        assert found == [b"%d" % number for number in range(1000)]
        assert "1005 files were left, the limit is 1000" in (await house.log(key)).decode()
        assert done.outcome is not None
        assert done.outcome.final_state is not None
        assert done.outcome.final_state["AbacoResultsRefused"] == 5


async def test_without_the_option_there_is_no_directory() -> None:
    async with a_house(an_engine(Act(until_stopped=True))) as house:
        key = await house.post(await house.register())
        await house.running(key)
        (container,) = house.engine.of_execution(key.id)
        paths = {bind.container_path for bind in container.context.binds}
        assert paths == {"/_abaco_results.sock"}


async def test_refusals_beyond_the_first_are_counted_only() -> None:
    act = Act(results=[b"x" * 2000] * 50)
    async with a_house(an_engine(act), with_runtime(max_result_size=1000)) as house:
        key = await house.post(await house.register())
        await house.final(key)
        log = (await house.log(key)).decode()
        assert "results refused: 50" in log
        assert log.count("it has 2000 bytes") == 10
        assert log.endswith("...\n")
