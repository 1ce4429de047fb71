"""Random steps of schedules, taken on every backend at once, must look the same on each."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.cron import CronChange, SetCron, SwitchCron
from abaco.domain.ids import ActorId, ExecutionId, Tenant
from abaco.ports.intake import Room, Submission
from abaco.ports.store import Stores
from tests.support.alike import NamedStep, Step, compare, steps
from tests.support.records import a_cron, a_message, an_actor, an_execution, at

#: few names, so that steps meet
ACTORS = [
    an_actor(id=ActorId("one"), cron=a_cron(next_at=at(0))),
    an_actor(id=ActorId("two")),
    an_actor(id=ActorId("one"), tenant=Tenant("OTHER"), cron=a_cron(next_at=at(1), is_on=False)),
]

actors = st.sampled_from(ACTORS)
slots = st.integers(0, 4)
endings = st.none() | slots
changes = st.one_of(
    st.just(SetCron(None)),
    st.builds(SwitchCron, st.booleans()),
    st.builds(
        lambda next_s, is_on: SetCron(a_cron(next_at=at(next_s), is_on=is_on)),
        slots,
        st.booleans(),
    ),
)


def insert(actor: Actor) -> Step:
    return lambda stores: stores.actors.insert(actor)


def update(actor: Actor, change: CronChange | None) -> Step:
    return lambda stores: stores.actors.update(
        actor.key, actor.definition, new_revision=False, now=at(1), cron=change
    )


def set_status(actor: Actor, status: ActorStatus) -> Step:
    return lambda stores: stores.actors.set_status(
        actor.key, status, "", expect=frozenset(ActorStatus)
    )


def delete(actor: Actor) -> Step:
    return lambda stores: stores.actors.delete(actor.key)


def fire(actor: Actor, name: int, expect: int, new: int | None, most: int | None) -> Step:
    execution = an_execution(actor, id=ExecutionId(f"e{name}"), message_received_time=at(name))
    submission = Submission(execution, a_message(execution))
    return lambda stores: stores.cron.fire(
        submission,
        expect_next=at(expect),
        new_next=None if new is None else at(new),
        room=Room(actor=most),
    )


def fire_due(name: int, new: int | None) -> Step:
    """Fire the first that is due, if one is."""

    async def step(stores: Stores) -> Any:
        due = await stores.cron.due(at(9), limit=1)
        if not due or due[0].cron is None or due[0].cron.next_at is None:
            return None
        expect = (due[0].cron.next_at - at(0)).total_seconds()
        return await fire(due[0], name, int(expect), new, None)(stores)

    return step


def advance(actor: Actor, expect: int, new: int | None) -> Step:
    new_next = None if new is None else at(new)
    return lambda stores: stores.cron.advance(actor.key, expect_next=at(expect), new_next=new_next)


any_steps = st.one_of(
    steps(insert, actors),
    steps(update, actors, st.none() | changes),
    steps(set_status, actors, st.sampled_from(ActorStatus)),
    steps(delete, actors),
    steps(fire, actors, st.integers(0, 9), slots, endings, st.none() | st.integers(0, 2)),
    steps(fire_due, st.integers(0, 9), endings),
    steps(fire_due, st.integers(0, 9), endings),
    steps(advance, actors, slots, endings),
)


async def _view(stores: Stores) -> dict[str, Any]:
    first = await stores.cron.due(at(2), limit=1)
    return {
        "actors": await stores.actors.list_actors(),
        "due": await stores.cron.due(at(2)),
        "rest": await stores.cron.due(at(4), after=first[0]) if first else [],
        "next": [await stores.cron.next_due(at(second)) for second in range(-1, 5)],
        "executions": [await stores.executions.list_executions(actor.key) for actor in ACTORS],
        "counters": await stores.executions.counters(),
    }


def _check(view: dict[str, Any]) -> None:
    """Hold what is true after every step."""
    assert all(actor.cron.next_at <= at(2) for actor in view["due"])
    assert all(actor.status is not ActorStatus.SHUTTING_DOWN for actor in view["due"])


@settings(max_examples=60, deadline=None)
@given(script=st.lists(any_steps, min_size=10, max_size=40))
def test_all_stores_keep_schedules_alike(script: list[NamedStep]) -> None:
    asyncio.run(compare([insert(actor) for actor in ACTORS], script, _view, _check))
