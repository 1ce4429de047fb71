from __future__ import annotations

from dataclasses import replace

import pytest

from abaco.domain.execution import ExecutionTotals, HaltReason
from abaco.errors import ConflictError, NotFoundError
from abaco.ports.store import Counters, Stores
from tests.support.records import (
    NOON,
    a_message,
    an_actor,
    an_error_outcome,
    an_execution,
    an_outcome,
    at,
)
from tests.support.stores import add_worker, claim, enqueue, insert_actor, leased_run, submit


async def test_an_unknown_execution_is_not_found(stores: Stores) -> None:
    actor = await insert_actor(stores)
    (execution,) = await submit(stores, actor)
    other = await insert_actor(stores)
    stranger = replace(execution, actor_id=other.id)
    for key in (an_execution(actor).key, stranger.key):
        with pytest.raises(NotFoundError, match=key.id):
            await stores.executions.get(key)


async def test_executions_are_paged_by_time_then_id(stores: Stores) -> None:
    actor = await insert_actor(stores)
    executions = [an_execution(actor, message_received_time=at(n)) for n in (5, 1, 1, 9, 1, 0)]
    for execution in executions:
        await enqueue(stores, execution, a_message(execution))
    await submit(stores, await insert_actor(stores), 2)
    expected = sorted(executions, key=lambda each: (each.message_received_time, each.id))
    pages, after = [], None
    while page := await stores.executions.list_executions(actor.key, after=after, limit=4):
        assert len(page) <= 4
        pages += page
        after = page[-1]
    assert pages == expected
    assert await stores.executions.list_executions(actor.key) == expected


async def test_an_actor_without_executions_has_an_empty_list(stores: Stores) -> None:
    actor = await insert_actor(stores)
    assert await stores.executions.list_executions(actor.key) == []
    assert await stores.executions.totals(actor.key) == ExecutionTotals()
    assert await stores.executions.totals(an_actor().key) == ExecutionTotals()


async def test_totals_grow_with_each_end(stores: Stores) -> None:
    actor = await insert_actor(stores)
    await submit(stores, actor, 3)
    worker = await add_worker(stores, actor)
    for runtime_ms in (600, 900):
        taken = await claim(stores, worker)
        outcome = an_outcome(cpu_ns=10, io_bytes=3, runtime_ms=runtime_ms)
        await stores.mailbox.finalize(taken.execution.key, 1, outcome, now=NOON)
    assert await stores.executions.totals(actor.key) == ExecutionTotals(
        count=3, cpu_ns=20, io_bytes=6, runtime_s=1
    )


async def test_a_running_execution_is_halted_once(stores: Stores) -> None:
    _, _, taken = await leased_run(stores)
    key = taken.execution.key
    await stores.mailbox.mark_running(key, 1, "c", NOON)
    first = await stores.executions.request_halt(key, HaltReason.FORCE_QUIT)
    assert first.halt_requested is HaltReason.FORCE_QUIT
    second = await stores.executions.request_halt(key, HaltReason.TIMEOUT)
    assert second == first == await stores.executions.get(key)


async def test_only_a_running_execution_is_halted(stores: Stores) -> None:
    _, _, taken = await leased_run(stores)
    key = taken.execution.key
    with pytest.raises(ConflictError, match="SUBMITTED"):
        await stores.executions.request_halt(key, HaltReason.FORCE_QUIT)
    await stores.mailbox.finalize(key, 1, an_error_outcome(), now=NOON)
    with pytest.raises(ConflictError, match="ERROR"):
        await stores.executions.request_halt(key, HaltReason.FORCE_QUIT)
    with pytest.raises(NotFoundError):
        await stores.executions.request_halt(an_execution(taken.actor).key, HaltReason.FORCE_QUIT)
    assert (await stores.executions.get(key)).halt_requested is None


async def test_leased_executions_of_all_actors_are_listed(stores: Stores) -> None:
    runs = [(await leased_run(stores))[2].execution for _ in range(3)]
    await submit(stores, await insert_actor(stores))
    await stores.mailbox.mark_running(runs[0].key, 1, "c", NOON)
    await stores.mailbox.release(runs[1].key, 1, lost=False)
    listed = {each.key: each for each in await stores.executions.list_leased()}
    assert set(listed) == {runs[0].key, runs[2].key}
    assert listed[runs[0].key] == await stores.executions.get(runs[0].key)
    for run in runs:
        await stores.mailbox.finalize(run.key, 1, an_outcome(), now=NOON)
    assert await stores.executions.list_leased() == []


async def test_counters_follow_every_step(stores: Stores) -> None:
    async def counters() -> tuple[int, int, int, int]:
        now = await stores.executions.counters()
        return now.accepted, now.queued, now.leased, now.final

    assert await stores.executions.counters() == Counters(accepted=0, queued=0, leased=0, final=0)
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    await submit(stores, actor, 3)
    assert await counters() == (3, 3, 0, 0)
    taken = await claim(stores, worker)
    assert await counters() == (3, 2, 1, 0)
    await stores.mailbox.mark_running(taken.execution.key, 1, "c", NOON)
    assert await counters() == (3, 2, 1, 0)
    await stores.mailbox.release(taken.execution.key, 1, lost=True)
    assert await counters() == (3, 3, 0, 0)
    taken = await claim(stores, worker)
    await stores.mailbox.finalize(taken.execution.key, 2, an_outcome(), now=NOON)
    assert await counters() == (3, 2, 0, 1)
    await claim(stores, worker)
    await stores.mailbox.purge(actor.key, an_error_outcome())
    assert await counters() == (3, 0, 1, 2)
    await stores.actors.delete(actor.key)
    assert await counters() == (3, 0, 1, 2)
