"""No cost grows with history: what every statement reads, and how much work it is."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from abaco.config import Settings
from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.actor_config import ConfigKey
from abaco.domain.cron import SetCron
from abaco.domain.execution import HaltReason
from abaco.domain.permission import Level, ObjectKind
from abaco.domain.worker import WorkerStatus
from abaco.errors import ForbiddenError
from abaco.ports.intake import Room, Submission
from abaco.ports.store import Stores
from backends.blobs import open_passing_blobs
from backends.stores.sqlite import make_stores
from backends.stores.sqlite.database import Database, connect, open_database
from tests.support.records import (
    NOON,
    SteppedClock,
    a_cron,
    a_definition,
    a_message,
    a_retry_key,
    a_worker,
    an_actor,
    an_audit_record,
    an_error_outcome,
    an_execution,
    an_outcome,
    at,
    execution_key,
    new_id,
)
from tests.support.stores import (
    a_batch,
    add_worker,
    claim,
    enqueue,
    insert_actor,
    insert_alias,
    insert_config,
    insert_nonce,
    submit,
)

#: whole tables or indexes that may be walked, because they hold what is live now or is asked for
MAY_WALK = {
    "SCAN counters",  # one row
    "SCAN instance",  # one row
    "SCAN executions USING INDEX executions_leased",  # what runs now
    "SCAN mailboxes USING COVERING INDEX mailboxes_deepest",  # actors with waiting messages
    "SCAN tenant_mailboxes USING COVERING INDEX tenant_mailboxes_deepest",  # a page of them
    "SCAN usage",  # two rows
    "SCAN usage_days",  # a page, the latest first
    "SCAN worker_counts",  # a row per status
    "SCAN workers USING COVERING INDEX sqlite_autoindex_workers_1",  # goes with a list of all
    "SCAN (subquery-1)",  # of that one
    "SCAN a USING INDEX actors_all",  # a page, in the index's order
    "SCAN workers USING INDEX workers_all",  # all workers were asked for
    "SCAN actors USING INDEX actors_all",  # a page, in the index's order
    "SCAN outbox",  # all that waits was asked for, at the start
}

#: sorting is for the handful of workers of one actor only
MAY_SORT = "FROM workers WHERE tenant"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "abaco.db", 30.0) as database:
        yield database


@pytest.fixture
async def stores(database: Database) -> AsyncIterator[Stores]:
    settings = Settings(runtime={"emit_started": True})
    async with open_passing_blobs(SteppedClock()) as blobs:
        yield make_stores(database, blobs, settings, SteppedClock())


def _trace(connection: sqlite3.Connection, callback: Callable[[str], object] | None) -> None:
    connection.set_trace_callback(callback)


async def _lists(stores: Stores, actor: Actor) -> None:
    for after in (None, actor):
        await stores.actors.list_actors(after=after, limit=2)
    await stores.actors.get(actor.key)
    await stores.actors.get_many([actor.key, an_actor().key])
    executions = await stores.executions.list_executions(actor.key, limit=1)
    await stores.executions.list_executions(actor.key, after=executions[0])
    await stores.executions.list_leased()
    await stores.executions.totals(actor.key)
    await stores.executions.counters()
    await stores.workers.list_workers()
    await stores.workers.list_workers(actor.key)
    await stores.mailbox.count(actor.key)
    await stores.mailbox.backlog()
    await stores.instance.ping()
    await _usage(stores, actor)


async def _usage(stores: Stores, actor: Actor) -> None:
    await stores.usage.totals()
    await stores.usage.list_days(limit=2)
    await stores.usage.count_workers()
    await stores.usage.count_served()
    await stores.usage.deepest(2)
    await stores.usage.deepest_tenants(2)
    (worker, *_) = await stores.usage.list_workers(limit=2)
    await stores.usage.list_workers(after=worker, limit=2)
    await stores.usage.list_actors(limit=2)
    await stores.usage.list_actors(after=actor, limit=2)


async def _audit(stores: Stores) -> None:
    await stores.audit.append(an_audit_record())
    await stores.audit.list_records(after=1, limit=2)
    await stores.audit.list_records(since=NOON, limit=2)
    await stores.audit.expire(at(1), limit=2)


async def _sharing(stores: Stores, actor: Actor) -> None:
    """Share an actor; an alias with all that belongs to it is left for the actor's delete."""
    alias, other = [await insert_alias(stores, actor, name) for name in ("one", "two")]
    await stores.aliases.get(alias.key)
    await stores.aliases.repoint(alias.key, actor.id)
    await stores.aliases.list_aliases(actor.tenant)
    await stores.aliases.of_actor(actor.key)
    await stores.permissions.grant(actor.key.shared, "joe", Level.READ)
    await stores.permissions.levels(alias.shared)
    await stores.permissions.visible(ObjectKind.ACTOR, actor.tenant, "joe")
    nonce, left = [await insert_nonce(stores, alias.shared) for _ in range(2)]
    await stores.nonces.get(nonce.id)
    await stores.nonces.list_nonces(alias.shared)
    await stores.nonces.redeem(nonce.id, alias.shared, Level.READ, NOON)
    with pytest.raises(ForbiddenError):
        await stores.nonces.redeem(left.id, alias.shared, Level.UPDATE, NOON)
    await stores.nonces.delete(nonce.id)
    linked = await insert_actor(stores, link="two")
    await stores.actors.set_status(linked.key, ActorStatus.READY, "", expect=set(ActorStatus))
    await stores.aliases.delete(other.key)
    await stores.actors.delete(linked.key)


async def _configure(stores: Stores, actor: Actor) -> None:
    """Give an actor configs; two are left for the deletes of alias and actor."""
    alias = await insert_alias(stores, actor, "three")
    config, other = [
        await insert_config(stores, f"{actor.id},three", name, is_secret=True)
        for name in ("one", "two")
    ]
    await insert_config(stores, actor.id, "three")
    await stores.configs.get(config.key)
    await stores.configs.list_names(actor.tenant)
    await stores.configs.get_many(actor.tenant, ["one", "two"])
    await stores.configs.replace(config.key, value="x", is_secret=True, actors=actor.id)
    assert len(await stores.configs.of_actor(actor.key, max_bytes=99)) == 3
    (sealed,) = await stores.configs.list_sealed(limit=1)
    assert await stores.configs.reseal(sealed, "y")
    await stores.configs.delete(other.key)
    await stores.aliases.delete(alias.key)


async def _take_in(stores: Stores, actor: Actor) -> None:
    """Accept a batch, a repeat of it, and forget its key."""
    for _ in range(2):
        await stores.intake.submit(
            a_batch(actor, 2), now=NOON, room=Room(actor=99, tenant=99), key=a_retry_key()
        )
    await stores.intake.waiting(actor.tenant)
    await stores.intake.expire(at(9999))


async def _schedule(stores: Stores, actor: Actor) -> None:
    """Give the actor a schedule, fire once and pass over once."""
    cron = a_cron(next_at=at(1))
    await stores.actors.update(
        actor.key, actor.definition, new_revision=False, now=NOON, cron=SetCron(cron)
    )
    assert await stores.cron.next_due(NOON) == at(1)
    (due,) = await stores.cron.due(at(9))
    assert await stores.cron.due(at(9), after=due) == []
    (submission,) = a_batch(actor)
    assert await stores.cron.fire(submission, expect_next=at(1), new_next=at(2))
    assert await stores.cron.advance(actor.key, expect_next=at(2), new_next=at(3))


async def _everything(stores: Stores) -> None:
    """Call every method of every port, each with effect."""
    actor = await insert_actor(stores)
    await submit(stores, actor, 5)
    worker, other = [
        await add_worker(stores, actor, WorkerStatus.REQUESTED, create_time=at(n)) for n in range(2)
    ]
    await stores.workers.set_status(worker.key, WorkerStatus.READY, expect=set(WorkerStatus))
    run = (await claim(stores, worker)).execution
    await stores.mailbox.mark_running(run.key, 1, "c", NOON)
    await stores.executions.request_halt(run.key, HaltReason.FORCE_QUIT)
    await _lists(stores, actor)
    await _sharing(stores, actor)
    await _configure(stores, actor)
    await _audit(stores)
    await stores.mailbox.release(run.key, 1, lost=True)
    run = (await claim(stores, worker)).execution
    await stores.logs.append(run.key, 0, b"abc", max_bytes=9, expires_at=at(1))
    await stores.logs.append(run.key, 3, b"def", max_bytes=9, expires_at=at(1))
    await stores.logs.read(run.key, 4)
    await stores.logs.expire(at(2))
    await stores.logs.clear(run.key)
    await stores.results.push(run.key, 0, [b"x"], expires_at=at(5))
    await stores.results.pop(run.key, NOON)
    await stores.results.clear(run.key)
    await stores.results.expire(at(9))
    await stores.mailbox.finalize(run.key, 2, an_outcome(), now=NOON)
    await _take_in(stores, actor)
    await _schedule(stores, actor)
    await stores.executions.get(run.key)
    await stores.workers.get(worker.key)
    await stores.workers.touch([worker.key], NOON)
    await stores.mailbox.purge(actor.key, an_error_outcome())
    await stores.workers.retire_idle(worker.key, revocable=True)
    await stores.workers.delete(other.key)
    await stores.actors.set_status(actor.key, ActorStatus.READY, "", expect=set(ActorStatus))
    await stores.actors.set_state(actor.key, 1)
    await stores.actors.update(actor.key, a_definition(), new_revision=True, now=NOON)
    await stores.actors.delete(actor.key)
    await _events(stores)
    epoch = await stores.instance.acquire("one", NOON, 5)
    await stores.instance.heartbeat(epoch, NOON, 5)
    await stores.instance.release(epoch)


async def _events(stores: Stores) -> None:
    """Let things happen to an actor that is listened to, and tell of them."""
    target = await insert_actor(stores)
    await insert_alias(stores, target, "target")
    actor = await insert_actor(
        stores,
        link="target",
        webhook="https://example.org/",
        webhook_secret="sealed",
    )
    await stores.actors.set_status(actor.key, ActorStatus.READY, "", expect=set(ActorStatus))
    await submit(stores, actor, 2)
    run = (await claim(stores, await add_worker(stores, actor))).execution
    await stores.mailbox.mark_running(run.key, 1, "c", NOON)
    await stores.mailbox.finalize(run.key, 1, an_outcome(), now=NOON)
    (sealed,) = await stores.webhook_secrets.list_sealed(limit=5)
    assert await stores.webhook_secrets.reseal(sealed, "anew")
    assert await stores.webhook_secrets.list_sealed(after=sealed.place) == []
    definition = a_definition(webhook="https://example.org/", webhook_secret="")
    await stores.actors.update(actor.key, definition, new_revision=False, now=NOON)
    await stores.actors.delete(actor.key)
    assert await stores.outbox.with_events() == [actor.key]
    assert await stores.outbox.with_events([actor.key, target.key]) == [actor.key]
    is_first = True
    while (event := await stores.outbox.head(actor.key)) is not None:
        execution = an_execution(target)
        if event.is_link_waiting and is_first:
            await stores.outbox.deliver_link(event.key, execution, a_message(execution))
        elif event.is_link_waiting:
            await stores.outbox.drop_link(event.key)
        await stores.outbox.settle_webhook(event.key, 0, retry_at=NOON)
        await stores.outbox.settle_webhook(event.key, 1, retry_at=None)
        is_first = False


async def test_no_statement_of_any_method_walks_a_table(
    stores: Stores, database: Database, tmp_path: Path
) -> None:
    statements: list[str] = []
    await database.write(_trace, statements.append)
    await database.read(_trace, statements.append)
    await _everything(stores)
    await database.write(_trace, None)
    await database.read(_trace, None)
    own = {
        sql.strip()
        for sql in statements
        if sql.strip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
    }
    assert len(own) > 85  # the trace saw them all
    walks = []
    with closing(connect(tmp_path / "abaco.db", 5.0)) as connection:
        for sql in own:
            for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}"):
                detail = row["detail"]
                if detail.startswith("SCAN") and detail not in MAY_WALK:
                    walks.append((detail, sql))
                if "TEMP B-TREE" in detail and MAY_SORT not in sql:
                    walks.append((detail, sql))
    assert walks == []


async def test_the_check_of_plans_would_notice_a_walk(database: Database) -> None:
    def plan(connection: sqlite3.Connection) -> list[str]:
        rows = connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM executions WHERE executor = 'x'"
        )
        return [row["detail"] for row in rows]

    (detail,) = await database.read(plan)
    assert detail.startswith("SCAN")
    assert detail not in MAY_WALK


async def test_the_users_index_alone_tells_what_is_visible(
    stores: Stores, database: Database, tmp_path: Path
) -> None:
    statements: list[str] = []
    await database.read(_trace, statements.append)
    await stores.permissions.visible(ObjectKind.ACTOR, an_actor().tenant, "jane")
    await database.read(_trace, None)
    (sql,) = [each for each in statements if "permissions" in each]
    with closing(connect(tmp_path / "abaco.db", 5.0)) as connection:
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert len(plan) == 1
    assert "COVERING INDEX permissions_of_user (kind=? AND tenant=? AND user=?" in plan[0]


class Meter:
    """Counts the steps SQLite's machine takes on both lanes, in tens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tens = 0

    def _tick(self) -> int:
        self._tens += 1
        return 0

    async def install(self) -> None:
        for lane in (self._database.write, self._database.read):
            await lane(lambda connection: connection.set_progress_handler(self._tick, 10))

    async def measure(self, call: Callable[[], Awaitable[Any]]) -> int:
        before = self._tens
        await call()
        return (self._tens - before) * 10


async def _grow(stores: Stores, database: Database, actor: Actor, count: int) -> None:
    """Make a long history and a long queue, and the same for a neighbour."""

    async def add(owner: Actor, number: int) -> None:
        execution = an_execution(owner, message_received_time=at(number))
        batch = [Submission(execution, a_message(execution))]
        await stores.intake.submit(batch, now=NOON, key=a_retry_key(new_id()))

    for owner in (actor, await insert_actor(stores)):
        await asyncio.gather(*(add(owner, number) for number in range(count)))
        await stores.mailbox.purge(owner.key, an_error_outcome())
        await asyncio.gather(*(add(owner, count + number) for number in range(count)))
    await database.write(lambda connection: connection.execute("ANALYZE").fetchall())


async def _check_growth(
    meter: Meter,
    calls: dict[str, Callable[[], Awaitable[Any]]],
    grow: Callable[[], Awaitable[None]],
) -> None:
    before = {name: await meter.measure(call) for name, call in calls.items()}
    await grow()
    for call in calls.values():  # the statements are prepared anew after ANALYZE
        await call()
    after = {name: await meter.measure(call) for name, call in calls.items()}
    grown = {
        name: (before[name], after[name]) for name in calls if after[name] > before[name] * 1.5 + 50
    }
    assert grown == {}
    assert sum(after.values()) > 100  # the meter ran


async def test_work_does_not_grow_with_history_or_queue(stores: Stores, database: Database) -> None:
    meter = Meter(database)
    await meter.install()
    actor = await insert_actor(stores)
    worker = await add_worker(stores, actor)
    await submit(stores, actor, 3)

    async def run() -> None:
        taken = await claim(stores, worker)
        key, attempt = taken.execution.key, taken.execution.attempt
        await stores.mailbox.mark_running(key, attempt, "c", NOON)
        await stores.mailbox.finalize(key, attempt, an_outcome(), now=NOON)

    async def add() -> None:
        execution = an_execution(actor, message_received_time=at(10**6))
        await enqueue(stores, execution, a_message(execution))

    async def take_in() -> None:
        key = a_retry_key(new_id())
        await stores.intake.submit(a_batch(actor), now=NOON, room=Room(tenant=10**6), key=key)
        await stores.intake.expire(NOON)

    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "submit": add,
        "take in": take_in,
        "run": run,
        "totals": lambda: stores.executions.totals(actor.key),
        "counters": stores.executions.counters,
        "count": lambda: stores.mailbox.count(actor.key),
        "backlog": stores.mailbox.backlog,
        "usage": stores.usage.totals,
        "days": lambda: stores.usage.list_days(limit=2),
        "worker counts": stores.usage.count_workers,
        "deepest": lambda: stores.usage.deepest(2),
        "deepest tenants": lambda: stores.usage.deepest_tenants(2),
        "workers": lambda: stores.usage.list_workers(limit=2),
        "reports": lambda: stores.usage.list_actors(limit=1),
        "leased": stores.executions.list_leased,
        "page": lambda: stores.executions.list_executions(actor.key, limit=2),
        "later page": lambda: stores.executions.list_executions(
            actor.key, after=an_execution(actor, message_received_time=at(0)), limit=2
        ),
        "worker": lambda: stores.workers.request(a_worker(actor, id=new_id()), limit=0),
        "stranger": lambda: stores.mailbox.count(an_actor().key),
    }
    await _check_growth(meter, calls, lambda: _grow(stores, database, actor, 1500))


async def test_work_does_not_grow_with_what_others_share(
    stores: Stores, database: Database
) -> None:
    meter = Meter(database)
    await meter.install()
    actor = await insert_actor(stores, owner="ann")
    alias = await insert_alias(stores, actor, owner="ann")
    nonce = await insert_nonce(stores, actor.key.shared)

    async def share(number: int) -> None:
        owner = f"user{number}"
        other = await insert_actor(stores, owner=owner)
        its_alias = await insert_alias(stores, other, owner, owner=owner)
        linked = await insert_actor(stores, owner=owner, link=owner)
        await stores.actors.set_status(linked.key, ActorStatus.READY, "", expect=set(ActorStatus))
        for key in (other.key.shared, its_alias.shared):
            await stores.permissions.grant(key, "joe", Level.READ)
            await stores.permissions.grant(key, "ann", Level.NONE)
            await insert_nonce(stores, key)
        # a stranger's config that lists the actor all the same
        await insert_config(stores, f"{actor.id},{other.id}", owner, owner=owner)

    async def share_all() -> None:
        await asyncio.gather(*(share(number) for number in range(600)))
        await database.write(lambda connection: connection.execute("ANALYZE").fetchall())

    async def make_and_delete() -> None:
        other = await insert_actor(stores)
        await insert_nonce(stores, (await insert_alias(stores, other, "mine")).shared)
        await stores.actors.delete(other.key)

    await insert_config(stores, f"{actor.id},{alias.alias}", owner="ann")
    configs, permissions, nonces = stores.configs, stores.permissions, stores.nonces
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "levels": lambda: permissions.levels(actor.key.shared),
        "grant": lambda: permissions.grant(actor.key.shared, "eve", Level.READ),
        "visible": lambda: permissions.visible(ObjectKind.ACTOR, actor.tenant, "ann"),
        "many": lambda: stores.actors.get_many([actor.key, an_actor().key]),
        "alias": lambda: stores.aliases.get(alias.key),
        "aliases": lambda: stores.aliases.of_actor(actor.key),
        "repoint": lambda: stores.aliases.repoint(alias.key, actor.id),
        "redeem": lambda: nonces.redeem(nonce.id, actor.key.shared, Level.READ, NOON),
        "nonces": lambda: nonces.list_nonces(actor.key.shared),
        "configs": lambda: configs.of_actor(actor.key, max_bytes=999),
        "replace": lambda: configs.replace(
            ConfigKey(actor.tenant, "settings"), value="x", is_secret=False, actors=alias.alias
        ),
        "make and delete": make_and_delete,
    }
    await _check_growth(meter, calls, share_all)


async def test_a_piece_of_a_log_costs_the_same_however_long_the_log(
    stores: Stores, database: Database
) -> None:
    meter = Meter(database)
    await meter.install()
    key = execution_key(an_actor().key, "e")
    length = 0

    async def write(count: int) -> None:
        nonlocal length
        for _ in range(count):
            length = await stores.logs.append(
                key, length, b"x" * 100, max_bytes=10**6, expires_at=None
            )
        await database.write(lambda connection: connection.execute("ANALYZE").fetchall())

    await write(3)
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        f"from {offset}": lambda offset=offset: stores.logs.read(key, offset, max_bytes=50)
        for offset in (0, 120, 299)
    }
    await _check_growth(meter, calls, lambda: write(600))


async def test_the_end_of_the_audit_log_is_read_without_its_beginning(
    stores: Stores, database: Database
) -> None:
    meter = Meter(database)
    await meter.install()
    await asyncio.gather(*(stores.audit.append(an_audit_record()) for _ in range(1500)))
    (last, *_) = [await stores.audit.append(an_audit_record(time=at(n))) for n in (60, 61, 62)]

    for page in (
        lambda: stores.audit.list_records(since=at(60), limit=2),
        lambda: stores.audit.list_records(after=last, since=at(60), limit=2),
        lambda: stores.audit.list_records(after=last),
    ):
        assert await meter.measure(page) < 500
