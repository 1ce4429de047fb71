"""Numbers about the whole instance in SQLite: rows that triggers keep up."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import date

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.execution import ExecutionTotals
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.usage import ActorReport, DayUsage, Totals, Usage, WorkerCounts
from abaco.domain.worker import Worker, WorkerStatus
from abaco.ports.usage import UsageStore
from backends.stores.rules import to_micros
from backends.stores.sqlite.actors import ACTOR_COLUMNS
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.rows import to_actor, to_worker

#: what is the owner's is not even read
_HIDDEN = {
    "state": "'null' AS state",
    "definition": "json_set(a.definition, '$.default_environment', json('{}')) AS definition",
}
_SHOWN = ", ".join(_HIDDEN.get(name, f"a.{name}") for name in ACTOR_COLUMNS)

_REPORT = f"""
    SELECT {_SHOWN}, m.queued, m.executions, m.cpu_ns, m.io_bytes, m.runtime_ms
    FROM actors AS a JOIN mailboxes AS m ON m.tenant = a.tenant AND m.actor_id = a.id
"""  # noqa: S608 - constants
_ORDER = "ORDER BY a.create_time, a.id, a.tenant LIMIT :limit"
_AFTER_ACTOR = "WHERE (a.create_time, a.id, a.tenant) > (:time, :id, :tenant)"
_AFTER_WORKER = "WHERE (create_time, id, actor_id, tenant) > (:time, :id, :actor_id, :tenant)"


class SqliteUsage(UsageStore):
    """Sums as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def totals(self) -> Usage:
        """Return the sums over all actors."""
        return await self._database.read(_totals)

    async def list_days(self, *, limit: int) -> list[DayUsage]:
        """Return the latest days, the latest first."""
        return await self._database.read(_list_days, limit)

    async def count_workers(self) -> WorkerCounts:
        """Return how many workers of each queue are in each status."""
        return await self._database.read(_count_workers)

    async def count_served(self) -> int:
        """Return how many actors have workers."""
        return await self._database.read(_count_served)

    async def deepest(self, limit: int) -> Mapping[ActorKey, int]:
        """Return the actors with the longest queues."""
        return await self._database.read(_deepest, limit)

    async def deepest_tenants(self, limit: int) -> Mapping[Tenant, int]:
        """Return the tenants with most queued messages."""
        return await self._database.read(_deepest_tenants, limit)

    async def list_actors(
        self, *, after: Actor | None = None, limit: int = 1000
    ) -> list[ActorReport]:
        """Page the actors of all tenants by (create_time, id, tenant)."""
        return await self._database.read(_list_actors, after, limit)

    async def list_workers(self, *, after: Worker | None = None, limit: int = 1000) -> list[Worker]:
        """Page all workers by (create_time, id)."""
        return await self._database.read(_list_workers, after, limit)


def to_totals(row: sqlite3.Row) -> ExecutionTotals:
    """Read the sums over executions."""
    return ExecutionTotals(
        count=row["executions"],
        cpu_ns=row["cpu_ns"],
        io_bytes=row["io_bytes"],
        runtime_s=row["runtime_ms"] // 1000,
    )


def _totals(connection: sqlite3.Connection) -> Usage:
    found = {
        row["scope"]: Totals(
            actors=row["actors"], used_actors=row["used_actors"], executions=to_totals(row)
        )
        for row in connection.execute("SELECT * FROM usage")
    }
    return Usage(**found)


def _list_days(connection: sqlite3.Connection, limit: int) -> list[DayUsage]:
    rows = connection.execute("SELECT * FROM usage_days ORDER BY day DESC LIMIT ?", (limit,))
    return [DayUsage(**{**dict(row), "day": date.fromisoformat(row["day"])}) for row in rows]


def _count_workers(connection: sqlite3.Connection) -> dict[tuple[str, WorkerStatus], int]:
    rows = connection.execute("SELECT queue, status, count FROM worker_counts")
    return {(row[0], WorkerStatus(row[1])): row[2] for row in rows if row[2]}


def _count_served(connection: sqlite3.Connection) -> int:
    (row,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM workers GROUP BY tenant, actor_id)"
    ).fetchall()
    return int(row[0])


def _deepest(connection: sqlite3.Connection, limit: int) -> dict[ActorKey, int]:
    rows = connection.execute(
        "SELECT tenant, actor_id, queued FROM mailboxes WHERE queued > 0"
        " ORDER BY queued DESC, actor_id, tenant LIMIT ?",
        (limit,),
    )
    return {ActorKey(Tenant(row[0]), ActorId(row[1])): row[2] for row in rows}


def _deepest_tenants(connection: sqlite3.Connection, limit: int) -> dict[Tenant, int]:
    rows = connection.execute(
        "SELECT tenant, queued FROM tenant_mailboxes WHERE queued > 0"
        " ORDER BY queued DESC, tenant LIMIT ?",
        (limit,),
    )
    return {Tenant(row[0]): row[1] for row in rows}


def _list_actors(
    connection: sqlite3.Connection, after: Actor | None, limit: int
) -> list[ActorReport]:
    place: dict[str, str | int] = {"limit": limit}
    if after is not None:
        place |= {"time": to_micros(after.create_time), "id": after.id, "tenant": after.tenant}
    rows = connection.execute(f"{_REPORT} {_AFTER_ACTOR if after else ''} {_ORDER}", place)
    return [
        ActorReport(
            actor=to_actor(row),
            workers=_workers_of(connection, row["tenant"], row["id"]),
            queued=row["queued"],
            totals=to_totals(row),
        )
        for row in rows.fetchall()
    ]


def _workers_of(connection: sqlite3.Connection, tenant: str, actor_id: str) -> tuple[Worker, ...]:
    rows = connection.execute(
        "SELECT * FROM workers WHERE tenant = ? AND actor_id = ? ORDER BY create_time, id",
        (tenant, actor_id),
    )
    return tuple(to_worker(row) for row in rows)


def _list_workers(connection: sqlite3.Connection, after: Worker | None, limit: int) -> list[Worker]:
    place: dict[str, str | int] = {"limit": limit}
    if after is not None:
        place |= {"time": to_micros(after.create_time), "id": after.id}
        place |= {"actor_id": after.actor_id, "tenant": after.tenant}
    rows = connection.execute(
        f"SELECT * FROM workers {_AFTER_WORKER if after else ''}"  # noqa: S608 - constant
        " ORDER BY create_time, id, actor_id, tenant LIMIT :limit",
        place,
    )
    return [to_worker(row) for row in rows]
