"""Random steps around the outbox, taken on every backend at once, look the same on each."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.event import EventKey
from abaco.domain.execution import Execution
from abaco.domain.ids import ActorId, ExecutionId, WorkerId
from abaco.domain.worker import WorkerStatus
from abaco.ports.store import Stores
from tests.support.alike import NamedStep, Step, compare, steps
from tests.support.records import (
    a_definition,
    a_message,
    a_worker,
    an_actor,
    an_alias,
    an_error_outcome,
    an_execution,
    an_outcome,
    at,
)
from tests.support.stores import enqueue

HOOK = "https://example.org/"
TARGET = an_actor(id=ActorId("target"))
SOURCES = [
    an_actor(id=ActorId("both"), link="target", webhook=HOOK, webhook_secret="sealed"),
    an_actor(id=ActorId("hooked"), webhook=HOOK),
    an_actor(id=ActorId("linked"), link="target"),
]

sources = st.sampled_from(SOURCES)
anyone = st.sampled_from([*SOURCES, TARGET])
numbers = st.integers(1, 4)
few = st.integers(0, 3)


def _execution(actor: Actor, index: int) -> Execution:
    return an_execution(actor, id=ExecutionId(f"e{index}"), message_received_time=at(index))


def _worker(actor: Actor, index: int) -> Any:
    return a_worker(actor, id=WorkerId(f"w{index}"), status=WorkerStatus.READY)


def _key(actor: Actor, seq: int) -> EventKey:
    return EventKey(actor.tenant, actor.id, seq)


def insert(actor: Actor) -> Step:
    return lambda stores: stores.actors.insert(actor)


def set_status(actor: Actor, status: ActorStatus) -> Step:
    return lambda stores: stores.actors.set_status(
        actor.key, status, "said", expect=set(ActorStatus)
    )


def redefine(actor: Actor, link: str, webhook: str, secret: str | None) -> Step:
    definition = a_definition(link=link, webhook=webhook, webhook_secret=secret)
    return lambda stores: stores.actors.update(actor.key, definition, new_revision=False, now=at(1))


def submit(actor: Actor, index: int, hops: int) -> Step:
    execution = _execution(actor, index)
    message = a_message(execution, hops=hops)
    return lambda stores: enqueue(stores, execution, message)


def run(actor: Actor, index: int) -> Step:
    async def step(stores: Stores) -> Any:
        worker = _worker(actor, index)
        await stores.workers.request(worker, limit=9)
        return await stores.mailbox.claim(worker.key, 1, at(0))

    return step


def start(actor: Actor, index: int) -> Step:
    key = _execution(actor, index).key
    return lambda stores: stores.mailbox.mark_running(key, 1, "c", at(1))


def finalize(actor: Actor, index: int, code: int) -> Step:
    key, outcome = _execution(actor, index).key, an_outcome(exit_code=code)
    return lambda stores: stores.mailbox.finalize(key, 1, outcome, now=at(2))


def release(actor: Actor, index: int) -> Step:
    key = _execution(actor, index).key
    return lambda stores: stores.mailbox.release(key, 1, lost=True)


def purge(actor: Actor) -> Step:
    return lambda stores: stores.mailbox.purge(actor.key, an_error_outcome())


def delete(actor: Actor) -> Step:
    return lambda stores: stores.actors.delete(actor.key)


def deliver_link(actor: Actor, seq: int, index: int) -> Step:
    execution = an_execution(TARGET, id=ExecutionId(f"link{index}"))
    message = a_message(execution, hops=seq)
    return lambda stores: stores.outbox.deliver_link(_key(actor, seq), execution, message)


def drop_link(actor: Actor, seq: int) -> Step:
    return lambda stores: stores.outbox.drop_link(_key(actor, seq))


def make_alias(actor: Actor) -> Step:
    return lambda stores: stores.aliases.insert(an_alias(actor, "alias"))


def drop_alias(actor: Actor) -> Step:
    return lambda stores: stores.aliases.delete(an_alias(actor, "alias").key)


def settle(actor: Actor, seq: int, attempts: int, again: bool) -> Step:
    retry_at = at(attempts) if again else None
    return lambda stores: stores.outbox.settle_webhook(
        _key(actor, seq), attempts, retry_at=retry_at
    )


script = st.lists(
    st.one_of(
        steps(insert, sources),
        steps(set_status, sources, st.sampled_from(ActorStatus)),
        steps(
            redefine,
            sources,
            st.sampled_from(["", "target", "alias", "alias"]),
            st.sampled_from(["", HOOK]),
            st.sampled_from([None, "", "other"]),
        ),
        steps(submit, anyone, few, few),
        steps(run, anyone, few),
        steps(start, anyone, few),
        steps(finalize, anyone, few, few),
        steps(release, anyone, few),
        steps(purge, anyone),
        steps(delete, anyone),
        steps(deliver_link, sources, numbers, few),
        steps(drop_link, sources, numbers),
        steps(make_alias, anyone),
        steps(drop_alias, anyone),
        steps(settle, sources, numbers, st.integers(0, 2), st.booleans()),
    ),
    max_size=30,
)


async def see(stores: Stores) -> dict[str, Any]:
    return {
        "actors": await stores.outbox.with_events(),
        "heads": [await stores.outbox.head(actor.key) for actor in SOURCES],
        "links": [actor.definition.link for actor in await stores.actors.list_actors()],
        "secrets": await stores.webhook_secrets.list_sealed(),
        "queued": await stores.mailbox.count(TARGET.key),
    }


def check(seen: dict[str, Any]) -> None:
    waiting = {head.key.actor for head in seen["heads"] if head is not None}
    assert waiting == set(seen["actors"])


@settings(max_examples=60, deadline=None)
@given(script)
def test_the_outbox_is_alike_everywhere(script: list[NamedStep]) -> None:
    asyncio.run(compare([insert(actor) for actor in (TARGET, *SOURCES)], script, see, check))
