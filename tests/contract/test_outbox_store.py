"""The outbox: events are written with what makes them, and each leg ends once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from abaco.config import Settings
from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.event import Event, EventType
from abaco.domain.execution import HaltReason
from abaco.domain.ids import ActorId
from abaco.domain.worker import WorkerStatus
from abaco.errors import ConflictError, NotFoundError, ThrottledError
from abaco.ports.intake import Room
from abaco.ports.store import Stores
from backends.registry import find_stores
from tests.support.records import (
    NOON,
    SteppedClock,
    a_definition,
    a_message,
    an_actor,
    an_error_outcome,
    an_execution,
    an_outcome,
    at,
    new_id,
)
from tests.support.stores import (
    BACKENDS,
    add_worker,
    check_conservation,
    claim,
    enqueue,
    insert_actor,
    insert_alias,
    leased_run,
    opened,
    submit,
)

HOOK = "https://example.org/hook"
READY, ERROR = ActorStatus.READY, ActorStatus.ERROR


async def listened(stores: Stores, *, link: bool = True, webhook: bool = True) -> Actor:
    """An actor with somebody to tell."""
    target = (await insert_actor(stores)).id if link else ""
    return await insert_actor(stores, link=target, webhook=HOOK if webhook else "")


async def ready(stores: Stores, actor: Actor, status: ActorStatus = READY) -> None:
    assert await stores.actors.set_status(actor.key, status, "said", expect=set(ActorStatus))


async def head(stores: Stores, actor: Actor) -> Event:
    event = await stores.outbox.head(actor.key)
    assert event is not None
    return event


async def drain(stores: Stores, actor: Actor) -> list[Event]:
    """Take all events, in order."""
    events = []
    while (event := await stores.outbox.head(actor.key)) is not None:
        events.append(event)
        if event.is_link_waiting:
            assert await stores.outbox.drop_link(event.key)
        if event.is_webhook_waiting:
            assert await stores.outbox.settle_webhook(event.key, event.attempts, retry_at=None)
    return events


async def test_a_change_of_status_is_an_event(stores: Stores, clock: SteppedClock) -> None:
    actor = await listened(stores)
    now = clock.advance(5)
    await ready(stores, actor)
    assert await head(stores, actor) == Event(
        tenant=actor.tenant,
        actor_id=actor.id,
        seq=1,
        type=EventType.ACTOR_READY,
        time=now,
        details={"status_message": "said"},
        api_server=actor.api_server,
        link=actor.definition.link,
        webhook=HOOK,
        hops=1,
        is_link_waiting=True,
        is_webhook_waiting=True,
        next_attempt_at=now,
    )
    assert await stores.outbox.with_events() == [actor.key]


async def test_only_a_status_that_becomes_another_is_told(stores: Stores) -> None:
    actor = await listened(stores)
    for status in (READY, READY, ERROR, ERROR, ActorStatus.SUBMITTED, READY):
        await ready(stores, actor, status)
    assert not await stores.actors.set_status(actor.key, ERROR, "", expect=set())
    await ready(stores, actor, ActorStatus.SHUTTING_DOWN)
    found = [(event.seq, event.type) for event in await drain(stores, actor)]
    assert found == [(1, "ACTOR_READY"), (2, "ACTOR_ERROR"), (3, "ACTOR_READY")]


async def test_nobody_is_told_when_nobody_listens(stores: Stores) -> None:
    actor = await listened(stores, link=False, webhook=False)
    await ready(stores, actor)
    await submit(stores, actor, 2)
    await stores.mailbox.purge(actor.key, an_error_outcome())
    assert await stores.outbox.head(actor.key) is None
    assert await stores.outbox.with_events() == []


async def test_whoever_listens_at_that_moment_is_told(stores: Stores) -> None:
    actor = await listened(stores, link=False, webhook=False)
    await ready(stores, actor)
    definition = a_definition(webhook=HOOK)
    await stores.actors.update(actor.key, definition, new_revision=False, now=at(1))
    await ready(stores, actor, ERROR)
    await stores.actors.update(actor.key, a_definition(), new_revision=False, now=at(2))
    await ready(stores, actor, READY)
    (event,) = await drain(stores, actor)
    assert (event.type, event.seq, event.webhook) == ("ACTOR_ERROR", 1, HOOK)


async def test_the_end_of_a_run_is_an_event_with_the_hops_of_its_message(stores: Stores) -> None:
    actor = await listened(stores, link=False)
    worker = await add_worker(stores, actor)
    execution = an_execution(actor)
    await enqueue(stores, execution, a_message(execution, hops=4))
    taken = await claim(stores, worker)
    assert taken.message.hops == 4
    assert await stores.mailbox.mark_running(execution.key, 1, "c", NOON)
    assert await stores.outbox.head(actor.key) is None  # starts are not told
    assert await stores.mailbox.finalize(execution.key, 1, an_outcome(exit_code=7), now=at(3))
    event = await head(stores, actor)
    assert (event.type, event.hops) == ("EXECUTION_COMPLETE", 5)
    assert event.details == {"execution_id": execution.id, "status": "COMPLETE", "exit_code": 7}
    assert (event.is_link_waiting, event.is_webhook_waiting) == (False, True)


async def test_a_late_finalize_tells_nothing(stores: Stores) -> None:
    actor, _, taken = await leased_run(stores, webhook=HOOK)
    key = taken.execution.key
    assert await stores.mailbox.finalize(key, 1, an_outcome(), now=NOON)
    assert not await stores.mailbox.finalize(key, 1, an_outcome(), now=NOON)
    assert not await stores.mailbox.finalize(key, 2, an_outcome(), now=NOON)
    assert len(await drain(stores, actor)) == 1


async def test_purged_messages_are_told_in_their_order(stores: Stores) -> None:
    actor = await listened(stores)
    executions = [each.id for each in await submit(stores, actor, 4)]
    await stores.mailbox.purge(actor.key, an_error_outcome("purged"))
    events = await drain(stores, actor)
    assert [event.details["execution_id"] for event in events] == executions
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert {event.details["status"] for event in events} == {"ERROR"}


async def test_a_release_tells_only_when_it_ends_the_execution(stores: Stores) -> None:
    actor, worker, taken = await leased_run(stores, webhook=HOOK)
    key = taken.execution.key
    assert await stores.mailbox.release(key, 1, lost=False)
    assert await stores.outbox.head(actor.key) is None
    await claim(stores, worker)
    await stores.mailbox.mark_running(key, 2, "c", NOON)
    await stores.executions.request_halt(key, HaltReason.FORCE_QUIT)
    assert await stores.mailbox.release(key, 2, lost=True)
    (event,) = await drain(stores, actor)
    assert event.details == {"execution_id": key.id, "status": "ERROR", "exit_code": None}


async def test_what_waits_for_an_alias_goes_with_it(stores: Stores) -> None:
    target = await insert_actor(stores)
    alias = await insert_alias(stores, target, "mine")
    both = await insert_actor(stores, link="mine", webhook=HOOK, webhook_secret="sealed")
    linked = await insert_actor(stores, link="mine")
    moved = await insert_actor(stores, link="mine")
    other = await insert_actor(stores, link=target.id)
    for actor in (both, linked, moved, other):
        await ready(stores, actor)
    # events keep the link they were made with
    await stores.actors.update(
        moved.key, a_definition(link=target.id), new_revision=False, now=at(1)
    )
    await ready(stores, moved, ERROR)
    await stores.aliases.delete(alias.key)
    assert await stores.outbox.with_events() == sorted([both.key, moved.key, other.key])
    (left,) = await drain(stores, both)
    assert (left.is_link_waiting, left.is_webhook_waiting, left.target) == (False, True, None)
    assert left.webhook_secret == "sealed"
    (event,) = await drain(stores, moved)
    assert (event.type, event.link) == ("ACTOR_ERROR", target.id)
    assert len(await drain(stores, other)) == 1
    await ready(stores, linked, ERROR)  # nobody listens any more
    assert await stores.outbox.head(linked.key) is None


async def test_a_secret_goes_with_the_last_event_that_waited_for_an_alias(stores: Stores) -> None:
    alias = await insert_alias(stores, await insert_actor(stores), "mine")
    actor = await insert_actor(stores, link="mine", webhook=HOOK, webhook_secret="sealed")
    await ready(stores, actor)
    event = await head(stores, actor)
    assert await stores.outbox.settle_webhook(event.key, 0, retry_at=None)
    await stores.actors.delete(actor.key)
    assert len(await stores.webhook_secrets.list_sealed()) == 1
    await stores.aliases.delete(alias.key)
    assert await stores.webhook_secrets.list_sealed() == []
    assert not await stores.outbox.drop_link(event.key)


async def test_events_outlive_their_actor_with_what_its_delete_ends(stores: Stores) -> None:
    actor = await insert_actor(stores, webhook=HOOK, webhook_secret="sealed")
    await ready(stores, actor)
    await submit(stores, actor, 2)
    await stores.actors.delete(actor.key)
    await stores.actors.delete(actor.key)
    events = await drain(stores, actor)
    assert [event.type for event in events] == [
        "ACTOR_READY", "EXECUTION_COMPLETE", "EXECUTION_COMPLETE",
    ]  # fmt: skip
    assert {event.webhook_secret for event in events} == {"sealed"}
    # the secret went with the last of them
    await stores.actors.insert(an_actor(id=actor.id, webhook=HOOK))
    await ready(stores, actor)
    assert (await head(stores, actor)).webhook_secret == ""


@pytest.mark.parametrize(("then", "kept"), [(None, "sealed"), ("", ""), ("resealed", "resealed")])
async def test_a_secret_is_kept_removed_or_replaced_and_never_shown(
    stores: Stores, then: str | None, kept: str
) -> None:
    actor = await insert_actor(stores, webhook=HOOK, webhook_secret="sealed")
    assert (await stores.actors.get(actor.key)).definition.webhook_secret is None
    changed = await stores.actors.update(
        actor.key, a_definition(webhook=HOOK, webhook_secret=then), new_revision=False, now=at(1)
    )
    assert changed.definition.webhook_secret is None
    await ready(stores, actor)
    assert (await head(stores, actor)).webhook_secret == kept
    (listed,) = await stores.actors.list_actors()
    assert "sealed" not in repr(listed)


async def test_a_refused_update_leaves_the_secret(stores: Stores) -> None:
    actor = await insert_actor(stores, webhook=HOOK, webhook_secret="sealed")
    with pytest.raises(ConflictError):
        await stores.actors.update(
            actor.key,
            a_definition(webhook=HOOK, webhook_secret=""),
            new_revision=False,
            now=at(1),
            expect_revision=9,
        )
    await ready(stores, actor)
    assert (await head(stores, actor)).webhook_secret == "sealed"


async def test_a_link_leg_submits_and_ends_in_one_step(stores: Stores) -> None:
    actor = await listened(stores)
    target = await stores.actors.get((await insert_actor(stores)).key)
    await ready(stores, actor)
    event = await head(stores, actor)
    execution = an_execution(target)
    message = a_message(execution, body={"event_type": "ACTOR_READY"}, hops=1)
    assert await stores.outbox.deliver_link(event.key, execution, message)
    left = await head(stores, actor)
    assert (left.is_link_waiting, left.is_webhook_waiting, left.target) == (False, True, target.id)
    assert await stores.mailbox.count(target.key) == 1
    again = an_execution(target)
    assert not await stores.outbox.deliver_link(event.key, again, a_message(again))
    assert not await stores.outbox.drop_link(event.key)
    assert await stores.mailbox.count(target.key) == 1
    taken = await claim(stores, await add_worker(stores, target))
    assert (taken.message.body, taken.message.hops) == ({"event_type": "ACTOR_READY"}, 1)


async def test_a_refused_link_message_leaves_the_leg(stores: Stores) -> None:
    actor = await listened(stores, webhook=False)
    await ready(stores, actor)
    event = await head(stores, actor)
    gone = an_execution(an_actor())
    with pytest.raises(NotFoundError):
        await stores.outbox.deliver_link(event.key, gone, a_message(gone))
    leaving = await insert_actor(stores, status=ActorStatus.SHUTTING_DOWN)
    late = an_execution(leaving)
    with pytest.raises(ConflictError):
        await stores.outbox.deliver_link(event.key, late, a_message(late))
    full = await insert_actor(stores)
    await submit(stores, full)
    more = an_execution(full)
    with pytest.raises(ThrottledError):
        await stores.outbox.deliver_link(event.key, more, a_message(more), room=Room(actor=1))
    assert await stores.mailbox.count(full.key) == 1
    assert await head(stores, actor) == event
    assert await stores.outbox.drop_link(event.key)
    assert await stores.outbox.head(actor.key) is None
    assert not await stores.outbox.drop_link(event.key)


async def test_a_webhook_leg_counts_requests_until_it_ends(stores: Stores) -> None:
    actor = await listened(stores, link=False)
    await ready(stores, actor)
    key = (await head(stores, actor)).key
    assert await stores.outbox.settle_webhook(key, 0, retry_at=at(9))
    event = await head(stores, actor)
    assert (event.attempts, event.next_attempt_at) == (1, at(9))
    assert not await stores.outbox.settle_webhook(key, 0, retry_at=at(99))
    assert not await stores.outbox.settle_webhook(key, 0, retry_at=None)
    assert await head(stores, actor) == event
    assert await stores.outbox.settle_webhook(key, 1, retry_at=None)
    assert await stores.outbox.head(actor.key) is None
    assert not await stores.outbox.settle_webhook(key, 2, retry_at=None)


async def test_an_event_waits_for_both_its_legs(stores: Stores) -> None:
    actor = await listened(stores)
    await ready(stores, actor)
    event = await head(stores, actor)
    assert await stores.outbox.settle_webhook(event.key, 0, retry_at=None)
    left = await head(stores, actor)
    assert (left.is_link_waiting, left.is_webhook_waiting) == (True, False)
    assert await stores.outbox.drop_link(event.key)
    assert await stores.outbox.head(actor.key) is None


async def test_actors_with_events_are_found_among_those_asked_for(stores: Stores) -> None:
    first, second, third = [await listened(stores) for _ in range(3)]
    for actor in (first, second):
        await ready(stores, actor)
    assert set(await stores.outbox.with_events()) == {first.key, second.key}
    assert await stores.outbox.with_events([third.key]) == []
    assert await stores.outbox.with_events([third.key, second.key, second.key]) == [second.key]
    assert await stores.outbox.with_events([]) == []


async def test_events_of_absent_actors_are_none(stores: Stores) -> None:
    actor = an_actor()
    assert await stores.outbox.head(actor.key) is None
    key = (await listened(stores)).key
    assert await stores.outbox.head(key) is None


# Races.


async def test_of_many_deliveries_of_one_link_leg_one_submits(stores: Stores) -> None:
    actor = await listened(stores)
    target = await insert_actor(stores)
    await ready(stores, actor)
    key = (await head(stores, actor)).key
    made = [an_execution(target) for _ in range(8)]
    answers = await asyncio.gather(
        *(stores.outbox.deliver_link(key, each, a_message(each)) for each in made),
        *(stores.outbox.drop_link(key) for _ in range(2)),
    )
    assert sorted(answers) == [False] * 9 + [True]
    assert await stores.mailbox.count(target.key) == 1


async def test_of_many_settlements_of_one_request_one_counts(stores: Stores) -> None:
    actor = await listened(stores, link=False)
    await ready(stores, actor)
    key = (await head(stores, actor)).key
    answers = await asyncio.gather(
        *(stores.outbox.settle_webhook(key, 0, retry_at=at(n)) for n in range(8)),
        *(stores.outbox.settle_webhook(key, 0, retry_at=None) for _ in range(2)),
    )
    assert sum(answers) == 1


async def test_of_many_finalizes_one_tells(stores: Stores) -> None:
    actor, _, taken = await leased_run(stores, webhook=HOOK)
    key = taken.execution.key
    await asyncio.gather(
        *(stores.mailbox.finalize(key, 1, an_outcome(), now=NOON) for _ in range(5)),
        *(stores.mailbox.release(key, 1, lost=True) for _ in range(2)),
        *(stores.actors.set_status(actor.key, READY, " ", expect=set(ActorStatus)) for _ in "abc"),
    )
    types = [event.type for event in await drain(stores, actor)]
    assert types.count(EventType.EXECUTION_COMPLETE) == 1
    assert types.count(EventType.ACTOR_READY) == 1


async def test_numbers_have_no_gaps_whoever_writes_at_once(stores: Stores) -> None:
    actor = await listened(stores, link=False)
    workers = [await add_worker(stores, actor) for _ in range(6)]
    await submit(stores, actor, 12)
    runs = [(await claim(stores, worker)).execution for worker in workers]
    await asyncio.gather(
        *(stores.mailbox.finalize(run.key, 1, an_outcome(), now=NOON) for run in runs),
        stores.mailbox.purge(actor.key, an_error_outcome()),
        ready(stores, actor),
    )
    events = await drain(stores, actor)
    assert [event.seq for event in events] == list(range(1, 14))


@pytest.fixture(params=BACKENDS)
async def telling(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """Stores that tell of starts, and not of errors."""
    settings = Settings.model_validate(
        {
            "general": {"data_dir": tmp_path},
            "store": {"backend": request.param},
            "runtime": {"emit_started": True, "emit_error_completions": False},
        }
    )
    async with find_stores(request.param)(settings, SteppedClock()) as stores:
        yield stores
        await check_conservation(stores)


async def test_the_settings_say_what_is_told(telling: Stores) -> None:
    actor, worker, taken = await leased_run(telling, webhook=HOOK)
    key = taken.execution.key
    await telling.mailbox.mark_running(key, 1, "c", NOON)
    await telling.mailbox.mark_running(key, 1, "c", NOON)  # the same call again
    await telling.mailbox.finalize(key, 1, an_outcome(), now=NOON)
    await submit(telling, actor, 2)
    await telling.mailbox.purge(actor.key, an_error_outcome())
    assert [event.type for event in await drain(telling, actor)] == [
        "EXECUTION_STARTED", "EXECUTION_COMPLETE",
    ]  # fmt: skip
    assert worker.status is WorkerStatus.READY


@pytest.mark.parametrize("backend", ["sqlite"])
async def test_events_survive_a_restart(backend: str, tmp_path: Path) -> None:
    async with opened(backend, tmp_path, SteppedClock()) as stores:
        actor = await insert_actor(
            stores, link=(await insert_actor(stores)).id, webhook=HOOK, webhook_secret=new_id()
        )
        await ready(stores, actor)
        before = await head(stores, actor)
        await stores.outbox.settle_webhook(before.key, 0, retry_at=at(5))
        before = await head(stores, actor)
    async with opened(backend, tmp_path, SteppedClock()) as stores:
        assert await stores.outbox.with_events() == [actor.key]
        assert await head(stores, actor) == before
        await ready(stores, actor, ERROR)
        assert [event.seq for event in await drain(stores, actor)] == [1, 2]


async def test_a_rotation_finds_every_secret_and_loses_no_newer_one(stores: Stores) -> None:
    secrets = stores.webhook_secrets
    assert secrets in stores.sealed
    keys = [
        (await insert_actor(stores, id=ActorId(name), tenant=tenant, webhook_secret=name)).key
        for name, tenant in (("b", "T 1"), ("a", "T 2"), ("a", "T 1"), ("ab", "T"), ("a0", "T"))
    ]
    await insert_actor(stores)
    found, after = [], None
    while page := await secrets.list_sealed(after=after, limit=2):
        found += page
        after = page[-1].place
    assert sorted(sealed.ciphertext for sealed in found) == sorted(key.id for key in keys)
    assert len({sealed.place for sealed in found}) == 5
    first, second = found[:2]
    assert await secrets.reseal(first, "new")
    assert not await secrets.reseal(first, "newer")
    assert (await secrets.list_sealed(limit=1))[0].ciphertext == "new"
    for key in keys:
        await stores.actors.delete(key)
    assert not await secrets.reseal(second, "late")
    assert await secrets.list_sealed() == []
