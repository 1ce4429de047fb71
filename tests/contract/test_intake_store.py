"""The way in: batches, idempotency keys, limits of mailboxes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.ids import Tenant
from abaco.errors import (
    ConflictError,
    KeyReusedError,
    LimitExceededError,
    NotFoundError,
    ThrottledError,
)
from abaco.ports.intake import Receipt, Room
from abaco.ports.store import Stores
from tests.support.records import (
    NOON,
    a_retry_key,
    an_actor,
    an_error_outcome,
    an_outcome,
    at,
)
from tests.support.stores import a_batch, add_worker, claim, insert_actor, leased_run, submit


async def take(stores: Stores, actor: Actor, count: int = 1, **how: Any) -> Receipt:
    return await stores.intake.submit(a_batch(actor, count), now=how.pop("now", NOON), **how)


async def test_a_batch_is_queued_in_its_order_behind_what_waits(stores: Stores) -> None:
    actor = await insert_actor(stores)
    (before,) = await submit(stores, actor)
    batch = a_batch(actor, 5)
    receipt = await stores.intake.submit(batch, now=NOON)
    assert receipt == Receipt(execution_ids=tuple(execution.id for execution, _ in batch))
    worker = await add_worker(stores, actor)
    found = []
    for _ in range(6):
        taken = await claim(stores, worker)
        found.append((taken.execution.id, taken.message.seq))
        await stores.mailbox.finalize(taken.execution.key, 1, an_outcome(), now=NOON)
    expected = [before.id, *receipt.execution_ids]
    assert found == [(each, seq) for seq, each in enumerate(expected, start=1)]
    assert (await stores.executions.totals(actor.key)).count == 6


async def test_what_a_batch_stores_is_what_was_given(stores: Stores) -> None:
    actor = await insert_actor(stores)
    batch = a_batch(actor, 2)
    await stores.intake.submit(batch, now=NOON)
    worker = await add_worker(stores, actor)
    taken = await claim(stores, worker)
    assert replace(taken.execution, worker_id=None, attempt=0) == batch[0].execution
    assert taken.message.body == 0
    assert await stores.executions.get(batch[1].execution.key) == batch[1].execution


async def test_a_batch_is_all_or_nothing(stores: Stores) -> None:
    actor = await insert_actor(stores)
    (taken,) = await submit(stores, actor)
    batch = a_batch(actor, 3)
    twice = replace(batch[2].execution, id=batch[0].execution.id)
    for last in (taken, twice):
        message = replace(batch[2].message, execution_id=last.id)
        bad = [*batch[:2], batch[2]._replace(execution=last, message=message)]
        with pytest.raises(ConflictError, match="exists"):
            await stores.intake.submit(bad, now=NOON, key=a_retry_key())
    assert await stores.mailbox.count(actor.key) == 1
    with pytest.raises(NotFoundError):
        await stores.executions.get(batch[0].execution.key)
    # nor was the key kept
    assert not (await take(stores, actor, key=a_retry_key(digest="other"))).is_replay


@pytest.mark.parametrize("status", [None, ActorStatus.SHUTTING_DOWN])
async def test_an_actor_that_is_not_open_takes_nothing(
    stores: Stores, status: ActorStatus | None
) -> None:
    actor = an_actor() if status is None else await insert_actor(stores, status=status)
    with pytest.raises(NotFoundError if status is None else ConflictError):
        await take(stores, actor, 2)
    assert await stores.intake.waiting(actor.tenant) == 0


async def test_a_batch_is_of_one_actor_and_not_empty(stores: Stores) -> None:
    one, two = await insert_actor(stores), await insert_actor(stores)
    for batch in ([], [*a_batch(one), *a_batch(two)]):
        with pytest.raises(ValueError, match="batch"):
            await stores.intake.submit(batch, now=NOON)


class TestKeys:
    async def test_the_first_receipt_comes_back(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        first = await take(stores, actor, 3, key=a_retry_key())
        again = await take(stores, actor, 3, key=a_retry_key(expires_at=at(9999)))
        assert again == Receipt(execution_ids=first.execution_ids, is_replay=True)
        assert not first.is_replay
        assert await stores.mailbox.count(actor.key) == 3

    async def test_also_when_the_execution_has_ended(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        first = await take(stores, actor, key=a_retry_key())
        await stores.mailbox.purge(actor.key, an_error_outcome())
        assert (await take(stores, actor, key=a_retry_key())).execution_ids == first.execution_ids
        assert await stores.mailbox.count(actor.key) == 0

    async def test_another_digest_is_refused(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await take(stores, actor, key=a_retry_key())
        with pytest.raises(KeyReusedError, match="Idempotency-Key"):
            await take(stores, actor, key=a_retry_key(digest="d2"))
        assert await stores.mailbox.count(actor.key) == 1

    @pytest.mark.parametrize("other", [{"user": "joe"}, {"text": "k2"}, {"text": "K1"}])
    async def test_another_user_or_text_is_another_key(
        self, stores: Stores, other: dict[str, Any]
    ) -> None:
        actor = await insert_actor(stores)
        await take(stores, actor, key=a_retry_key())
        assert not (await take(stores, actor, key=a_retry_key(**other))).is_replay

    async def test_another_actor_or_tenant_is_another_key(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await take(stores, actor, key=a_retry_key())
        for other in (
            await insert_actor(stores),
            await insert_actor(stores, tenant=Tenant("OTHER"), id=actor.id),
        ):
            assert not (await take(stores, other, key=a_retry_key())).is_replay

    async def test_an_expired_key_is_a_new_one(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        first = await take(stores, actor, key=a_retry_key(expires_at=at(5)))
        assert (await take(stores, actor, key=a_retry_key(), now=at(4))).is_replay
        second = await take(
            stores, actor, key=a_retry_key(digest="d2", expires_at=at(50)), now=at(5)
        )
        assert not second.is_replay
        assert second.execution_ids != first.execution_ids
        third = await take(stores, actor, key=a_retry_key(digest="d2"), now=at(49))
        assert third.execution_ids == second.execution_ids

    async def test_expired_keys_are_swept_in_portions(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        for n in range(5):
            await take(stores, actor, key=a_retry_key(f"k{n}", expires_at=at(n)))
        assert [await stores.intake.expire(at(3), limit=3) for _ in range(3)] == [3, 1, 0]
        assert (await take(stores, actor, key=a_retry_key("k4"))).is_replay
        assert not (await take(stores, actor, key=a_retry_key("k0"), now=at(-9))).is_replay

    async def test_keys_go_with_their_actor(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await take(stores, actor, key=a_retry_key(expires_at=at(1)))
        await stores.actors.delete(actor.key)
        assert await stores.intake.expire(at(2)) == 0
        await stores.actors.insert(actor)
        assert not (await take(stores, actor, key=a_retry_key())).is_replay

    async def test_a_repeat_meets_no_limit_and_no_closed_door(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        first = await take(stores, actor, key=a_retry_key())
        await stores.actors.set_status(
            actor.key, ActorStatus.SHUTTING_DOWN, "", expect=frozenset(ActorStatus)
        )
        again = await take(stores, actor, key=a_retry_key(), room=Room(before=0, actor=0, tenant=0))
        assert again.execution_ids == first.execution_ids

    async def test_what_was_refused_leaves_its_key_free(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await submit(stores, actor)
        with pytest.raises(ThrottledError):
            await take(stores, actor, 2, key=a_retry_key(), room=Room(actor=2))
        assert not (await take(stores, actor, key=a_retry_key(digest="d2"))).is_replay

    async def test_of_32_at_once_one_is_stored(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        receipts = await asyncio.gather(
            *(take(stores, actor, 2, key=a_retry_key()) for _ in range(32))
        )
        assert len({receipt.execution_ids for receipt in receipts}) == 1
        assert [receipt.is_replay for receipt in receipts].count(False) == 1
        assert await stores.mailbox.count(actor.key) == 2
        assert (await stores.executions.counters()).accepted == 2

    async def test_of_two_requests_with_one_key_one_wins(self, stores: Stores) -> None:
        for n in range(15):
            actor = await insert_actor(stores)
            answers = await asyncio.gather(
                *(take(stores, actor, key=a_retry_key(digest=f"{n}{way}")) for way in "ab"),
                return_exceptions=True,
            )
            assert {type(answer) for answer in answers} == {Receipt, KeyReusedError}
            assert await stores.mailbox.count(actor.key) == 1

    async def test_a_delete_at_the_same_time_leaves_no_key(self, stores: Stores) -> None:
        for _ in range(15):
            actor = await insert_actor(stores)
            await asyncio.gather(
                take(stores, actor, key=a_retry_key(expires_at=at(1))),
                stores.actors.delete(actor.key),
                return_exceptions=True,
            )
            assert await stores.intake.expire(at(2)) == 0


class TestRoom:
    async def test_before_counts_what_waits_already(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        await take(stores, actor, 3, room=Room(before=0))
        with pytest.raises(LimitExceededError, match="3 messages wait"):
            await take(stores, actor, room=Room(before=2))

    async def test_a_mailbox_is_filled_to_its_limit_and_no_further(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        room = Room(actor=3)
        await take(stores, actor, 2, room=room)
        with pytest.raises(ThrottledError, match=r"2 messages wait, runtime\.max_mailbox is 3"):
            await take(stores, actor, 2, room=room)
        await take(stores, actor, 1, room=room)
        assert await stores.mailbox.count(actor.key) == 3

    @pytest.mark.parametrize("room", [Room(actor=2), Room(tenant=2)])
    async def test_what_can_never_fit_is_not_to_be_tried_again(
        self, stores: Stores, room: Room
    ) -> None:
        actor = await insert_actor(stores)
        with pytest.raises(LimitExceededError, match="3 messages at once never fit"):
            await take(stores, actor, 3, room=room)
        await take(stores, actor, 2, room=room)

    async def test_what_runs_does_not_wait(self, stores: Stores) -> None:
        actor, _, _ = await leased_run(stores)
        assert await stores.intake.waiting(actor.tenant) == 0
        await take(stores, actor, room=Room(actor=1, tenant=1))

    async def test_a_tenant_has_one_limit_for_all_its_actors(self, stores: Stores) -> None:
        one, two = await insert_actor(stores), await insert_actor(stores)
        other = await insert_actor(stores, tenant=Tenant("OTHER"))
        room = Room(tenant=3)
        await take(stores, one, 2, room=room)
        await take(stores, other, 3, room=room)
        with pytest.raises(ThrottledError, match=r"runtime\.max_tenant_mailbox is 3"):
            await take(stores, two, 2, room=room)
        await take(stores, two, 1, room=room)
        assert await stores.intake.waiting(one.tenant) == 3
        assert await stores.intake.waiting(Tenant("NOBODY")) == 0

    async def test_a_tenants_count_follows_every_move(self, stores: Stores) -> None:
        actor = await insert_actor(stores)
        worker = await add_worker(stores, actor)
        waiting = stores.intake.waiting
        await take(stores, actor, 4)
        taken = await claim(stores, worker)
        assert await waiting(actor.tenant) == 3
        await stores.mailbox.release(taken.execution.key, 1, lost=True)
        assert await waiting(actor.tenant) == 4
        taken = await claim(stores, worker)
        await stores.mailbox.finalize(taken.execution.key, 2, an_outcome(), now=NOON)
        assert await waiting(actor.tenant) == 3
        await stores.mailbox.purge(actor.key, an_error_outcome())
        assert await waiting(actor.tenant) == 0
        await take(stores, actor, 2)
        await stores.actors.delete(actor.key)
        assert await waiting(actor.tenant) == 0

    async def test_many_at_once_do_not_pass_a_limit(self, stores: Stores) -> None:
        actors = [await insert_actor(stores) for _ in range(2)]
        answers = await asyncio.gather(
            *(take(stores, actor, room=Room(actor=4, tenant=6)) for actor in actors * 20),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, Receipt) for answer in answers) == 6
        assert await stores.intake.waiting(actors[0].tenant) == 6
        assert max((await stores.mailbox.backlog()).values()) <= 4
