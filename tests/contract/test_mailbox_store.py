from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abaco.domain.actor import ActorStatus
from abaco.domain.execution import ExecutionStatus, HaltReason, IoDetail
from abaco.domain.ids import ActorId, Tenant, WorkerId
from abaco.domain.message import MessageState
from abaco.domain.worker import WorkerStatus
from abaco.errors import ConflictError, LimitExceededError, NotFoundError
from abaco.ports.store import Refusal, Stores
from tests.support.records import (
    NOON,
    a_message,
    an_actor,
    an_error_outcome,
    an_execution,
    an_outcome,
    at,
    worker_key,
)
from tests.support.stores import add_worker, claim, enqueue, insert_actor, leased_run, submit

ALL_WORKERS = frozenset(WorkerStatus)


async def test_submit_stores_execution_and_message_together(stores: Stores) -> None:
    actor = await insert_actor(stores)
    execution = an_execution(actor, executor="joe", api_server="https://x")
    message = a_message(
        execution,
        body={"n": [1, None, "\u2603"]},
        environment={"q": "1", "a.b$": "2"},
        content_type="application/json",
        jwt_header="X-JWT-Assertion-DEV",
        revision=4,
    )
    await enqueue(stores, execution, message)
    assert await stores.executions.get(execution.key) == execution
    assert await stores.mailbox.count(actor.key) == 1
    worker = await add_worker(stores, actor)
    taken = await claim(stores, worker)
    expected = replace(message, seq=1, state=MessageState.LEASED, lease_owner=worker.id)
    assert taken.message == expected


async def test_submit_to_an_absent_actor_leaves_nothing(stores: Stores) -> None:
    execution = an_execution(an_actor())
    with pytest.raises(NotFoundError, match=execution.actor_id):
        await enqueue(stores, execution, a_message(execution))
    with pytest.raises(NotFoundError):
        await stores.executions.get(execution.key)
    assert (await stores.executions.counters()).accepted == 0


async def test_submit_to_an_actor_that_shuts_down_leaves_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores, status=ActorStatus.SHUTTING_DOWN)
    with pytest.raises(ConflictError, match="SHUTTING_DOWN"):
        await submit(stores, actor)
    assert await stores.executions.list_executions(actor.key) == []


async def test_an_actor_in_error_still_accepts_messages(stores: Stores) -> None:
    actor = await insert_actor(stores, status=ActorStatus.ERROR)
    await submit(stores, actor, 2)
    assert await stores.mailbox.count(actor.key) == 2


async def test_a_taken_execution_id_is_refused_and_queues_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores)
    (execution,) = await submit(stores, actor)
    with pytest.raises(ConflictError, match=execution.id):
        await enqueue(stores, execution, a_message(execution))
    assert await stores.mailbox.count(actor.key) == 1
    assert (await stores.executions.totals(actor.key)).count == 1


async def test_submit_is_refused_when_more_than_the_limit_wait(stores: Stores) -> None:
    actor = await insert_actor(stores)
    for _ in range(3):
        execution = an_execution(actor)
        await enqueue(stores, execution, a_message(execution), max_queued=2)
    refused = an_execution(actor)
    with pytest.raises(LimitExceededError, match="3"):
        await enqueue(stores, refused, a_message(refused), max_queued=2)
    assert await stores.mailbox.count(actor.key) == 3
    with pytest.raises(NotFoundError):
        await stores.executions.get(refused.key)


async def test_leased_messages_do_not_count_against_the_limit(stores: Stores) -> None:
    actor, _, _ = await leased_run(stores)
    execution = an_execution(actor)
    await enqueue(stores, execution, a_message(execution), max_queued=0)
    assert await stores.mailbox.count(actor.key) == 1


@pytest.mark.parametrize(
    "fields", [{"status": ExecutionStatus.RUNNING}, {"attempt": 1}, {"worker_id": WorkerId("w")}]
)
async def test_only_a_fresh_execution_is_accepted(stores: Stores, fields: Any) -> None:
    actor = await insert_actor(stores)
    execution = an_execution(actor, **fields)
    with pytest.raises(ValueError, match="fresh"):
        await enqueue(stores, execution, a_message(execution))


async def test_a_message_is_accepted_with_its_own_execution_only(stores: Stores) -> None:
    actor = await insert_actor(stores)
    with pytest.raises(ValueError, match="its own"):
        await enqueue(stores, an_execution(actor), a_message(an_execution(actor)))


async def test_sequence_numbers_run_per_actor_and_are_never_given_again(stores: Stores) -> None:
    one, two = await insert_actor(stores), await insert_actor(stores)
    workers = {
        actor.id: [await add_worker(stores, actor) for _ in range(2)] for actor in (one, two)
    }
    seqs = []
    for actor in (one, two, one):
        await submit(stores, actor)
        seqs.append((await claim(stores, workers[actor.id].pop())).message.seq)
    assert seqs == [1, 1, 2]
    await submit(stores, one)
    await stores.mailbox.purge(one.key, an_error_outcome())
    await submit(stores, one)
    assert (await claim(stores, await add_worker(stores, one))).message.seq == 4


async def test_a_claim_leases_the_head_and_gives_what_the_run_needs(stores: Stores) -> None:
    actor = await insert_actor(stores, state={"n": 5}, status=ActorStatus.READY)
    first, second = await submit(stores, actor, 2)
    worker = await add_worker(stores, actor)
    taken = await claim(stores, worker)
    assert taken.execution == replace(first, worker_id=worker.id, attempt=1)
    assert await stores.executions.get(first.key) == taken.execution
    assert taken.actor == actor
    assert taken.message.body == 0
    assert (await stores.workers.get(worker.key)).status is WorkerStatus.BUSY
    assert await stores.mailbox.count(actor.key) == 1
    assert (await stores.executions.get(second.key)).worker_id is None


async def test_the_order_of_a_mailbox_is_strict(stores: Stores) -> None:
    actor = await insert_actor(stores)
    executions = await submit(stores, actor, 12)
    worker = await add_worker(stores, actor)
    order = []
    for _ in executions:
        taken = await claim(stores, worker)
        order.append(taken.execution.id)
        await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
    assert order == [execution.id for execution in executions]


@pytest.mark.parametrize("status", [each for each in WorkerStatus if each != WorkerStatus.READY])
async def test_only_a_ready_worker_claims(stores: Stores, status: WorkerStatus) -> None:
    actor = await insert_actor(stores)
    await submit(stores, actor)
    worker = await add_worker(stores, actor, status)
    assert await stores.mailbox.claim(worker.key, 1, NOON) is Refusal.NOT_READY
    assert (await stores.workers.get(worker.key)) == worker
    assert await stores.mailbox.count(actor.key) == 1


async def test_a_worker_without_a_record_claims_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores)
    await submit(stores, actor)
    key = worker_key(actor.key, "ghost")
    assert await stores.mailbox.claim(key, 1, NOON) is Refusal.NOT_READY


@pytest.mark.parametrize("status", [ActorStatus.ERROR, ActorStatus.SHUTTING_DOWN])
async def test_a_stopped_actor_gives_no_message(stores: Stores, status: ActorStatus) -> None:
    actor = await insert_actor(stores)
    await submit(stores, actor)
    worker = await add_worker(stores, actor)
    await stores.actors.set_status(actor.key, status, "", expect=frozenset(ActorStatus))
    assert await stores.mailbox.claim(worker.key, 1, NOON) is Refusal.ACTOR_STOPPED


async def test_an_absent_actor_gives_no_message(stores: Stores) -> None:
    key = worker_key(an_actor().key, "w")
    assert await stores.mailbox.claim(key, 1, NOON) is Refusal.ACTOR_STOPPED


async def test_a_stale_worker_gets_no_message(stores: Stores) -> None:
    actor = await insert_actor(stores)
    await submit(stores, actor)
    worker = await add_worker(stores, actor)
    await stores.actors.update(actor.key, actor.definition, new_revision=True, now=NOON)
    assert await stores.mailbox.claim(worker.key, 1, NOON) is Refusal.STALE
    assert (await stores.workers.get(worker.key)).status is WorkerStatus.READY


async def test_an_empty_mailbox_says_so(stores: Stores) -> None:
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    assert await stores.mailbox.claim(worker.key, 1, NOON) is Refusal.EMPTY
    assert (await stores.workers.get(worker.key)).status is WorkerStatus.READY


async def test_a_stateful_actor_has_one_message_leased_at_most(stores: Stores) -> None:
    actor = await insert_actor(stores, stateless=False)
    await submit(stores, actor, 2)
    workers = [await add_worker(stores, actor) for _ in range(2)]
    first = await claim(stores, workers[0])
    assert await stores.mailbox.claim(workers[1].key, 1, NOON) is Refusal.EMPTY
    await stores.mailbox.finalize(first.execution.key, 1, an_outcome(), now=NOON)
    assert (await claim(stores, workers[1])).message.body == 1


async def test_a_stateful_run_sees_the_state_the_last_one_left(stores: Stores) -> None:
    actor = await insert_actor(stores, stateless=False)
    await submit(stores, actor)
    worker = await add_worker(stores, actor)
    await stores.actors.set_state(actor.key, {"count": 7})
    assert (await claim(stores, worker)).actor.state == {"count": 7}


async def test_running_is_recorded_on_execution_and_worker(stores: Stores) -> None:
    _, worker, taken = await leased_run(stores)
    key = taken.execution.key
    assert await stores.mailbox.mark_running(key, 1, "c1", at(1))
    assert await stores.executions.get(key) == replace(
        taken.execution, status=ExecutionStatus.RUNNING, container_id="c1", start_time=at(1)
    )
    assert (await stores.workers.get(worker.key)).container_id == "c1"


async def test_running_may_be_told_again_but_not_differently(stores: Stores) -> None:
    _, _, taken = await leased_run(stores)
    key = taken.execution.key
    assert await stores.mailbox.mark_running(key, 1, "c1", at(1))
    assert await stores.mailbox.mark_running(key, 1, "c1", at(2))
    assert not await stores.mailbox.mark_running(key, 1, "c2", at(2))
    execution = await stores.executions.get(key)
    assert (execution.container_id, execution.start_time) == ("c1", at(1))


async def test_finalize_ends_all_in_one_step(stores: Stores) -> None:
    actor, worker, taken = await leased_run(stores)
    key = taken.execution.key
    await stores.mailbox.mark_running(key, 1, "c1", at(1))
    outcome = an_outcome(
        exit_code=3,
        final_state={"A": {"b": [1.5]}},
        cpu_ns=2**62,
        io_bytes=7,
        runtime_ms=2_999,
        io_detail=IoDetail(net_rx=7, net_tx=2**62, blk_read=1, blk_write=2),
        memory_peak_bytes=2**40,
    )
    assert await stores.mailbox.finalize(key, 1, outcome, now=at(4))
    execution = await stores.executions.get(key)
    assert execution.status is ExecutionStatus.COMPLETE
    assert execution.outcome == outcome
    assert (execution.worker_id, execution.container_id) == (worker.id, "c1")
    record = await stores.workers.get(worker.key)
    assert (record.status, record.last_execution_time) == (WorkerStatus.READY, at(4))
    totals = await stores.executions.totals(actor.key)
    assert (totals.count, totals.cpu_ns, totals.io_bytes, totals.runtime_s) == (1, 2**62, 7, 2)
    assert (await stores.executions.counters()).final == 1


async def test_a_run_that_never_started_can_be_finalized(stores: Stores) -> None:
    _, _, taken = await leased_run(stores)
    outcome = an_error_outcome("no such file", exit_code=None)
    assert await stores.mailbox.finalize(taken.execution.key, 1, outcome, now=NOON)
    execution = await stores.executions.get(taken.execution.key)
    assert (execution.status, execution.outcome) == (ExecutionStatus.ERROR, outcome)
    assert execution.start_time is None


@pytest.mark.parametrize(
    "status", [WorkerStatus.SHUTDOWN_REQUESTED, WorkerStatus.SHUTTING_DOWN, WorkerStatus.ERROR]
)
@pytest.mark.parametrize("how", ["finalize", "release"])
async def test_a_worker_that_is_to_stop_does_not_turn_ready(
    stores: Stores, status: WorkerStatus, how: str
) -> None:
    _, worker, taken = await leased_run(stores)
    await stores.workers.set_status(worker.key, status, expect=ALL_WORKERS)
    if how == "finalize":
        assert await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
    else:
        assert await stores.mailbox.release(taken.execution.key, 1, lost=False)
    assert (await stores.workers.get(worker.key)).status is status


async def test_a_run_ends_although_its_worker_record_is_gone(stores: Stores) -> None:
    _, worker, taken = await leased_run(stores)
    await stores.workers.delete(worker.key)
    assert await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
    with pytest.raises(NotFoundError):
        await stores.workers.get(worker.key)


async def test_finalize_wants_a_final_status(stores: Stores) -> None:
    actor, _, taken = await leased_run(stores)
    outcome = replace(an_outcome(), status=ExecutionStatus.RUNNING)
    with pytest.raises(ValueError, match="final"):
        await stores.mailbox.finalize(taken.execution.key, 1, outcome, now=NOON)
    with pytest.raises(ValueError, match="final"):
        await stores.mailbox.purge(actor.key, outcome)


async def test_release_puts_a_message_back_at_its_place(stores: Stores) -> None:
    actor = await insert_actor(stores)
    first, _, _ = await submit(stores, actor, 3)
    workers = [await add_worker(stores, actor) for _ in range(2)]
    one, two = [await claim(stores, worker) for worker in workers]
    await stores.mailbox.mark_running(first.key, 1, "c1", at(1))
    assert await stores.mailbox.release(two.execution.key, 1, lost=False)
    assert await stores.mailbox.release(first.key, 1, lost=True)
    execution = await stores.executions.get(first.key)
    assert execution == replace(first, attempt=1, losses=1)
    assert (await stores.executions.get(two.execution.key)).losses == 0
    assert await stores.mailbox.count(actor.key) == 3
    worker = await stores.workers.get(workers[0].key)
    assert (worker.status, worker.last_execution_time) == (WorkerStatus.READY, None)
    again = await claim(stores, workers[1])
    assert (again.message.seq, again.execution.attempt) == (one.message.seq, 2)
    assert [(await claim(stores, workers[0])).message.seq] == [two.message.seq]


async def test_a_halted_message_is_not_run_again_but_ended(stores: Stores) -> None:
    actor = await insert_actor(stores)
    (submitted,) = await submit(stores, actor, 1)
    worker = await add_worker(stores, actor)
    await claim(stores, worker)
    await stores.mailbox.mark_running(submitted.key, 1, "c1", at(1))
    await stores.executions.request_halt(submitted.key, HaltReason.FORCE_QUIT)
    assert await stores.mailbox.release(submitted.key, 1, lost=True)
    execution = await stores.executions.get(submitted.key)
    assert execution.status is ExecutionStatus.ERROR
    assert execution.outcome is not None
    assert "force_quit" in execution.outcome.error
    assert await stores.mailbox.count(actor.key) == 0
    assert (await stores.workers.get(worker.key)).status is WorkerStatus.READY


async def _attempts(stores: Stores, key: Any, attempt: int) -> list[bool]:
    return [
        await stores.mailbox.mark_running(key, attempt, "late", at(8)),
        await stores.mailbox.release(key, attempt, lost=True),
        await stores.mailbox.finalize(key, attempt, an_outcome(exit_code=9), now=at(9)),
    ]


@pytest.mark.parametrize("attempt", [0, 1, 3])
async def test_writes_of_another_attempt_are_refused(stores: Stores, attempt: int) -> None:
    _, worker, taken = await leased_run(stores)
    key = taken.execution.key
    await stores.mailbox.release(key, 1, lost=False)
    second = await claim(stores, worker)
    busy = await stores.workers.get(worker.key)
    assert await _attempts(stores, key, attempt) == [False, False, False]
    assert await stores.executions.get(key) == second.execution
    assert await stores.workers.get(worker.key) == busy


async def test_writes_to_a_final_execution_are_refused(stores: Stores) -> None:
    _, _, taken = await leased_run(stores)
    key = taken.execution.key
    await stores.mailbox.finalize(key, 1, an_outcome(), now=NOON)
    final = await stores.executions.get(key)
    assert await _attempts(stores, key, 1) == [False, False, False]
    assert await stores.executions.get(key) == final


@pytest.mark.parametrize("attempt", [0, 1])
async def test_writes_of_an_attempt_that_was_given_back_are_refused(
    stores: Stores, attempt: int
) -> None:
    _, _, taken = await leased_run(stores)
    key = taken.execution.key
    await stores.mailbox.release(key, 1, lost=False)
    assert await _attempts(stores, key, attempt) == [False, False, False]
    assert (await stores.executions.get(key)).status is ExecutionStatus.SUBMITTED


async def test_writes_to_a_waiting_or_unknown_execution_are_refused(stores: Stores) -> None:
    actor = await insert_actor(stores)
    (execution,) = await submit(stores, actor)
    for key in (execution.key, an_execution(actor).key, an_execution(an_actor()).key):
        assert await _attempts(stores, key, 0) == [False, False, False]
    assert await stores.executions.get(execution.key) == execution


async def test_purge_ends_what_waits_and_spares_what_runs(stores: Stores) -> None:
    actor, _, taken = await leased_run(stores)
    other = await insert_actor(stores)
    await submit(stores, other)
    waiting = [an_execution(actor, message_received_time=at(n)) for n in range(3)]
    for execution in waiting:
        await enqueue(stores, execution, a_message(execution))
    outcome = an_error_outcome("purged", cpu_ns=1)
    purged = await stores.mailbox.purge(actor.key, outcome)
    assert purged == [execution.id for execution in waiting]
    for execution in waiting:
        stored = await stores.executions.get(execution.key)
        assert stored == replace(execution, status=ExecutionStatus.ERROR, outcome=outcome)
    assert (await stores.executions.get(taken.execution.key)).outcome is None
    assert await stores.mailbox.backlog() == {other.key: 1}
    assert (await stores.executions.totals(actor.key)).cpu_ns == 3
    assert await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)


async def test_purge_of_nothing_purges_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores)
    assert await stores.mailbox.purge(actor.key, an_error_outcome()) == []
    assert await stores.mailbox.purge(an_actor().key, an_error_outcome()) == []


async def test_count_and_backlog_know_queued_messages_only(stores: Stores) -> None:
    actor, _, _ = await leased_run(stores)
    assert await stores.mailbox.count(actor.key) == 0
    assert await stores.mailbox.backlog() == {}
    other = await insert_actor(stores, tenant=Tenant("OTHER"), id=ActorId(actor.id))
    await submit(stores, other, 2)
    assert await stores.mailbox.count(actor.key) == 0
    assert await stores.mailbox.count(an_actor().key) == 0
    assert await stores.mailbox.backlog() == {other.key: 2}


async def test_nobody_reaches_into_a_message(stores: Stores) -> None:
    actor = await insert_actor(stores)
    body: dict[str, Any] = {"list": [1]}
    execution = an_execution(actor)
    await enqueue(stores, execution, a_message(execution, body=body))
    body["list"].append(2)
    worker = await add_worker(stores, actor)
    taken = await claim(stores, worker)
    assert taken.message.body == {"list": [1]}
    taken.actor.state["x"] = 1
    final_state = {"a": [1]}
    outcome = an_outcome(final_state=final_state)
    await stores.mailbox.finalize(execution.key, 1, outcome, now=NOON)
    final_state["a"].append(2)
    for _ in range(2):
        got = (await stores.executions.get(execution.key)).outcome
        assert got is not None
        assert got.final_state == {"a": [1]}
        got.final_state["a"].append(9)
    assert (await stores.actors.get(actor.key)).state == {}
