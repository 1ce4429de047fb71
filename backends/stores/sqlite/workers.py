"""Worker records in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import datetime

from abaco.domain.actor import RUNNABLE, ActorKey, ActorStatus
from abaco.domain.worker import VIABLE, Worker, WorkerKey, WorkerStatus
from abaco.ports.store import WorkerStore
from backends.stores import rules
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.rows import (
    IF_ABSENT,
    Values,
    first,
    insert_sql,
    to_worker,
    worker_values,
)

_COLUMNS = (
    "tenant", "actor_id", "id", "image", "revision", "host_id", "host_ip", "location",
    "create_time", "status", "previous_status", "container_id", "last_execution_time",
    "last_health_check_time", "is_retiring", "queue",
)  # fmt: skip
_INSERT = insert_sql("workers", _COLUMNS, on_conflict=IF_ABSENT)

#: a worker cannot be without its actor, nor the actor without a mailbox
_FIND_LEAVING = """
    SELECT w.status, w.is_retiring, w.revision, a.status AS actor_status,
        a.revision AS actor_revision, m.queued
    FROM workers AS w
    JOIN actors AS a ON a.tenant = w.tenant AND a.id = w.actor_id
    JOIN mailboxes AS m ON m.tenant = w.tenant AND m.actor_id = w.actor_id
    WHERE w.tenant = ? AND w.actor_id = ? AND w.id = ?
"""


class SqliteWorkers(WorkerStore):
    """Worker records as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(self, worker: Worker, *, limit: int) -> bool:
        """Insert the record if there is room in the pool."""
        return await self._database.write(_request, worker.key, worker_values(worker), limit)

    async def get(self, key: WorkerKey) -> Worker:
        """Return the worker."""
        return await self._database.read(_get, key)

    async def list_workers(self, actor: ActorKey | None = None) -> list[Worker]:
        """Return the workers of one actor or of all, by (create_time, id)."""
        return await self._database.read(_list, actor)

    async def set_status(
        self, key: WorkerKey, status: WorkerStatus, *, expect: Collection[WorkerStatus]
    ) -> bool:
        """Compare-and-set the status."""
        return await self._database.write(_set_status, key, status, expect)

    async def retire_idle(self, key: WorkerKey, *, revocable: bool) -> bool:
        """Set READY -> SHUTDOWN_REQUESTED if nothing waits."""
        return await self._database.write(_retire_idle, key, revocable)

    async def leave(self, key: WorkerKey) -> bool:
        """Delete the record, or call the worker back."""
        return await self._database.write(_leave, key)

    async def touch(self, keys: Collection[WorkerKey], now: datetime) -> None:
        """Stamp last_health_check_time."""
        await self._database.write(_touch, keys, rules.to_micros(now))

    async def delete(self, key: WorkerKey) -> None:
        """Remove the record."""
        await self._database.write(_delete, key)


def _request(connection: sqlite3.Connection, key: WorkerKey, values: Values, limit: int) -> bool:
    actor = first(
        connection.execute(
            "SELECT status, revision FROM actors WHERE tenant = ? AND id = ?", key.actor
        )
    )
    if actor is None or actor["status"] not in RUNNABLE or actor["revision"] != values["revision"]:
        return False
    pool = connection.execute(
        "SELECT status, is_retiring FROM workers WHERE tenant = ? AND actor_id = ?", key.actor
    )
    if sum(row["status"] in VIABLE or row["is_retiring"] for row in pool) >= limit:
        return False
    if not connection.execute(_INSERT, values).rowcount:
        raise rules.already_exists("a worker", key.id)
    return True


def _get(connection: sqlite3.Connection, key: WorkerKey) -> Worker:
    row = first(
        connection.execute(
            "SELECT * FROM workers WHERE tenant = ? AND actor_id = ? AND id = ?", key
        )
    )
    if row is None:
        raise rules.no_worker(key)
    return to_worker(row)


def _list(connection: sqlite3.Connection, actor: ActorKey | None) -> list[Worker]:
    if actor is None:
        rows = connection.execute(
            "SELECT * FROM workers ORDER BY create_time, id, actor_id, tenant"
        )
    else:
        rows = connection.execute(
            "SELECT * FROM workers WHERE tenant = ? AND actor_id = ? ORDER BY create_time, id",
            actor,
        )
    return [to_worker(row) for row in rows]


def _set_status(
    connection: sqlite3.Connection,
    key: WorkerKey,
    status: WorkerStatus,
    expect: Collection[WorkerStatus],
) -> bool:
    if _get(connection, key).status not in expect:
        return False
    connection.execute(
        """
        UPDATE workers SET previous_status = iif(?1 = 'ERROR', status, previous_status),
            status = ?1, is_retiring = 0
        WHERE tenant = ?2 AND actor_id = ?3 AND id = ?4
        """,
        (str(status), *key),
    )
    return True


def _retire_idle(connection: sqlite3.Connection, key: WorkerKey, revocable: bool) -> bool:
    if _get(connection, key).status is not WorkerStatus.READY:
        return False
    box = first(
        connection.execute(
            "SELECT queued FROM mailboxes WHERE tenant = ? AND actor_id = ?", key.actor
        )
    )
    if box is not None and box["queued"]:
        return False
    connection.execute(
        "UPDATE workers SET status = ?, is_retiring = ?"
        " WHERE tenant = ? AND actor_id = ? AND id = ?",
        (str(WorkerStatus.SHUTDOWN_REQUESTED), int(revocable), *key),
    )
    return True


def _leave(connection: sqlite3.Connection, key: WorkerKey) -> bool:
    row = first(connection.execute(_FIND_LEAVING, key))
    if row is None:
        return True
    is_called_back = rules.is_called_back(
        is_retiring=bool(row["is_retiring"]),
        worker_revision=row["revision"],
        actor=ActorStatus(row["actor_status"]),
        actor_revision=row["actor_revision"],
        queued=row["queued"],
    )
    if is_called_back:
        connection.execute(
            "UPDATE workers SET status = 'READY', is_retiring = 0"
            " WHERE tenant = ? AND actor_id = ? AND id = ?",
            key,
        )
    elif row["status"] != WorkerStatus.READY:
        _delete(connection, key)
        return True
    return False


def _touch(connection: sqlite3.Connection, keys: Collection[WorkerKey], now: int) -> None:
    connection.executemany(
        "UPDATE workers SET last_health_check_time = ?"
        " WHERE tenant = ? AND actor_id = ? AND id = ?",
        [(now, *key) for key in keys],
    )


def _delete(connection: sqlite3.Connection, key: WorkerKey) -> None:
    connection.execute("DELETE FROM workers WHERE tenant = ? AND actor_id = ? AND id = ?", key)
