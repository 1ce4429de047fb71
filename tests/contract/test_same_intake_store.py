"""Random steps of the way in, taken on every backend at once, must look the same on each."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from abaco.domain.actor import Actor
from abaco.domain.ids import ActorId, ExecutionId, Tenant
from abaco.ports.intake import RetryKey, Room, Submission
from abaco.ports.store import Stores
from tests.support.alike import NamedStep, Step, compare, steps
from tests.support.records import (
    TENANT,
    a_message,
    a_retry_key,
    an_actor,
    an_error_outcome,
    an_execution,
    at,
)

#: few names, so that steps meet
ACTORS = [
    an_actor(id=ActorId("one")),
    an_actor(id=ActorId("two")),
    an_actor(id=ActorId("one"), tenant=Tenant("OTHER")),
]

actors = st.sampled_from(ACTORS)
limits = st.none() | st.integers(0, 6)
rooms = st.builds(Room, before=limits, actor=limits, tenant=limits)
keys = st.builds(
    lambda text, user, digest, second: a_retry_key(
        text, user=user, digest=digest, expires_at=at(second)
    ),
    st.sampled_from(["k", "K", "l"]),
    st.sampled_from(["jane", "joe"]),
    st.sampled_from("ab"),
    st.integers(0, 5),
)


def take(actor: Actor, ids: list[int], second: int, room: Room, key: RetryKey | None) -> Step:
    executions = [
        an_execution(actor, id=ExecutionId(f"e{n}"), message_received_time=at(n)) for n in ids
    ]
    batch = [Submission(execution, a_message(execution)) for execution in executions]
    return lambda stores: stores.intake.submit(batch, now=at(second), room=room, key=key)


def purge(actor: Actor) -> Step:
    return lambda stores: stores.mailbox.purge(actor.key, an_error_outcome())


def delete(actor: Actor) -> Step:
    return lambda stores: stores.actors.delete(actor.key)


def insert(actor: Actor) -> Step:
    return lambda stores: stores.actors.insert(actor)


def expire(second: int, limit: int) -> Step:
    return lambda stores: stores.intake.expire(at(second), limit=limit)


seconds = st.integers(0, 6)
batches = st.lists(st.integers(0, 40), min_size=1, max_size=4)
any_steps = st.one_of(
    steps(take, actors, batches, seconds, rooms, st.none() | keys),
    steps(take, actors, batches, seconds, st.just(Room()), keys),
    steps(purge, actors),
    steps(delete, actors),
    steps(insert, actors),
    steps(expire, seconds, st.integers(1, 2)),
)


async def _view(stores: Stores) -> dict[str, Any]:
    return {
        "backlog": dict(await stores.mailbox.backlog()),
        "counters": await stores.executions.counters(),
        "waiting": [await stores.intake.waiting(each) for each in (TENANT, Tenant("OTHER"))],
        **{f"{actor.key}": await stores.executions.list_executions(actor.key) for actor in ACTORS},
    }


@settings(max_examples=60, deadline=None)
@given(script=st.lists(any_steps, min_size=5, max_size=40))
def test_all_stores_answer_alike(script: list[NamedStep]) -> None:
    opening = [insert(actor) for actor in ACTORS]
    asyncio.run(compare(opening, script, _view, lambda view: None))
