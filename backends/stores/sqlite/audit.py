"""The audit log in SQLite."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from abaco.domain.audit import AuditOutcome, AuditRecord
from abaco.domain.ids import Tenant
from abaco.ports.audit import AuditStore
from backends.stores.rules import decode_json, encode_json, from_micros, to_micros
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.rows import Values, insert_sql

_COLUMNS = (
    "time", "action", "outcome", "status", "tenant", "user", "roles", "proof", "object",
    "request_id", "remote_address", "detail",
)  # fmt: skip
_INSERT = insert_sql("audit", _COLUMNS)

#: the first record from a time on, by the index of times; a clock may have gone back
_FIRST_SINCE = "(SELECT min(seq) FROM audit INDEXED BY audit_by_time WHERE time >= :since)"

_EXPIRE = """
    DELETE FROM audit WHERE seq IN (
        SELECT seq FROM audit WHERE time < ? ORDER BY time, seq LIMIT ?
    )
"""


class SqliteAudit(AuditStore):
    """Records as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, record: AuditRecord) -> int:
        """Add a record at the end."""
        return await self._database.write(_append, _values(record))

    async def list_records(
        self, *, after: int = 0, since: datetime | None = None, limit: int = 1000
    ) -> list[AuditRecord]:
        """Page the log by its places."""
        return await self._database.read(_list, after, since, limit)

    async def expire(self, before: datetime, *, limit: int = 1000) -> int:
        """Remove old records, the oldest first."""
        return await self._database.write(_expire, to_micros(before), limit)


def _values(record: AuditRecord) -> Values:
    return {
        "time": to_micros(record.time),
        "action": record.action,
        "outcome": str(record.outcome),
        "status": record.status,
        "tenant": record.tenant,
        "user": record.user,
        "roles": encode_json(record.roles),
        "proof": record.proof,
        "object": record.object,
        "request_id": record.request_id,
        "remote_address": record.remote_address,
        "detail": encode_json(record.detail),
    }


def _to_record(row: sqlite3.Row) -> AuditRecord:
    values = dict(row)
    values["time"] = from_micros(row["time"])
    values["outcome"] = AuditOutcome(row["outcome"])
    values["tenant"] = Tenant(row["tenant"])
    values["roles"] = tuple(decode_json(row["roles"]))
    values["detail"] = decode_json(row["detail"])
    return AuditRecord(**values)


def _append(connection: sqlite3.Connection, values: Values) -> int:
    return int(connection.execute(_INSERT, values).lastrowid or 0)


def _list(
    connection: sqlite3.Connection, after: int, since: datetime | None, limit: int
) -> list[AuditRecord]:
    is_first = since is not None and not after  # a later page knows where it begins
    place = f">= {_FIRST_SINCE}" if is_first else "> :after"
    bound = "" if since is None else "AND time >= :since"
    rows = connection.execute(
        f"SELECT * FROM audit WHERE seq {place} {bound} ORDER BY seq LIMIT :limit",  # noqa: S608 - constants
        {"after": after, "since": since and to_micros(since), "limit": limit},
    )
    return [_to_record(row) for row in rows]


def _expire(connection: sqlite3.Connection, before: int, limit: int) -> int:
    return connection.execute(_EXPIRE, (before, limit)).rowcount
