"""Logs and results in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime

from abaco.domain.execution import ExecutionKey
from abaco.ports.clock import Clock
from abaco.ports.store import LogStore, LogText, ResultStore
from backends.stores import rules
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.rows import first, micros_or_none

_WHERE = "WHERE tenant = ? AND actor_id = ? AND execution_id = ?"

_PUT_HEAD = """
    INSERT INTO logs (
        tenant, actor_id, execution_id, bytes_seen, bytes_kept, is_truncated, expires_at
    ) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        bytes_seen = excluded.bytes_seen, bytes_kept = excluded.bytes_kept,
        is_truncated = excluded.is_truncated, expires_at = excluded.expires_at
"""

#: from the last chunk that begins at or before the offset on
READ_CHUNKS = """
    SELECT start, data FROM log_chunks
    WHERE tenant = :tenant AND actor_id = :actor_id AND execution_id = :id AND start >= coalesce(
        (
            SELECT max(start) FROM log_chunks
            WHERE tenant = :tenant AND actor_id = :actor_id AND execution_id = :id
                AND start <= :offset
        ), 0)
    ORDER BY start
"""

_PUT_COUNT = """
    INSERT INTO result_counts (tenant, actor_id, execution_id, pushed, expires_at)
    VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET pushed = excluded.pushed, expires_at = excluded.expires_at
"""

POP_RESULT = """
    DELETE FROM results WHERE seq = (
        SELECT seq FROM results
        WHERE tenant = ? AND actor_id = ? AND execution_id = ? AND expires_at > ?
        ORDER BY seq LIMIT 1
    )
    RETURNING data
"""


class SqliteLogs(LogStore):
    """Logs as chunks under a head row."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def append(
        self,
        key: ExecutionKey,
        offset: int,
        data: bytes,
        *,
        max_bytes: int,
        expires_at: datetime | None,
    ) -> int:
        """Append output."""
        expiry = micros_or_none(expires_at)
        return await self._database.write(_append, key, offset, data, max_bytes, expiry)

    async def read(
        self, key: ExecutionKey, offset: int = 0, *, max_bytes: int | None = None
    ) -> LogText:
        """Return the stored bytes from an offset on."""
        now = rules.to_micros(self._clock.now())
        return await self._database.read(_read, key, offset, max_bytes, now)

    async def clear(self, key: ExecutionKey) -> None:
        """Forget the log."""
        await self._database.write(_clear, key)

    async def expire(self, now: datetime, *, limit: int = 1000) -> int:
        """Remove the text of logs whose expiry has passed."""
        return await self._database.write(_expire_logs, rules.to_micros(now), limit)


class SqliteResults(ResultStore):
    """Results as rows, numbered in the order they came."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def push(
        self, key: ExecutionKey, first: int, results: Sequence[bytes], *, expires_at: datetime
    ) -> None:
        """Add results at the end."""
        await self._database.write(_push, key, first, results, rules.to_micros(expires_at))

    async def pop(self, key: ExecutionKey, now: datetime) -> bytes | None:
        """Take the oldest unexpired result away."""
        return await self._database.write(_pop, key, rules.to_micros(now))

    async def clear(self, key: ExecutionKey) -> None:
        """Forget the results."""
        await self._database.write(_clear_results, key)

    async def expire(self, now: datetime, *, limit: int = 1000) -> int:
        """Remove results whose expiry has passed."""
        return await self._database.write(_expire_results, rules.to_micros(now), limit)


def _head(connection: sqlite3.Connection, key: ExecutionKey) -> sqlite3.Row | None:
    return first(connection.execute(f"SELECT * FROM logs {_WHERE}", key))  # noqa: S608 - constant


def _append(
    connection: sqlite3.Connection,
    key: ExecutionKey,
    offset: int,
    data: bytes,
    max_bytes: int,
    expiry: int | None,
) -> int:
    head = _head(connection, key)
    seen, kept = (head["bytes_seen"], head["bytes_kept"]) if head else (0, 0)
    cut = rules.cut_log(
        seen=seen,
        kept=kept,
        is_truncated=bool(head and head["is_truncated"]),
        offset=offset,
        data=data,
        max_bytes=max_bytes,
    )
    if cut.data:
        connection.execute("INSERT INTO log_chunks VALUES (?, ?, ?, ?, ?)", (*key, seen, cut.data))
    kept += len(cut.data)
    connection.execute(_PUT_HEAD, (*key, cut.bytes_seen, kept, cut.is_truncated, expiry))
    return cut.bytes_seen


def _read(
    connection: sqlite3.Connection, key: ExecutionKey, offset: int, max_bytes: int | None, now: int
) -> LogText:
    head = _head(connection, key)
    if head is None:
        return LogText(data=b"", bytes_seen=0, is_truncated=False)
    data = b""
    if head["expires_at"] is None or head["expires_at"] > now:
        data = _read_chunks(connection, key, offset, max_bytes)
    return LogText(
        data=data, bytes_seen=head["bytes_seen"], is_truncated=bool(head["is_truncated"])
    )


def _read_chunks(
    connection: sqlite3.Connection, key: ExecutionKey, offset: int, max_bytes: int | None
) -> bytes:
    data = bytearray()
    with closing(connection.execute(READ_CHUNKS, {**key._asdict(), "offset": offset})) as chunks:
        for chunk in chunks:
            data += chunk["data"][max(0, offset - chunk["start"]) :]
            if max_bytes is not None and len(data) >= max_bytes:
                break
    return bytes(data[:max_bytes])


def _clear(connection: sqlite3.Connection, key: ExecutionKey) -> None:
    connection.execute(f"DELETE FROM log_chunks {_WHERE}", key)  # noqa: S608 - constant
    connection.execute(f"DELETE FROM logs {_WHERE}", key)  # noqa: S608 - constant


def _expire_logs(connection: sqlite3.Connection, now: int, limit: int) -> int:
    keys = connection.execute(
        "SELECT tenant, actor_id, execution_id FROM logs WHERE expires_at <= ?"
        " ORDER BY expires_at, tenant, actor_id, execution_id LIMIT ?",
        (now, limit),
    ).fetchall()
    connection.executemany(f"DELETE FROM log_chunks {_WHERE}", keys)  # noqa: S608 - constant
    connection.executemany(
        f"UPDATE logs SET bytes_kept = 0, expires_at = NULL {_WHERE}",  # noqa: S608 - constant
        keys,
    )
    return len(keys)


def _push(
    connection: sqlite3.Connection,
    key: ExecutionKey,
    start: int,
    results: Sequence[bytes],
    expiry: int,
) -> None:
    row = first(
        connection.execute(f"SELECT pushed FROM result_counts {_WHERE}", key)  # noqa: S608 - constant
    )
    known = 0 if row is None else row["pushed"]
    connection.executemany(
        "INSERT INTO results (tenant, actor_id, execution_id, data, expires_at)"
        " VALUES (?, ?, ?, ?, ?)",
        [(*key, data, expiry) for data in results[max(0, known - start) :]],
    )
    connection.execute(_PUT_COUNT, (*key, max(known, start + len(results)), expiry))


def _clear_results(connection: sqlite3.Connection, key: ExecutionKey) -> None:
    connection.execute(f"DELETE FROM results {_WHERE}", key)  # noqa: S608 - constant
    connection.execute(f"DELETE FROM result_counts {_WHERE}", key)  # noqa: S608 - constant


def _pop(connection: sqlite3.Connection, key: ExecutionKey, now: int) -> bytes | None:
    row = first(connection.execute(POP_RESULT, (*key, now)))
    return None if row is None else bytes(row["data"])


def _expire_results(connection: sqlite3.Connection, now: int, limit: int) -> int:
    connection.execute("DELETE FROM result_counts WHERE expires_at <= ?", (now,))
    return connection.execute(
        "DELETE FROM results WHERE seq IN"
        " (SELECT seq FROM results WHERE expires_at <= ? ORDER BY expires_at, seq LIMIT ?)",
        (now, limit),
    ).rowcount
