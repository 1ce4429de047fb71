"""The read side of executions in SQLite, and halts."""

from __future__ import annotations

import sqlite3

from abaco.domain.actor import ActorKey
from abaco.domain.execution import Execution, ExecutionKey, ExecutionTotals, HaltReason
from abaco.ports.store import Counters, ExecutionStore
from backends.stores import rules
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.rows import first, to_execution


class SqliteExecutions(ExecutionStore):
    """Executions as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: ExecutionKey) -> Execution:
        """Return the execution."""
        return await self._database.read(_get, key)

    async def list_executions(
        self, actor: ActorKey, *, after: Execution | None = None, limit: int = 1000
    ) -> list[Execution]:
        """Page an actor's executions."""
        return await self._database.read(_list, actor, after, limit)

    async def totals(self, actor: ActorKey) -> ExecutionTotals:
        """Return running totals."""
        return await self._database.read(_totals, actor)

    async def request_halt(self, key: ExecutionKey, reason: HaltReason) -> Execution:
        """Mark a RUNNING execution to be stopped."""
        return await self._database.write(_request_halt, key, reason)

    async def list_leased(self) -> list[Execution]:
        """Return every execution whose message is leased."""
        return await self._database.read(_list_leased)

    async def counters(self) -> Counters:
        """Return the conservation counters."""
        return await self._database.read(_counters)


def _get(connection: sqlite3.Connection, key: ExecutionKey) -> Execution:
    row = first(
        connection.execute(
            "SELECT * FROM executions WHERE tenant = ? AND actor_id = ? AND id = ?", key
        )
    )
    if row is None:
        raise rules.no_execution(key)
    return to_execution(row)


def _list(
    connection: sqlite3.Connection, actor: ActorKey, after: Execution | None, limit: int
) -> list[Execution]:
    place = () if after is None else (rules.to_micros(after.message_received_time), str(after.id))
    condition = "AND (message_received_time, id) > (?, ?)" if place else ""
    rows = connection.execute(
        f"SELECT * FROM executions WHERE tenant = ? AND actor_id = ? {condition}"  # noqa: S608 - constants
        " ORDER BY message_received_time, id LIMIT ?",
        (*actor, *place, limit),
    )
    return [to_execution(row) for row in rows]


def _totals(connection: sqlite3.Connection, actor: ActorKey) -> ExecutionTotals:
    row = first(
        connection.execute(
            "SELECT executions, cpu_ns, io_bytes, runtime_ms FROM mailboxes"
            " WHERE tenant = ? AND actor_id = ?",
            actor,
        )
    )
    if row is None:
        return ExecutionTotals()
    return ExecutionTotals(
        count=row["executions"],
        cpu_ns=row["cpu_ns"],
        io_bytes=row["io_bytes"],
        runtime_s=row["runtime_ms"] // 1000,
    )


def _request_halt(
    connection: sqlite3.Connection, key: ExecutionKey, reason: HaltReason
) -> Execution:
    rules.refuse_halt(_get(connection, key))
    connection.execute(
        "UPDATE executions SET halt_requested = coalesce(halt_requested, ?)"
        " WHERE tenant = ? AND actor_id = ? AND id = ?",
        (str(reason), *key),
    )
    return _get(connection, key)


def _list_leased(connection: sqlite3.Connection) -> list[Execution]:
    rows = connection.execute(
        "SELECT * FROM executions WHERE worker_id IS NOT NULL AND finish_time IS NULL"
        " ORDER BY message_received_time, id, actor_id, tenant"
    )
    return [to_execution(row) for row in rows]


def _counters(connection: sqlite3.Connection) -> Counters:
    (row,) = connection.execute("SELECT accepted, queued, leased, final FROM counters").fetchall()
    return Counters(**dict(row))
