"""Schedules: what is due, and that a slot is decided once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from abaco.domain.actor import Actor, ActorKey, ActorStatus
from abaco.domain.cron import SetCron, SwitchCron
from abaco.domain.execution import ExecutionStatus
from abaco.domain.ids import ActorId, ExecutionId, Tenant
from abaco.errors import AbacoError, ConflictError, NotFoundError, ThrottledError
from abaco.ports.intake import Room, Submission
from abaco.ports.store import Stores
from tests.support.records import NOON, a_cron, a_message, an_actor, an_execution, at
from tests.support.stores import a_batch, add_worker, claim, insert_actor, submit

ROUNDS = range(15)
ANY_STATUS = frozenset(ActorStatus)


async def scheduled(stores: Stores, next_s: float | None = 0, **fields: Any) -> Actor:
    """Register an actor whose next slot is so many seconds after noon."""
    inner = {name: fields.pop(name) for name in ("is_on", "last_execution") if name in fields}
    cron = a_cron(next_at=None if next_s is None else at(next_s), **inner)
    return await insert_actor(stores, cron=cron, **fields)


def a_submission(actor: Actor) -> Submission:
    (submission,) = a_batch(actor)
    return submission


async def fire(stores: Stores, actor: Actor, expect_s: float, new_s: float | None) -> bool:
    new_next = None if new_s is None else at(new_s)
    return await stores.cron.fire(a_submission(actor), expect_next=at(expect_s), new_next=new_next)


async def next_of(stores: Stores, actor: Actor) -> Any:
    cron = (await stores.actors.get(actor.key)).cron
    return cron and cron.next_at


async def update(stores: Stores, actor: Actor, **fields: Any) -> Actor:
    return await stores.actors.update(
        actor.key, actor.definition, **{"new_revision": False, "now": NOON, **fields}
    )


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("next_s", [None, 0.5])
async def test_a_schedule_comes_back_as_it_was_stored(
    stores: Stores, is_on: bool, next_s: float | None
) -> None:
    actor = await scheduled(stores, next_s, is_on=is_on, last_execution=ExecutionId("e"))
    assert await stores.actors.get(actor.key) == actor
    assert await stores.actors.list_actors() == [actor]
    worker = await add_worker(stores, actor)
    await submit(stores, actor)
    assert (await claim(stores, worker)).actor == actor


async def test_an_update_leaves_the_schedule_alone_unless_told(stores: Stores) -> None:
    actor = await scheduled(stores, 5, last_execution=ExecutionId("e"))
    assert (await update(stores, actor, new_revision=True)).cron == actor.cron
    off = await update(stores, actor, cron=SwitchCron(False))
    assert off.cron == a_cron(next_at=at(5), is_on=False, last_execution=ExecutionId("e"))
    other = a_cron(schedule="* * * * *", next_at=at(60), given_at=at(1))
    changed = await update(stores, actor, cron=SetCron(other))
    assert changed.cron is not None
    assert (changed.cron.schedule, changed.cron.next_at) == ("* * * * *", at(60))
    assert (changed.cron.last_execution, changed.cron.given_at) == ("e", at(1))
    assert (await update(stores, actor, cron=SetCron(None))).cron is None
    assert (await update(stores, actor, cron=SwitchCron(True))).cron is None
    assert (await stores.actors.get(actor.key)).cron is None
    assert await stores.cron.due(at(99)) == []


async def test_an_update_that_is_refused_changes_no_schedule(stores: Stores) -> None:
    actor = await scheduled(stores, 5)
    with pytest.raises(ConflictError):
        await update(stores, actor, cron=SetCron(None), expect_revision=7)
    await stores.actors.set_status(actor.key, ActorStatus.SHUTTING_DOWN, "", expect=ANY_STATUS)
    with pytest.raises(ConflictError):
        await update(stores, actor, cron=SetCron(None))
    assert (await stores.actors.get(actor.key)).cron == actor.cron


async def test_what_is_due_comes_in_order_and_in_pages(stores: Stores) -> None:
    times = (3, 1, 2, 1, 9, 1, 4)
    actors = [await scheduled(stores, time) for time in times]
    actors.append(await scheduled(stores, 1, tenant=Tenant("OTHER"), id=actors[1].id))
    await scheduled(stores, None)
    await insert_actor(stores)
    expected = sorted(
        (actor for actor in actors if actor.cron and actor.cron.next_at <= at(4)),  # type: ignore[operator]
        key=lambda actor: (actor.cron.next_at, actor.id, actor.tenant),  # type: ignore[union-attr]
    )
    assert len(expected) == 7
    assert await stores.cron.due(at(4)) == expected
    pages, after = [], None
    while page := await stores.cron.due(at(4), after=after, limit=2):
        assert len(page) <= 2
        pages += page
        after = page[-1]
    assert pages == expected
    assert await stores.cron.due(at(0.9)) == []


async def test_the_next_one_due_is_later_than_asked(stores: Stores) -> None:
    assert await stores.cron.next_due(NOON) is None
    for next_s in (5, 1, 9, None):
        await scheduled(stores, next_s)
    assert await stores.cron.next_due(at(-1)) == at(1)
    assert await stores.cron.next_due(at(1)) == at(5)
    assert await stores.cron.next_due(at(5.5)) == at(9)
    assert await stores.cron.next_due(at(9)) is None


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("status", list(ActorStatus))
async def test_an_actor_on_its_way_out_is_never_due_and_others_are(
    stores: Stores, status: ActorStatus, is_on: bool
) -> None:
    actor = await scheduled(stores, 1, is_on=is_on)
    await stores.actors.set_status(actor.key, status, "", expect=ANY_STATUS)
    is_listed = status is not ActorStatus.SHUTTING_DOWN
    assert [each.key for each in await stores.cron.due(at(1))] == [actor.key] * is_listed
    assert await stores.cron.next_due(NOON) == (at(1) if is_listed else None)


async def test_firing_submits_and_moves_on(stores: Stores) -> None:
    actor = await scheduled(stores, 1)
    submission = a_submission(actor)
    assert await stores.cron.fire(submission, expect_next=at(1), new_next=at(61))
    assert await stores.executions.get(submission.execution.key) == submission.execution
    assert await stores.mailbox.count(actor.key) == 1
    cron = (await stores.actors.get(actor.key)).cron
    assert cron == a_cron(next_at=at(61), last_execution=submission.execution.id)
    worker = await add_worker(stores, actor)
    taken = await claim(stores, worker)
    assert taken.message.body == submission.message.body
    assert taken.message.seq == 1


async def test_a_second_identical_call_does_nothing(stores: Stores) -> None:
    actor = await scheduled(stores, 1)
    submission = a_submission(actor)
    answers = [
        await stores.cron.fire(submission, expect_next=at(1), new_next=at(61)) for _ in range(2)
    ]
    assert answers == [True, False]
    assert [
        await stores.cron.advance(actor.key, expect_next=at(61), new_next=at(121)) for _ in range(2)
    ] == [True, False]
    assert await stores.mailbox.count(actor.key) == 1
    assert await next_of(stores, actor) == at(121)


@pytest.mark.parametrize("new_s", [None, 61])
async def test_passing_over_makes_no_message(stores: Stores, new_s: float | None) -> None:
    actor = await scheduled(stores, 1, is_on=False)
    new_next = None if new_s is None else at(new_s)
    assert await stores.cron.advance(actor.key, expect_next=at(1), new_next=new_next)
    assert await next_of(stores, actor) == new_next
    assert await stores.mailbox.count(actor.key) == 0
    assert await stores.cron.due(at(60)) == []


@pytest.mark.parametrize("status", [ActorStatus.ERROR, ActorStatus.SHUTTING_DOWN])
async def test_an_actor_that_cannot_run_does_not_fire(stores: Stores, status: ActorStatus) -> None:
    actor = await scheduled(stores, 1)
    await stores.actors.set_status(actor.key, status, "", expect=ANY_STATUS)
    assert not await fire(stores, actor, 1, 2)
    assert await stores.mailbox.count(actor.key) == 0
    assert await next_of(stores, actor) == at(1)


async def test_nothing_fires_that_is_off_gone_or_elsewhere(stores: Stores) -> None:
    off = await scheduled(stores, 1, is_on=False)
    without = await insert_actor(stores)
    ended = await scheduled(stores, None)
    elsewhere = await scheduled(stores, 1.000001)
    absent = an_actor(cron=a_cron(next_at=at(1)))
    for actor in (off, without, ended, elsewhere, absent):
        assert not await fire(stores, actor, 1, 2)
        assert await stores.mailbox.count(actor.key) == 0
    for actor in (without, ended, elsewhere, absent):
        assert not await stores.cron.advance(actor.key, expect_next=at(1), new_next=at(2))
    with pytest.raises(NotFoundError):
        await stores.actors.get(absent.key)
    assert (await stores.executions.counters()).accepted == 0


async def test_a_refused_message_leaves_the_slot(stores: Stores) -> None:
    actor = await scheduled(stores, 1)
    (taken,) = await submit(stores, actor)
    execution = an_execution(actor, id=taken.id)
    again = Submission(execution, a_message(execution))
    with pytest.raises(ConflictError):
        await stores.cron.fire(again, expect_next=at(1), new_next=at(2))
    with pytest.raises(ThrottledError):
        await stores.cron.fire(
            a_submission(actor), expect_next=at(1), new_next=at(2), room=Room(actor=1)
        )
    assert await next_of(stores, actor) == at(1)
    assert await stores.mailbox.count(actor.key) == 1
    room = Room(actor=2, tenant=2)
    assert await stores.cron.fire(a_submission(actor), expect_next=at(1), new_next=at(2), room=room)


async def test_only_its_own_execution_can_be_fired(stores: Stores) -> None:
    actor = await scheduled(stores, 1)
    one, other = a_submission(actor), a_submission(actor)
    with pytest.raises(ValueError, match="own, fresh execution"):
        await stores.cron.fire(
            Submission(one.execution, other.message), expect_next=at(1), new_next=at(2)
        )
    assert await next_of(stores, actor) == at(1)


async def test_tenants_do_not_meet(stores: Stores) -> None:
    one = await scheduled(stores, 1, tenant=Tenant("A"), id=ActorId("x"))
    two = await scheduled(stores, 1, tenant=Tenant("B"), id=ActorId("x"))
    assert await fire(stores, one, 1, 2)
    assert await next_of(stores, two) == at(1)
    assert await stores.mailbox.count(two.key) == 0


async def test_a_deleted_actor_is_not_due(stores: Stores) -> None:
    actor = await scheduled(stores, 1)
    await stores.actors.delete(actor.key)
    assert await stores.cron.due(at(9)) == []
    assert await stores.cron.next_due(NOON) is None
    assert not await fire(stores, actor, 1, 2)


# Calls at the same moment.


async def test_of_many_firers_one_fires(stores: Stores) -> None:
    for _ in ROUNDS:
        actor = await scheduled(stores, 1)
        submissions = [a_submission(actor) for _ in range(6)]
        answers = await asyncio.gather(
            *(
                stores.cron.fire(each, expect_next=at(1), new_next=at(2 + n))
                for n, each in enumerate(submissions)
            ),
            stores.cron.advance(actor.key, expect_next=at(1), new_next=at(99)),
        )
        assert answers.count(True) == 1
        assert await stores.mailbox.count(actor.key) == (not answers[-1])
        winner = answers.index(True)
        assert await next_of(stores, actor) == (at(99) if winner == 6 else at(2 + winner))


@pytest.mark.parametrize("fire_first", [True, False])
async def test_firing_against_an_update_of_the_schedule(stores: Stores, fire_first: bool) -> None:
    for change in (SetCron(None), SetCron(a_cron(next_at=at(50))), SwitchCron(False)):
        for _ in ROUNDS:
            actor = await scheduled(stores, 1)
            calls = [fire(stores, actor, 1, 2), update(stores, actor, cron=change)]
            answers = await asyncio.gather(*(calls if fire_first else reversed(calls)))
            fired, updated = answers if fire_first else reversed(answers)
            assert isinstance(updated, Actor)
            assert await stores.mailbox.count(actor.key) == fired
            present = (await stores.actors.get(actor.key)).cron
            if isinstance(change, SwitchCron):
                assert present is not None
                assert not present.is_on
                assert present.next_at == (at(2) if fired else at(1))
            elif change.cron is None:
                assert present is None
            else:
                assert present is not None
                assert present.next_at == at(50)


async def test_an_update_that_does_not_mention_it_cannot_bring_a_slot_back(stores: Stores) -> None:
    for _ in ROUNDS:
        actor = await scheduled(stores, 1)
        fired, *_ = await asyncio.gather(
            fire(stores, actor, 1, 2),
            update(stores, actor),
            update(stores, actor, cron=SwitchCron(True)),
        )
        assert fired
        assert await next_of(stores, actor) == at(2)


@pytest.mark.parametrize("fire_first", [True, False])
async def test_firing_against_the_end_of_the_actor(stores: Stores, fire_first: bool) -> None:
    for _ in ROUNDS:
        actor = await scheduled(stores, 1)
        submission = a_submission(actor)
        firing = stores.cron.fire(submission, expect_next=at(1), new_next=at(2))
        deleting = stores.actors.delete(actor.key)
        if fire_first:
            fired, _ = await asyncio.gather(firing, deleting)
        else:
            _, fired = await asyncio.gather(deleting, firing)
        assert await ends(stores, actor.key, submission) is fired


async def ends(stores: Stores, key: ActorKey, submission: Submission) -> bool:
    """Tell whether the execution exists; then the delete has ended it."""
    assert await stores.mailbox.count(key) == 0
    try:
        execution = await stores.executions.get(submission.execution.key)
    except AbacoError:
        return False
    assert execution.status is ExecutionStatus.ERROR
    return True
