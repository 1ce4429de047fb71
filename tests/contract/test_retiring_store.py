"""Workers that retire because they were idle, and messages that call them back."""

from __future__ import annotations

import asyncio

import pytest

from abaco.domain.actor import ActorStatus
from abaco.domain.worker import VIABLE, Worker, WorkerStatus
from abaco.errors import NotFoundError
from abaco.ports.store import Claim, Refusal, Stores
from tests.support.records import NOON, a_worker, an_error_outcome
from tests.support.stores import add_worker, insert_actor, submit

ROUNDS = range(12)


async def retiring_worker(stores: Stores) -> Worker:
    worker = await add_worker(stores, await insert_actor(stores))
    assert await stores.workers.retire_idle(worker.key, revocable=True)
    return await stores.workers.get(worker.key)


async def is_there(stores: Stores, worker: Worker) -> bool:
    return worker.key in {one.key for one in await stores.workers.list_workers()}


async def test_without_a_message_it_leaves(stores: Stores) -> None:
    worker = await retiring_worker(stores)
    assert await stores.workers.leave(worker.key)
    assert not await is_there(stores, worker)
    assert await stores.workers.leave(worker.key), "asked again, because the answer was lost"


async def test_a_message_calls_it_back(stores: Stores) -> None:
    worker = await retiring_worker(stores)
    await submit(stores, await stores.actors.get(worker.key.actor))
    assert not await stores.workers.leave(worker.key)
    present = await stores.workers.get(worker.key)
    assert (present.status, present.is_retiring) == (WorkerStatus.READY, False)
    assert not await stores.workers.leave(worker.key), "asked again, because the answer was lost"
    assert isinstance(await stores.mailbox.claim(worker.key, 1, NOON), Claim)


async def test_it_takes_no_message_before_it_is_called_back(stores: Stores) -> None:
    worker = await retiring_worker(stores)
    await submit(stores, await stores.actors.get(worker.key.actor))
    assert await stores.mailbox.claim(worker.key, 1, NOON) is Refusal.NOT_READY


async def test_a_message_that_is_gone_again_calls_nobody(stores: Stores) -> None:
    worker = await retiring_worker(stores)
    await submit(stores, await stores.actors.get(worker.key.actor))
    await stores.mailbox.purge(worker.key.actor, an_error_outcome("purged"))
    assert await stores.workers.leave(worker.key)


async def test_who_makes_room_for_others_is_not_called_back(stores: Stores) -> None:
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    assert await stores.workers.retire_idle(worker.key, revocable=False)
    await submit(stores, actor)
    assert await stores.workers.leave(worker.key)


async def test_who_was_sent_away_meanwhile_is_not_called_back(stores: Stores) -> None:
    worker = await retiring_worker(stores)
    assert await stores.workers.set_status(
        worker.key, WorkerStatus.SHUTDOWN_REQUESTED, expect={WorkerStatus.SHUTDOWN_REQUESTED}
    )
    assert not (await stores.workers.get(worker.key)).is_retiring
    await submit(stores, await stores.actors.get(worker.key.actor))
    assert await stores.workers.leave(worker.key)


async def test_a_stale_worker_is_not_called_back(stores: Stores) -> None:
    worker = await retiring_worker(stores)
    actor = await stores.actors.get(worker.key.actor)
    await submit(stores, actor)
    await stores.actors.update(actor.key, actor.definition, new_revision=True, now=NOON)
    assert await stores.workers.leave(worker.key)


@pytest.mark.parametrize("status", ActorStatus)
async def test_only_a_runnable_actor_calls_back(stores: Stores, status: ActorStatus) -> None:
    worker = await retiring_worker(stores)
    await submit(stores, await stores.actors.get(worker.key.actor))
    await stores.actors.set_status(worker.key.actor, status, "", expect=set(ActorStatus))
    is_runnable = status in {ActorStatus.SUBMITTED, ActorStatus.READY}
    assert await stores.workers.leave(worker.key) is not is_runnable
    assert await is_there(stores, worker) is is_runnable


async def test_a_deleted_actor_takes_it_along(stores: Stores) -> None:
    worker = await retiring_worker(stores)
    await stores.actors.delete(worker.key.actor)
    assert await stores.workers.leave(worker.key)
    with pytest.raises(NotFoundError):
        await stores.workers.get(worker.key)


async def test_it_keeps_its_place_in_the_pool_while_it_may_come_back(stores: Stores) -> None:
    worker = await retiring_worker(stores)
    actor = await stores.actors.get(worker.key.actor)
    assert not await stores.workers.request(a_worker(actor), limit=1)
    assert await stores.workers.leave(worker.key)
    assert await stores.workers.request(a_worker(actor), limit=1)


async def test_who_cannot_come_back_keeps_no_place(stores: Stores) -> None:
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    assert await stores.workers.retire_idle(worker.key, revocable=False)
    assert await stores.workers.request(a_worker(actor), limit=1)


@pytest.mark.parametrize("status", sorted(set(WorkerStatus) - {WorkerStatus.READY}))
async def test_leaving_deletes_whoever_is_not_ready(stores: Stores, status: WorkerStatus) -> None:
    worker = await add_worker(stores, await insert_actor(stores), status)
    assert await stores.workers.leave(worker.key)
    assert not await is_there(stores, worker)


@pytest.mark.parametrize("submit_first", [True, False])
async def test_a_message_and_the_last_step_of_a_worker(stores: Stores, submit_first: bool) -> None:
    """Either the message finds the worker still there, or the pool is free for a new one."""
    for _ in ROUNDS:
        worker = await retiring_worker(stores)
        actor = await stores.actors.get(worker.key.actor)
        sending, leaving = submit(stores, actor), stores.workers.leave(worker.key)
        if submit_first:
            _, is_gone = await asyncio.gather(sending, leaving)
        else:
            is_gone, _ = await asyncio.gather(leaving, sending)
        assert await is_there(stores, worker) is not is_gone
        may_ask = await stores.workers.request(a_worker(actor), limit=1)
        assert may_ask is is_gone
        if not is_gone:
            assert isinstance(await stores.mailbox.claim(worker.key, 1, NOON), Claim)


@pytest.mark.parametrize("drain_first", [True, False])
async def test_an_order_to_go_and_a_call_back(stores: Stores, drain_first: bool) -> None:
    """Whichever comes first, the order holds."""
    for _ in ROUNDS:
        worker = await retiring_worker(stores)
        await submit(stores, await stores.actors.get(worker.key.actor))
        expect = VIABLE | {WorkerStatus.SHUTDOWN_REQUESTED}
        ordering = stores.workers.set_status(
            worker.key, WorkerStatus.SHUTDOWN_REQUESTED, expect=expect
        )
        leaving = stores.workers.leave(worker.key)
        calls = [ordering, leaving] if drain_first else [leaving, ordering]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        ordered, is_gone = answers if drain_first else reversed(answers)
        if is_gone is True:
            assert ordered is True or isinstance(ordered, NotFoundError)
        else:
            assert ordered is True
            present = await stores.workers.get(worker.key)
            assert present.status is WorkerStatus.SHUTDOWN_REQUESTED
            assert await stores.workers.leave(worker.key)


async def test_many_retire_and_many_messages_come(stores: Stores) -> None:
    """However they interleave, every message left over can be taken by a worker left over."""
    for count in (1, 3):
        actor = await insert_actor(stores)
        workers = [await add_worker(stores, actor) for _ in range(4)]

        async def go(worker: Worker) -> bool:
            if await stores.workers.retire_idle(worker.key, revocable=True):
                return await stores.workers.leave(worker.key)
            return False

        gone, _ = await asyncio.gather(
            asyncio.gather(*(go(worker) for worker in workers)), submit(stores, actor, count)
        )
        left = await stores.workers.list_workers(actor.key)
        assert len(left) == gone.count(False)
        assert all(worker.status is WorkerStatus.READY for worker in left)
