"""Mailboxes in SQLite: the transactions of a message's way.

A message is leased while its execution has a worker and no outcome. The fence of a run is one
condition on the execution's row, in the statement that writes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from abaco.domain.actor import ActorKey, ActorStatus
from abaco.domain.execution import (
    ExecutionKey,
    ExecutionStatus,
    HaltReason,
    Outcome,
)
from abaco.domain.ids import ActorId, ExecutionId, Tenant
from abaco.domain.worker import WorkerKey, WorkerStatus
from abaco.ports.clock import Clock
from abaco.ports.store import Claim, Mailbox, Refusal
from backends.stores import rules
from backends.stores.sqlite.counts import drop_queued, move
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.events import EventWriter
from backends.stores.sqlite.rows import (
    SET_OUTCOME,
    first,
    outcome_values,
    to_actor,
    to_execution,
    to_message,
)

_FIND_CLAIMANT = """
    SELECT a.*, json_extract(a.definition, '$.stateless') AS stateless, m.queued, m.leased,
        w.status AS worker_status
    FROM actors AS a
    JOIN mailboxes AS m ON m.tenant = a.tenant AND m.actor_id = a.id
    LEFT JOIN workers AS w ON w.tenant = a.tenant AND w.actor_id = a.id AND w.id = :id
    WHERE a.tenant = :tenant AND a.id = :actor_id
"""

_LEASE_HEAD = """
    UPDATE messages SET state = 'leased', lease_owner = :id
    WHERE tenant = :tenant AND actor_id = :actor_id AND seq = (
        SELECT seq FROM messages
        WHERE tenant = :tenant AND actor_id = :actor_id AND state = 'queued'
        ORDER BY seq LIMIT 1
    )
    RETURNING *
"""

_FIND_LEASE = """
    SELECT * FROM messages
    WHERE tenant = :tenant AND actor_id = :actor_id AND lease_owner = :id AND state = 'leased'
"""

#: the execution's row while the named attempt holds its message
_FENCE = """
    tenant = :tenant AND actor_id = :actor_id AND id = :id AND attempt = :attempt
    AND worker_id IS NOT NULL AND finish_time IS NULL
"""

_FIND_RUN = f"SELECT * FROM executions WHERE {_FENCE}"  # noqa: S608 - constant

_FINALIZE = f"""
    UPDATE executions SET {SET_OUTCOME}
    WHERE {_FENCE}
    RETURNING worker_id, message_seq
"""  # noqa: S608 - constant

_FREE_WORKER = """
    UPDATE workers SET status = iif(status = 'BUSY', 'READY', status),
        last_execution_time = coalesce(?, last_execution_time)
    WHERE tenant = ? AND actor_id = ? AND id = ?
"""


class SqliteMailbox(Mailbox):
    """Queues as rows."""

    def __init__(self, database: Database, clock: Clock, events: EventWriter) -> None:
        self._database = database
        self._clock = clock
        self._events = events

    async def claim(self, worker: WorkerKey, revision: int, now: datetime) -> Claim | Refusal:
        """Lease the head of the queue."""
        return await self._database.write(_claim, worker, revision)

    async def mark_running(
        self, key: ExecutionKey, attempt: int, container_id: str, start_time: datetime
    ) -> bool:
        """Set the execution SUBMITTED -> RUNNING; the same call again is no refusal."""
        started = rules.to_micros(start_time)
        return await self._database.write(
            _mark_running, key, attempt, container_id, started, self._events
        )

    async def finalize(
        self, key: ExecutionKey, attempt: int, outcome: Outcome, *, now: datetime
    ) -> bool:
        """Write the outcome and free the worker."""
        rules.check_final(outcome)
        return await self._database.write(
            _finalize, key, attempt, outcome, rules.to_micros(now), self._events
        )

    async def release(self, key: ExecutionKey, attempt: int, *, lost: bool) -> bool:
        """Put a leased message back, or end its execution if it must not run again."""
        return await self._database.write(
            _release, key, attempt, lost, self._clock.now(), self._events
        )

    async def count(self, actor: ActorKey) -> int:
        """Count queued messages."""
        return await self._database.read(_count, actor)

    async def purge(self, actor: ActorKey, outcome: Outcome) -> list[ExecutionId]:
        """Finalize all queued messages."""
        rules.check_final(outcome)
        return await self._database.write(drop_queued, actor, outcome, self._events)

    async def backlog(self) -> Mapping[ActorKey, int]:
        """Return the queued count of every actor that has queued messages."""
        return await self._database.read(_backlog)


def _claim(connection: sqlite3.Connection, worker: WorkerKey, revision: int) -> Claim | Refusal:
    key = worker._asdict()
    row = first(connection.execute(_FIND_CLAIMANT, key))
    if row is None:
        return Refusal.ACTOR_STOPPED
    status = row["worker_status"]
    refusal = rules.refuse_claim(
        actor=ActorStatus(row["status"]),
        actor_revision=row["revision"],
        worker=None if status is None else WorkerStatus(status),
        worker_revision=revision,
        queued=row["queued"],
        is_blocked=not row["stateless"] and row["leased"] > 0,
    )
    if refusal is not None and status == WorkerStatus.READY:
        return refusal
    if refusal is not None:
        held = first(connection.execute(_FIND_LEASE, key))
        return refusal if held is None else _claim_again(connection, row, held)
    (leased,) = connection.execute(_LEASE_HEAD, key).fetchall()
    message = to_message(leased)
    (claimed,) = connection.execute(
        "UPDATE executions SET worker_id = ?, attempt = attempt + 1"
        " WHERE tenant = ? AND actor_id = ? AND id = ? RETURNING *",
        (worker.id, *message.execution),
    ).fetchall()
    connection.execute(
        "UPDATE workers SET status = 'BUSY' WHERE tenant = ? AND actor_id = ? AND id = ?", worker
    )
    move(connection, worker.actor, queued=-1, leased=1)
    return Claim(message=message, execution=to_execution(claimed), actor=to_actor(row))


def _claim_again(connection: sqlite3.Connection, actor: sqlite3.Row, held: sqlite3.Row) -> Claim:
    """Repeat the claim whose answer was lost on its way to the worker."""
    message = to_message(held)
    (execution,) = connection.execute(
        "SELECT * FROM executions WHERE tenant = ? AND actor_id = ? AND id = ?", message.execution
    ).fetchall()
    return Claim(message=message, execution=to_execution(execution), actor=to_actor(actor))


def _find_run(
    connection: sqlite3.Connection, key: ExecutionKey, attempt: int
) -> sqlite3.Row | None:
    return first(connection.execute(_FIND_RUN, {**key._asdict(), "attempt": attempt}))


def _mark_running(
    connection: sqlite3.Connection,
    key: ExecutionKey,
    attempt: int,
    container_id: str,
    started: int,
    events: EventWriter,
) -> bool:
    run = _find_run(connection, key, attempt)
    if run is None:
        return False
    if run["status"] == ExecutionStatus.RUNNING:
        return bool(run["container_id"] == container_id)
    connection.execute(
        "UPDATE executions SET status = 'RUNNING', container_id = ?, start_time = ?"
        " WHERE tenant = ? AND actor_id = ? AND id = ?",
        (container_id, started, *key),
    )
    connection.execute(
        "UPDATE workers SET container_id = ? WHERE tenant = ? AND actor_id = ? AND id = ?",
        (container_id, *key.actor, run["worker_id"]),
    )
    events.started(connection, key, run["message_seq"])
    return True


def _finalize(
    connection: sqlite3.Connection,
    key: ExecutionKey,
    attempt: int,
    outcome: Outcome,
    now: int | None,
    events: EventWriter,
) -> bool:
    values = {**key._asdict(), "attempt": attempt, **outcome_values(outcome)}
    run = first(connection.execute(_FINALIZE, values))
    if run is None:
        return False
    (message,) = connection.execute(
        "DELETE FROM messages WHERE tenant = ? AND actor_id = ? AND seq = ? RETURNING hops",
        (*key.actor, run["message_seq"]),
    ).fetchall()
    connection.execute(_FREE_WORKER, (now, *key.actor, run["worker_id"]))
    move(connection, key.actor, leased=-1, ended=1, outcome=outcome)
    events.ended(connection, key.actor, [(key.id, message["hops"])], outcome)
    return True


def _release(
    connection: sqlite3.Connection,
    key: ExecutionKey,
    attempt: int,
    lost: bool,
    now: datetime,
    events: EventWriter,
) -> bool:
    run = _find_run(connection, key, attempt)
    if run is None:
        return False
    actor = connection.execute("SELECT 1 FROM actors WHERE tenant = ? AND id = ?", key.actor)
    halt = run["halt_requested"]
    outcome = rules.end_instead(
        has_actor=bool(actor.fetchall()), halt=halt and HaltReason(halt), now=now
    )
    if outcome is not None:
        return _finalize(connection, key, attempt, outcome, None, events)
    connection.execute(
        "UPDATE executions SET status = 'SUBMITTED', worker_id = NULL, container_id = '',"
        " start_time = NULL, losses = losses + ? WHERE tenant = ? AND actor_id = ? AND id = ?",
        (int(lost), *key),
    )
    connection.execute(
        "UPDATE messages SET state = 'queued', lease_owner = NULL"
        " WHERE tenant = ? AND actor_id = ? AND seq = ?",
        (*key.actor, run["message_seq"]),
    )
    connection.execute(_FREE_WORKER, (None, *key.actor, run["worker_id"]))
    move(connection, key.actor, queued=1, leased=-1)
    return True


def _count(connection: sqlite3.Connection, actor: ActorKey) -> int:
    row = first(
        connection.execute("SELECT queued FROM mailboxes WHERE tenant = ? AND actor_id = ?", actor)
    )
    return 0 if row is None else int(row["queued"])


def _backlog(connection: sqlite3.Connection) -> dict[ActorKey, int]:
    rows = connection.execute("SELECT tenant, actor_id, queued FROM mailboxes WHERE queued > 0")
    return {ActorKey(Tenant(row[0]), ActorId(row[1])): row[2] for row in rows}
