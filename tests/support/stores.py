"""Steps that many tests of stores take, and the check that no message got lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from abaco.config import Settings
from abaco.domain.actor import Actor
from abaco.domain.actor_config import ActorConfig
from abaco.domain.alias import Alias
from abaco.domain.execution import Execution
from abaco.domain.message import Message
from abaco.domain.nonce import Nonce
from abaco.domain.permission import ObjectKey
from abaco.domain.worker import Worker, WorkerStatus
from abaco.ports.clock import Clock
from abaco.ports.intake import Room, Submission
from abaco.ports.store import Claim, Stores
from backends.registry import find_stores
from tests.support.records import (
    NOON,
    a_config,
    a_message,
    a_nonce,
    a_worker,
    an_actor,
    an_alias,
    an_execution,
    at,
)

BACKENDS = ("memory", "sqlite")


def store_settings(directory: Path, **store: Any) -> Settings:
    """Settings of an instance whose files are all in one directory."""
    return Settings.model_validate({"general": {"data_dir": directory}, "store": store})


@asynccontextmanager
async def opened(backend: str, directory: Path, clock: Clock) -> AsyncIterator[Stores]:
    """Open the stores of a backend in a directory."""
    settings = store_settings(directory, backend=backend)
    async with find_stores(backend)(settings, clock) as stores:
        yield stores


async def insert_actor(stores: Stores, **fields: Any) -> Actor:
    """Register an actor."""
    actor = an_actor(**fields)
    await stores.actors.insert(actor)
    return actor


async def insert_alias(
    stores: Stores, actor: Actor, alias: str = "counter", **fields: Any
) -> Alias:
    """Make an alias of an actor."""
    made = an_alias(actor, alias, **fields)
    await stores.aliases.insert(made)
    return made


async def insert_nonce(stores: Stores, target: ObjectKey, **fields: Any) -> Nonce:
    """Make a nonce for an actor or alias."""
    nonce = a_nonce(target, **fields)
    await stores.nonces.insert(nonce)
    return nonce


async def insert_config(
    stores: Stores, actors: str, name: str = "settings", **fields: Any
) -> ActorConfig:
    """Make a config that lists these actors."""
    config = a_config(actors, name, **fields)
    await stores.configs.insert(config)
    return config


async def enqueue(
    stores: Stores, execution: Execution, message: Message, *, max_queued: int | None = None
) -> None:
    """Queue one message, if no more than that wait."""
    room = Room(before=max_queued)
    await stores.intake.submit([Submission(execution, message)], now=message.enqueued_at, room=room)


async def submit(stores: Stores, actor: Actor, count: int = 1) -> list[Execution]:
    """Queue messages, a second apart, with their number as the body."""
    executions = [an_execution(actor, message_received_time=at(n)) for n in range(count)]
    for number, execution in enumerate(executions):
        await enqueue(stores, execution, a_message(execution, body=number))
    return executions


def a_batch(actor: Actor, count: int = 1) -> list[Submission]:
    """Build messages with their executions, numbered by their bodies."""
    executions = [an_execution(actor, message_received_time=at(n)) for n in range(count)]
    return [
        Submission(execution, a_message(execution, body=number))
        for number, execution in enumerate(executions)
    ]


async def add_worker(
    stores: Stores, actor: Actor, status: WorkerStatus = WorkerStatus.READY, **fields: Any
) -> Worker:
    """Add a worker record, beyond any limit."""
    worker = a_worker(actor, status=status, **fields)
    assert await stores.workers.request(worker, limit=10**6)
    return worker


async def claim(stores: Stores, worker: Worker) -> Claim:
    """Claim a message that must be there."""
    taken = await stores.mailbox.claim(worker.key, worker.revision, NOON)
    assert isinstance(taken, Claim), taken
    return taken


async def leased_run(stores: Stores, **fields: Any) -> tuple[Actor, Worker, Claim]:
    """Bring an actor, a worker and a message it holds into being."""
    actor = await insert_actor(stores, **fields)
    worker = await add_worker(stores, actor)
    await submit(stores, actor)
    return actor, worker, await claim(stores, worker)


async def check_conservation(stores: Stores) -> None:
    """Hold the counters against what can be listed."""
    counters = await stores.executions.counters()
    assert counters.accepted == counters.queued + counters.leased + counters.final, counters
    backlog = await stores.mailbox.backlog()
    assert counters.queued == sum(backlog.values())
    for tenant in {actor.tenant for actor in backlog}:
        waiting = sum(count for actor, count in backlog.items() if actor.tenant == tenant)
        assert await stores.intake.waiting(tenant) == waiting
    assert counters.leased == len(await stores.executions.list_leased())
    await check_usage(stores)


async def check_usage(stores: Stores) -> None:
    """Hold the numbers about the whole instance against the records they count."""
    usage = await stores.usage.totals()
    actors = await stores.actors.list_actors(limit=10**6)
    totals = [await stores.executions.totals(actor.key) for actor in actors]
    assert usage.existing.actors == len(actors)
    assert usage.existing.used_actors == sum(each.count > 0 for each in totals)
    for name in ("count", "cpu_ns", "io_bytes"):
        summed = sum(getattr(each, name) for each in totals)
        assert getattr(usage.existing.executions, name) == summed
        assert getattr(usage.ever.executions, name) >= summed
    accepted = (await stores.executions.counters()).accepted
    days = await stores.usage.list_days(limit=10**6)
    assert usage.ever.executions.count == accepted == sum(day.executions for day in days)
    assert usage.ever.actors == sum(day.actors for day in days)
    workers = await stores.workers.list_workers()
    assert await stores.usage.list_workers(limit=10**6) == workers
    assert await stores.usage.count_workers() == Counter(
        (each.queue, each.status) for each in workers
    )
    assert await stores.usage.count_served() == len({each.key.actor for each in workers})
    backlog = dict(await stores.mailbox.backlog())
    assert await stores.usage.deepest(10**6) == backlog
    tenants = Counter[str]()
    for key, queued in backlog.items():
        tenants[key.tenant] += queued
    assert await stores.usage.deepest_tenants(10**6) == tenants
