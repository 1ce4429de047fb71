from __future__ import annotations

from dataclasses import replace

import pytest

from abaco.domain.actor import ActorStatus
from abaco.domain.worker import VIABLE, WorkerStatus
from abaco.errors import ConflictError, NotFoundError
from abaco.ports.store import Stores
from tests.support.records import NOON, a_worker, an_actor, an_outcome, at, worker_key
from tests.support.stores import add_worker, insert_actor, leased_run, submit

ANY_STATUS = frozenset(WorkerStatus)


async def test_a_worker_comes_back_as_it_was_requested(stores: Stores) -> None:
    actor = await insert_actor(stores)
    worker = a_worker(
        actor,
        status=WorkerStatus.ERROR,
        previous_status=WorkerStatus.SPAWNER_SETUP,
        container_id="c",
        last_execution_time=at(1),
        last_health_check_time=at(2),
    )
    assert await stores.workers.request(worker, limit=1)
    assert await stores.workers.get(worker.key) == worker
    bare = a_worker(actor)
    assert await stores.workers.request(bare, limit=1)
    assert await stores.workers.get(bare.key) == bare


@pytest.mark.parametrize("status", WorkerStatus)
async def test_viable_workers_fill_the_pool(stores: Stores, status: WorkerStatus) -> None:
    actor = await insert_actor(stores)
    await add_worker(stores, actor, status)
    await add_worker(stores, await insert_actor(stores))
    assert await stores.workers.request(a_worker(actor), limit=1) is (status not in VIABLE)


async def test_a_pool_of_none_takes_nobody(stores: Stores) -> None:
    actor = await insert_actor(stores)
    assert not await stores.workers.request(a_worker(actor), limit=0)
    assert await stores.workers.list_workers() == []


@pytest.mark.parametrize(
    ("status", "is_taken"),
    [
        (ActorStatus.SUBMITTED, True),
        (ActorStatus.READY, True),
        (ActorStatus.ERROR, False),
        (ActorStatus.SHUTTING_DOWN, False),
    ],
)
async def test_only_a_runnable_actor_gets_workers(
    stores: Stores, status: ActorStatus, is_taken: bool
) -> None:
    actor = await insert_actor(stores, status=status)
    assert await stores.workers.request(a_worker(actor), limit=1) is is_taken


async def test_neither_an_absent_actor_nor_another_revision_gets_workers(stores: Stores) -> None:
    assert not await stores.workers.request(a_worker(an_actor()), limit=1)
    actor = await insert_actor(stores, revision=2)
    assert not await stores.workers.request(a_worker(actor, revision=1), limit=1)
    assert await stores.workers.request(a_worker(actor, revision=2), limit=1)


async def test_a_worker_id_is_given_once(stores: Stores) -> None:
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    with pytest.raises(ConflictError, match=worker.id):
        await stores.workers.request(replace(worker, host_id="9"), limit=9)
    assert await stores.workers.get(worker.key) == worker


async def test_workers_are_listed_oldest_first(stores: Stores) -> None:
    one, two = await insert_actor(stores), await insert_actor(stores)
    workers = [
        await add_worker(stores, actor, create_time=at(time))
        for actor, time in ((one, 3), (two, 1), (one, 1), (one, 2), (two, 1))
    ]
    expected = sorted(workers, key=lambda worker: (worker.create_time, worker.id))
    assert await stores.workers.list_workers() == expected
    assert await stores.workers.list_workers(one.key) == [
        worker for worker in expected if worker.actor_id == one.id
    ]
    assert await stores.workers.list_workers(an_actor().key) == []


async def test_status_is_compared_before_it_is_set(stores: Stores) -> None:
    worker = await add_worker(stores, await insert_actor(stores), WorkerStatus.REQUESTED)
    set_status = stores.workers.set_status
    assert not await set_status(worker.key, WorkerStatus.READY, expect=[WorkerStatus.BUSY])
    assert await stores.workers.get(worker.key) == worker
    assert await set_status(worker.key, WorkerStatus.SPAWNER_SETUP, expect=[WorkerStatus.REQUESTED])
    assert await stores.workers.get(worker.key) == replace(
        worker, status=WorkerStatus.SPAWNER_SETUP
    )


async def test_an_error_remembers_the_status_before(stores: Stores) -> None:
    worker = await add_worker(stores, await insert_actor(stores), WorkerStatus.PULLING_IMAGE)
    assert await stores.workers.set_status(worker.key, WorkerStatus.ERROR, expect=ANY_STATUS)
    stored = await stores.workers.get(worker.key)
    assert stored.previous_status is WorkerStatus.PULLING_IMAGE
    await stores.workers.set_status(worker.key, WorkerStatus.SHUTDOWN_REQUESTED, expect=ANY_STATUS)
    stored = await stores.workers.get(worker.key)
    assert stored.previous_status is WorkerStatus.PULLING_IMAGE


async def test_a_write_to_an_absent_worker_creates_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores)
    key = worker_key(actor.key, "ghost")
    calls = (
        stores.workers.get(key),
        stores.workers.set_status(key, WorkerStatus.READY, expect=ANY_STATUS),
        stores.workers.retire_idle(key, revocable=True),
    )
    for call in calls:
        with pytest.raises(NotFoundError, match="ghost"):
            await call
    assert await stores.workers.leave(key)
    await stores.workers.touch([key], NOON)
    await stores.workers.delete(key)
    assert await stores.workers.list_workers() == []


@pytest.mark.parametrize("revocable", [True, False])
async def test_an_idle_worker_retires(stores: Stores, revocable: bool) -> None:
    worker = await add_worker(stores, await insert_actor(stores))
    assert await stores.workers.retire_idle(worker.key, revocable=revocable)
    assert await stores.workers.get(worker.key) == replace(
        worker, status=WorkerStatus.SHUTDOWN_REQUESTED, is_retiring=revocable
    )
    assert not await stores.workers.retire_idle(worker.key, revocable=True)


async def test_a_worker_does_not_retire_while_messages_wait(stores: Stores) -> None:
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    await submit(stores, actor)
    assert not await stores.workers.retire_idle(worker.key, revocable=True)
    assert (await stores.workers.get(worker.key)).status is WorkerStatus.READY


async def test_a_busy_worker_does_not_retire_an_idle_one_beside_it_does(stores: Stores) -> None:
    actor, worker, taken = await leased_run(stores)
    idle = await add_worker(stores, actor)
    assert not await stores.workers.retire_idle(worker.key, revocable=True)
    assert await stores.workers.retire_idle(idle.key, revocable=True)
    await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
    assert await stores.workers.retire_idle(worker.key, revocable=True)


async def test_touch_stamps_those_that_are_there(stores: Stores) -> None:
    actor = await insert_actor(stores)
    one, two, three = [await add_worker(stores, actor) for _ in range(3)]
    await stores.workers.touch([one.key, worker_key(actor.key, "ghost"), two.key], at(5))
    assert (await stores.workers.get(one.key)).last_health_check_time == at(5)
    assert (await stores.workers.get(two.key)).last_health_check_time == at(5)
    assert await stores.workers.get(three.key) == three
    await stores.workers.touch([], at(6))


async def test_delete_removes_one_record_and_is_idempotent(stores: Stores) -> None:
    actor = await insert_actor(stores)
    one, two = [await add_worker(stores, actor) for _ in range(2)]
    await stores.workers.delete(one.key)
    await stores.workers.delete(one.key)
    assert await stores.workers.list_workers() == [two]
    assert await stores.workers.request(one, limit=2)
