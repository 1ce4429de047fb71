"""Numbers about the whole instance: every sentence of the contract.

That they agree with the records is checked after every test of a store, see ``check_usage``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from abaco.domain.execution import ExecutionTotals
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.usage import DayUsage, Totals, Usage, backlog, by_status
from abaco.domain.worker import WorkerStatus
from abaco.errors import ConflictError
from abaco.ports.store import Stores
from tests.support.records import NOON, a_worker, an_actor, an_error_outcome, an_outcome, at
from tests.support.stores import (
    add_worker,
    check_usage,
    claim,
    insert_actor,
    leased_run,
    submit,
)

ONE_RUN = ExecutionTotals(count=1, cpu_ns=5_000_000, io_bytes=1_024, runtime_s=1)


class TestTotals:
    async def test_of_an_empty_store(self, stores: Stores) -> None:
        assert await stores.usage.totals() == Usage()
        assert await stores.usage.list_days(limit=9) == []
        assert dict(await stores.usage.count_workers()) == {}
        assert dict(await stores.usage.deepest(9)) == {}
        assert dict(await stores.usage.deepest_tenants(9)) == {}
        assert await stores.usage.list_actors() == []
        assert await stores.usage.list_workers() == []

    async def test_a_run_counts_in_both(self, stores: Stores) -> None:
        _, _, taken = await leased_run(stores)
        await insert_actor(stores)
        await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
        both = Totals(actors=2, used_actors=1, executions=ONE_RUN)
        assert await stores.usage.totals() == Usage(ever=both, existing=both)

    async def test_a_deleted_actor_stays_in_what_ever_was(self, stores: Stores) -> None:
        actor, _, taken = await leased_run(stores)
        await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
        await stores.actors.delete(actor.key)
        await stores.actors.delete(actor.key)
        usage = await stores.usage.totals()
        assert usage.ever == Totals(actors=1, used_actors=1, executions=ONE_RUN)
        assert usage.existing == Totals()

    async def test_a_run_that_ends_after_its_actor_counts_in_what_ever_was(
        self, stores: Stores
    ) -> None:
        actor, _, taken = await leased_run(stores)
        await stores.actors.delete(actor.key)
        await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
        usage = await stores.usage.totals()
        assert usage.ever.executions == ONE_RUN
        assert usage.existing == Totals()

    async def test_an_actor_that_comes_back_brings_its_past(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await submit(stores, actor, 2)
        await stores.actors.delete(actor.key)
        await stores.actors.insert(actor)
        usage = await stores.usage.totals()
        assert (usage.ever.actors, usage.existing.actors) == (2, 1)
        assert usage.existing.executions.count == usage.ever.executions.count == 2

    async def test_what_is_refused_counts_nowhere(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        with pytest.raises(ConflictError):
            await stores.actors.insert(actor)
        assert not await stores.workers.request(a_worker(actor), limit=0)
        assert (await stores.usage.totals()).ever.actors == 1
        (day,) = await stores.usage.list_days(limit=9)
        assert (day.actors, day.workers) == (1, 0)

    async def test_many_at_once_are_all_counted(self, stores: Stores) -> None:
        async def live(number: int) -> None:
            actor = await insert_actor(stores, tenant=Tenant(f"T{number % 3}"))
            await add_worker(stores, actor)
            await submit(stores, actor, 3)
            await stores.mailbox.purge(actor.key, an_error_outcome(cpu_ns=7))
            if number % 2:
                await stores.actors.delete(actor.key)

        await asyncio.gather(*(live(number) for number in range(20)))
        usage = await stores.usage.totals()
        assert (usage.ever.actors, usage.existing.actors) == (20, 10)
        assert usage.ever.executions == ExecutionTotals(count=60, cpu_ns=420)
        assert by_status(await stores.usage.count_workers()) == {WorkerStatus.READY: 10}


class TestDays:
    async def test_the_day_is_that_of_the_record_in_utc(self, stores: Stores) -> None:
        late = datetime(2024, 2, 29, 20, 0, tzinfo=timezone(timedelta(hours=-5)))
        actor = await insert_actor(stores, create_time=late)
        await add_worker(stores, actor)
        await submit(stores, actor, 2)
        assert await stores.usage.list_days(limit=9) == [
            DayUsage(day=date(2024, 3, 1), actors=1),
            DayUsage(day=date(2024, 2, 29), workers=1, executions=2),
        ]

    async def test_the_latest_come_first_and_the_limit_holds(self, stores: Stores) -> None:
        times = [datetime(2023, 12, 31, tzinfo=UTC) + timedelta(days=n) for n in (2, 0, 1)]
        for time in times:
            await insert_actor(stores, create_time=time)
        days = await stores.usage.list_days(limit=2)
        assert [each.day for each in days] == [date(2024, 1, 2), date(2024, 1, 1)]

    async def test_a_delete_takes_nothing_away(self, stores: Stores) -> None:
        actor, _, _ = await leased_run(stores)
        before = await stores.usage.list_days(limit=9)
        await stores.actors.delete(actor.key)
        assert await stores.usage.list_days(limit=9) == before
        assert before == [DayUsage(day=NOON.date(), actors=1, workers=1, executions=1)]


class TestWorkers:
    async def test_every_way_a_status_changes_is_counted(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        worker = await add_worker(stores, actor, WorkerStatus.REQUESTED)
        await submit(stores, actor)
        seen = []

        async def look() -> None:
            seen.append(by_status(await stores.usage.count_workers()))
            await check_usage(stores)

        await look()
        await stores.workers.set_status(worker.key, WorkerStatus.READY, expect=set(WorkerStatus))
        await look()
        run = (await claim(stores, worker)).execution
        await look()
        await stores.mailbox.finalize(run.key, 1, an_outcome(), now=NOON)
        await stores.workers.retire_idle(worker.key, revocable=False)
        await look()
        await stores.workers.delete(worker.key)
        await look()
        assert seen == [
            {WorkerStatus.REQUESTED: 1},
            {WorkerStatus.READY: 1},
            {WorkerStatus.BUSY: 1},
            {WorkerStatus.SHUTDOWN_REQUESTED: 1},
            {},
        ]

    async def test_those_of_a_deleted_actor_leave_the_count(self, stores: Stores) -> None:
        actor, other = await insert_actor(stores), await insert_actor(stores)
        for each in (actor, actor, other):
            await add_worker(stores, each)
        await stores.actors.delete(actor.key)
        assert by_status(await stores.usage.count_workers()) == {WorkerStatus.READY: 1}

    async def test_pages_go_through_all_oldest_first(self, stores: Stores) -> None:
        actors = [await insert_actor(stores) for _ in range(2)]
        made = [await add_worker(stores, actors[n % 2], create_time=at(-n)) for n in range(5)]
        first = await stores.usage.list_workers(limit=2)
        second = await stores.usage.list_workers(after=first[-1], limit=2)
        third = await stores.usage.list_workers(after=second[-1], limit=2)
        assert [*first, *second, *third] == made[::-1]

    async def test_workers_of_one_moment_are_each_on_one_page(self, stores: Stores) -> None:
        made = [await add_worker(stores, await insert_actor(stores)) for _ in range(5)]
        found = await stores.usage.list_workers(limit=1)
        while page := await stores.usage.list_workers(after=found[-1], limit=1):
            found += page
        assert {each.key for each in found} == {each.key for each in made}
        assert len(found) == 5

    async def test_queues_are_counted_apart(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        for queue in ("default", "big", "big"):
            await add_worker(stores, actor, WorkerStatus.REQUESTED, queue=queue)
        await add_worker(stores, actor, queue="big")
        counts = await stores.usage.count_workers()
        assert (backlog(counts), backlog(counts, "big"), backlog(counts, "x")) == (1, 2, 0)
        assert by_status(counts) == {WorkerStatus.REQUESTED: 3, WorkerStatus.READY: 1}
        found = await stores.workers.list_workers(actor.key)
        assert Counter(each.queue for each in found) == {"big": 3, "default": 1}


class TestDeepest:
    async def test_the_longest_come_first_and_the_limit_holds(self, stores: Stores) -> None:
        actors = {}
        for name, tenant, count in (("a", "X", 1), ("b", "Y", 3), ("c", "X", 1), ("d", "X", 0)):
            actors[name] = await insert_actor(stores, id=ActorId(name), tenant=Tenant(tenant))
            await submit(stores, actors[name], count)
        found = await stores.usage.deepest(2)
        assert list(found.items()) == [(actors["b"].key, 3), (actors["a"].key, 1)]
        assert len(await stores.usage.deepest(9)) == 3
        tenants = await stores.usage.deepest_tenants(9)
        assert list(tenants.items()) == [(Tenant("Y"), 3), (Tenant("X"), 2)]
        assert list(await stores.usage.deepest_tenants(1)) == [Tenant("Y")]

    async def test_what_is_leased_or_purged_waits_no_more(self, stores: Stores) -> None:
        actor, _, taken = await leased_run(stores)
        assert dict(await stores.usage.deepest(9)) == {}
        await stores.mailbox.release(taken.execution.key, 1, lost=False)
        assert dict(await stores.usage.deepest(9)) == {actor.key: 1}
        await stores.mailbox.purge(actor.key, an_error_outcome())
        assert dict(await stores.usage.deepest_tenants(9)) == {}


class TestReports:
    async def test_an_actor_with_all_that_is_its_own(self, stores: Stores) -> None:
        actor, worker, taken = await leased_run(
            stores, hints=("a",), default_environment={"PASSWORD": "x"}, state={"secret": 1}
        )
        await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
        later = await add_worker(stores, actor, create_time=at(1))
        await submit(stores, actor, 2)
        (report,) = await stores.usage.list_actors()
        assert report.actor.definition.default_environment == {}
        assert report.actor.state is None
        assert report.actor.definition.hints == ("a",)
        assert [each.id for each in report.workers] == [worker.id, later.id]
        assert report.queued == 2
        assert report.totals == await stores.executions.totals(actor.key)
        assert report.totals.count == 3

    async def test_everything_else_is_as_stored(self, stores: Stores) -> None:
        actor = an_actor(name="n", max_cpus=7, state=None)
        await stores.actors.insert(actor)
        (report,) = await stores.usage.list_actors()
        assert report.actor == actor
        assert (report.workers, report.queued, report.totals) == ((), 0, ExecutionTotals())

    async def test_pages_go_through_the_actors_of_all_tenants(self, stores: Stores) -> None:
        made = [
            await insert_actor(stores, tenant=Tenant(f"T{n % 2}"), create_time=at(-(n // 2)))
            for n in range(6)
        ]
        found = await stores.usage.list_actors(limit=4)
        found += await stores.usage.list_actors(after=found[-1].actor, limit=4)
        expected = await stores.actors.list_actors()
        assert [each.actor.key for each in found] == [each.key for each in expected]
        assert len(found) == len(made)
