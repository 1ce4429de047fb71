"""Calls at the same moment: whatever order they get, each promise of the ports holds."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.execution import FINAL, ExecutionStatus, HaltReason
from abaco.domain.worker import VIABLE, Worker, WorkerStatus
from abaco.errors import AbacoError, ConflictError, LimitExceededError, NotFoundError
from abaco.ports.store import Claim, Refusal, Stores
from tests.support.records import (
    NOON,
    a_message,
    a_worker,
    an_error_outcome,
    an_execution,
    an_outcome,
    at,
    execution_key,
    new_id,
)
from tests.support.stores import (
    add_worker,
    check_conservation,
    claim,
    enqueue,
    insert_actor,
    leased_run,
    submit,
)

ROUNDS = range(15)


async def _work_off(stores: Stores, worker_count: int, message_count: int) -> list[int]:
    """Let workers empty one mailbox together; the bodies in the order of their claims."""
    actor = await insert_actor(stores)
    await submit(stores, actor, message_count)
    order: list[int] = []

    async def work() -> None:
        worker = await add_worker(stores, actor)
        while True:
            taken = await stores.mailbox.claim(worker.key, 1, NOON)
            if not isinstance(taken, Claim):
                assert taken is Refusal.EMPTY
                return
            order.append(taken.message.body)
            key = taken.execution.key
            assert await stores.mailbox.mark_running(key, 1, "c", NOON)
            assert await stores.mailbox.finalize(key, 1, an_outcome(), now=NOON)

    await asyncio.gather(*(work() for _ in range(worker_count)))
    return order


async def test_many_claimers_take_each_message_once_and_in_order(stores: Stores) -> None:
    assert await _work_off(stores, 16, 120) == list(range(120))
    counters = await stores.executions.counters()
    assert (counters.final, counters.queued, counters.leased) == (120, 0, 0)


async def test_one_worker_gets_one_message_however_often_it_asks(stores: Stores) -> None:
    actor = await insert_actor(stores)
    await submit(stores, actor, 5)
    worker = await add_worker(stores, actor)
    answers = await asyncio.gather(*(stores.mailbox.claim(worker.key, 1, NOON) for _ in range(8)))
    assert len({claim.message.seq for claim in answers if isinstance(claim, Claim)}) == 1
    assert all(isinstance(claim, Claim) and claim.execution.attempt == 1 for claim in answers)
    assert await stores.mailbox.count(actor.key) == 4


async def test_a_claim_whose_answer_was_lost_is_given_again_even_to_a_drained_worker(
    stores: Stores,
) -> None:
    actor = await insert_actor(stores)
    await submit(stores, actor, 2)
    worker = await add_worker(stores, actor)
    first = await stores.mailbox.claim(worker.key, 1, NOON)
    await stores.workers.set_status(
        worker.key, WorkerStatus.SHUTDOWN_REQUESTED, expect={WorkerStatus.BUSY}
    )
    assert await stores.mailbox.claim(worker.key, 1, NOON) == first
    assert isinstance(first, Claim)
    await stores.mailbox.finalize(first.execution.key, 1, an_outcome(), now=NOON)
    assert await stores.mailbox.claim(worker.key, 1, NOON) is Refusal.NOT_READY


async def test_a_stateful_actor_never_runs_two(stores: Stores) -> None:
    actor = await insert_actor(stores, stateless=False)
    await submit(stores, actor, 3)
    workers = [await add_worker(stores, actor) for _ in range(6)]
    answers = await asyncio.gather(
        *(stores.mailbox.claim(worker.key, 1, NOON) for worker in workers)
    )
    assert sum(isinstance(answer, Claim) for answer in answers) == 1
    assert len(await stores.executions.list_leased()) == 1


async def test_submitters_and_claimers_at_once_lose_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores)
    workers = [await add_worker(stores, actor) for _ in range(4)]

    async def send() -> str:
        execution = an_execution(actor)
        await enqueue(stores, execution, a_message(execution))
        return execution.id

    async def take(index: int) -> list[str]:
        taken: list[str] = []
        for _ in range(10):
            answer = await stores.mailbox.claim(workers[index].key, 1, NOON)
            if isinstance(answer, Claim):
                taken.append(answer.execution.id)
                key = answer.execution.key
                assert await stores.mailbox.finalize(key, 1, an_outcome(), now=NOON)
        return taken

    sent, *taken = await asyncio.gather(
        asyncio.gather(*(send() for _ in range(40))), *(take(index) for index in range(4))
    )
    counts = Counter(each for one in taken for each in one)
    assert set(counts) <= set(sent)
    assert not counts or max(counts.values()) == 1
    assert await stores.mailbox.count(actor.key) == 40 - len(counts)
    assert (await stores.executions.totals(actor.key)).count == 40


async def test_one_of_many_finalizers_wins(stores: Stores) -> None:
    actor, _, taken = await leased_run(stores)
    key = taken.execution.key
    won = await asyncio.gather(
        *(
            stores.mailbox.finalize(key, 1, an_outcome(exit_code=code, cpu_ns=1), now=at(code))
            for code in range(10)
        )
    )
    assert won.count(True) == 1
    outcome = (await stores.executions.get(key)).outcome
    assert outcome is not None
    assert outcome.exit_code == won.index(True)
    assert (await stores.executions.totals(actor.key)).cpu_ns == 1


@pytest.mark.parametrize("late_first", [True, False])
async def test_finalize_release_and_a_late_attempt_settle_once(
    stores: Stores, late_first: bool
) -> None:
    for _ in ROUNDS:
        _, _, taken = await leased_run(stores)
        key = taken.execution.key
        calls = [
            stores.mailbox.finalize(key, 0, an_outcome(), now=NOON),
            stores.mailbox.finalize(key, 1, an_outcome(), now=NOON),
            stores.mailbox.release(key, 1, lost=True),
            stores.mailbox.mark_running(key, 2, "c", NOON),
        ]
        if late_first:
            calls.reverse()
        answers = await asyncio.gather(*calls)
        if late_first:
            answers.reverse()
        late, finalized, released, running_late = answers
        assert not late
        assert not running_late
        assert finalized != released
        execution = await stores.executions.get(key)
        assert (execution.status in FINAL) is finalized
        assert execution.losses == int(released)
        await check_conservation(stores)


async def test_a_pool_takes_no_more_workers_than_its_limit(stores: Stores) -> None:
    actor = await insert_actor(stores)
    answers = await asyncio.gather(
        *(stores.workers.request(a_worker(actor), limit=3) for _ in range(20))
    )
    assert answers.count(True) == 3
    assert len(await stores.workers.list_workers(actor.key)) == 3


async def test_workers_and_an_update_at_once_leave_no_unseen_stale_worker(
    stores: Stores,
) -> None:
    for _ in ROUNDS:
        actor = await insert_actor(stores)
        was_taken, updated = await asyncio.gather(
            stores.workers.request(a_worker(actor), limit=1),
            stores.actors.update(actor.key, actor.definition, new_revision=True, now=NOON),
        )
        assert updated.revision == 2
        assert len(await stores.workers.list_workers(actor.key)) == was_taken
        assert not await stores.workers.request(a_worker(actor), limit=2)


async def test_a_halt_and_the_end_of_its_run(stores: Stores) -> None:
    for _ in ROUNDS:
        _, _, taken = await leased_run(stores)
        key = taken.execution.key
        await stores.mailbox.mark_running(key, 1, "c", NOON)
        one, other, ended = await asyncio.gather(
            stores.executions.request_halt(key, HaltReason.FORCE_QUIT),
            stores.executions.request_halt(key, HaltReason.TIMEOUT),
            stores.mailbox.finalize(key, 1, an_outcome(), now=NOON),
            return_exceptions=True,
        )
        assert ended is True
        reason = (await stores.executions.get(key)).halt_requested
        for halt in (one, other):
            if isinstance(halt, BaseException):
                assert isinstance(halt, ConflictError)
            else:
                assert halt.halt_requested is reason


async def test_each_result_goes_to_one_reader(stores: Stores) -> None:
    _, _, taken = await leased_run(stores)
    key = taken.execution.key
    pushed = [str(n).encode() for n in range(30)]
    await stores.results.push(key, 0, pushed, expires_at=at(60))
    popped = await asyncio.gather(*(stores.results.pop(key, NOON) for _ in range(40)))
    assert [each for each in popped if each is not None] == pushed
    assert popped.count(None) == 10


async def test_appends_of_the_same_output_store_it_once(stores: Stores) -> None:
    actor = await insert_actor(stores)
    key = execution_key(actor.key, new_id())
    seen = await asyncio.gather(
        *(stores.logs.append(key, 0, b"abc", max_bytes=9, expires_at=None) for _ in range(8))
    )
    assert seen == [3] * 8
    assert (await stores.logs.read(key)).data == b"abc"


@pytest.mark.parametrize("claim_first", [True, False])
async def test_claim_against_the_end_of_the_actor(stores: Stores, claim_first: bool) -> None:
    for _ in ROUNDS:
        actor = await insert_actor(stores)
        await submit(stores, actor, 2)
        worker = await add_worker(stores, actor)
        claiming = stores.mailbox.claim(worker.key, 1, NOON)
        stopping = stores.actors.set_status(
            actor.key, ActorStatus.SHUTTING_DOWN, "", expect=frozenset(ActorStatus)
        )
        if claim_first:
            answer, stopped = await asyncio.gather(claiming, stopping)
        else:
            stopped, answer = await asyncio.gather(stopping, claiming)
        assert stopped
        if not isinstance(answer, Claim):
            assert answer is Refusal.ACTOR_STOPPED
        with pytest.raises(ConflictError):
            await submit(stores, actor)
        assert not await stores.workers.request(a_worker(actor), limit=9)


@pytest.mark.parametrize("claim_first", [True, False])
async def test_claim_against_a_new_revision(stores: Stores, claim_first: bool) -> None:
    for _ in ROUNDS:
        actor = await insert_actor(stores)
        await submit(stores, actor)
        worker = await add_worker(stores, actor)
        claiming = stores.mailbox.claim(worker.key, 1, NOON)
        updating = stores.actors.update(actor.key, actor.definition, new_revision=True, now=NOON)
        if claim_first:
            answer, updated = await asyncio.gather(claiming, updating)
        else:
            updated, answer = await asyncio.gather(updating, claiming)
        assert updated.revision == 2
        if isinstance(answer, Claim):
            assert answer.actor.revision == 1  # it was claimed before the update
        else:
            assert answer is Refusal.STALE
            assert await stores.mailbox.count(actor.key) == 1


async def test_purge_against_claims_ends_or_leases_each_message(stores: Stores) -> None:
    for _ in ROUNDS:
        actor = await insert_actor(stores)
        executions = await submit(stores, actor, 4)
        workers = [await add_worker(stores, actor) for _ in range(3)]
        answers, purged = await asyncio.gather(
            asyncio.gather(*(stores.mailbox.claim(worker.key, 1, NOON) for worker in workers)),
            stores.mailbox.purge(actor.key, an_error_outcome("purged")),
        )
        claimed = {each.execution.id for each in answers if isinstance(each, Claim)}
        assert claimed.isdisjoint(purged)
        assert claimed | set(purged) == {execution.id for execution in executions}
        assert await stores.mailbox.count(actor.key) == 0
        await check_conservation(stores)


@pytest.mark.parametrize("submit_first", [True, False])
async def test_a_worker_retires_or_serves_never_neither(stores: Stores, submit_first: bool) -> None:
    for _ in ROUNDS:
        actor = await insert_actor(stores)
        worker = await add_worker(stores, actor)
        serving = _submit_and_claim(stores, actor, worker)
        retiring = stores.workers.retire_idle(worker.key, revocable=True)
        if submit_first:
            answer, retired = await asyncio.gather(serving, retiring)
        else:
            retired, answer = await asyncio.gather(retiring, serving)
        status = (await stores.workers.get(worker.key)).status
        if retired:
            assert answer is Refusal.NOT_READY
            assert status is WorkerStatus.SHUTDOWN_REQUESTED
            assert not await stores.workers.leave(worker.key), "the message calls it back"
            assert isinstance(await stores.mailbox.claim(worker.key, 1, NOON), Claim)
        else:
            assert isinstance(answer, Claim)
            assert status in VIABLE


async def _submit_and_claim(stores: Stores, actor: Actor, worker: Worker) -> Claim | Refusal:
    await submit(stores, actor)
    return await stores.mailbox.claim(worker.key, 1, NOON)


async def test_one_of_many_writers_of_a_state_version_wins(stores: Stores) -> None:
    actor = await insert_actor(stores)
    answers = await asyncio.gather(
        *(stores.actors.set_state(actor.key, n, expect_version=0) for n in range(10)),
        return_exceptions=True,
    )
    winners = [each for each in answers if not isinstance(each, BaseException)]
    assert all(isinstance(each, ConflictError) for each in answers if each not in winners)
    assert len(winners) == 1
    assert await stores.actors.get(actor.key) == winners[0]


async def test_writers_without_a_version_all_count(stores: Stores) -> None:
    actor = await insert_actor(stores)
    answers = await asyncio.gather(*(stores.actors.set_state(actor.key, n) for n in range(10)))
    assert sorted(each.state_version for each in answers) == list(range(1, 11))
    final = await stores.actors.get(actor.key)
    assert [each.state for each in answers if each.state_version == 10] == [final.state]


async def test_one_of_many_updates_of_a_revision_wins(stores: Stores) -> None:
    actor = await insert_actor(stores)
    answers = await asyncio.gather(
        *(
            stores.actors.update(
                actor.key, actor.definition, new_revision=True, now=at(n), expect_revision=1
            )
            for n in range(6)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, ConflictError) for each in answers) == 5
    assert (await stores.actors.get(actor.key)).revision == 2


async def test_delete_while_messages_wait_run_and_come(stores: Stores) -> None:
    for _ in ROUNDS:
        actor = await insert_actor(stores)
        await submit(stores, actor, 3)
        worker = await add_worker(stores, actor)
        running = await claim(stores, worker)
        late = an_execution(actor, message_received_time=at(99))
        _, finalized, sent = await asyncio.gather(
            stores.actors.delete(actor.key),
            stores.mailbox.finalize(running.execution.key, 1, an_outcome(), now=NOON),
            enqueue(stores, late, a_message(late)),
            return_exceptions=True,
        )
        assert finalized is True
        if isinstance(sent, AbacoError):
            assert isinstance(sent, NotFoundError)
        listed = await stores.executions.list_executions(actor.key)
        assert all(each.status in FINAL for each in listed)
        assert Counter(each.status for each in listed)[ExecutionStatus.COMPLETE] == 1
        assert await stores.mailbox.backlog() == {}
        await check_conservation(stores)


async def test_a_full_queue_takes_no_more_than_it_may(stores: Stores) -> None:
    actor = await insert_actor(stores)

    async def send() -> None:
        execution = an_execution(actor)
        await enqueue(stores, execution, a_message(execution), max_queued=3)

    answers = await asyncio.gather(*(send() for _ in range(12)), return_exceptions=True)
    assert answers.count(None) == 4
    assert sum(isinstance(each, LimitExceededError) for each in answers) == 8


async def test_one_of_many_processes_gets_the_place(stores: Stores) -> None:
    answers = await asyncio.gather(
        *(stores.instance.acquire(f"process {n}", NOON, 10) for n in range(8)),
        return_exceptions=True,
    )
    assert answers.count(1) == 1
    assert sum(isinstance(each, ConflictError) for each in answers) == 7


async def test_one_of_many_inserts_of_a_key_wins(stores: Stores) -> None:
    actor = await insert_actor(stores)
    await stores.actors.delete(actor.key)
    answers = await asyncio.gather(
        *(stores.actors.insert(actor) for _ in range(5)), return_exceptions=True
    )
    assert answers.count(None) == 1
