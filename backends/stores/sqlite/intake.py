"""The way in, in SQLite: executions, messages, counts and the key in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from abaco.domain.actor import ActorKey, ActorStatus
from abaco.domain.ids import ExecutionId, Tenant
from abaco.ports.intake import ANY_ROOM, Intake, Receipt, RetryKey, Room, Submission
from backends.stores import intake_rules, rules
from backends.stores.sqlite.counts import move
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.rows import (
    IF_ABSENT,
    Values,
    first,
    fresh_execution_values,
    insert_sql,
    message_values,
)

_INSERT_EXECUTION = insert_sql(
    "executions",
    (
        "tenant", "actor_id", "id", "api_server", "executor", "message_received_time",
        "message_seq",
    ),
    on_conflict=IF_ABSENT,
)  # fmt: skip
_INSERT_MESSAGE = insert_sql(
    "messages",
    (
        "tenant", "actor_id", "seq", "execution_id", "state", "lease_owner", "body",
        "content_type", "username", "api_server", "enqueued_at", "environment", "jwt_header",
        "revision", "hops", "blob_bytes", "blob_sha256",
    ),
)  # fmt: skip

_FIND_OPEN_BOX = """
    SELECT a.status, m.queued, m.last_seq, coalesce(t.queued, 0) AS tenant_queued
    FROM actors AS a JOIN mailboxes AS m ON m.tenant = a.tenant AND m.actor_id = a.id
    LEFT JOIN tenant_mailboxes AS t ON t.tenant = a.tenant
    WHERE a.tenant = ? AND a.id = ?
"""

_KEY = "WHERE tenant = ? AND actor_id = ? AND user = ? AND key = ?"

#: an expired key may still stand there
_PUT_KEY = """
    INSERT INTO idempotency_keys (
        tenant, actor_id, user, key, digest, execution_ids, expires_at
    ) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET digest = excluded.digest, execution_ids = excluded.execution_ids,
        expires_at = excluded.expires_at
"""


HAS_BLOB = "SELECT 1 FROM messages WHERE execution_id = ? AND blob_bytes IS NOT NULL"


class Row(NamedTuple):
    """The columns of one submission, but for the place in the queue."""

    execution: Values
    message: Values


class SqliteIntake(Intake):
    """Mailboxes, filled."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(
        self,
        batch: Sequence[Submission],
        *,
        now: datetime,
        room: Room = ANY_ROOM,
        key: RetryKey | None = None,
    ) -> Receipt:
        """Store all executions and messages."""
        actor = intake_rules.check_batch(batch)
        rows, micros = to_rows(batch), rules.to_micros(now)
        return await self._database.write(_submit, actor, rows, micros, room, key)

    async def waiting(self, tenant: Tenant) -> int:
        """Count the queued messages of a tenant."""
        return await self._database.read(_waiting, tenant)

    async def with_blobs(self, executions: Collection[ExecutionId]) -> set[ExecutionId]:
        """Look each of them up in the index of messages that have one."""
        return await self._database.read(_with_blobs, set(executions))

    async def expire(self, now: datetime, *, limit: int = 1000) -> int:
        """Remove keys whose expiry has passed."""
        return await self._database.write(_expire, rules.to_micros(now), limit)


def to_rows(batch: Sequence[Submission]) -> list[Row]:
    """Spell submissions as columns; the writer's thread need not."""
    return [
        Row(
            fresh_execution_values(execution, 0),
            message_values(rules.as_queued(message)),
        )
        for execution, message in batch
    ]


def put_batch(
    connection: sqlite3.Connection, actor: ActorKey, rows: Sequence[Row], room: Room
) -> int:
    """Check and queue messages; returns the place of the last one."""
    box = first(connection.execute(_FIND_OPEN_BOX, actor))
    intake_rules.check_intake(
        actor,
        None if box is None else ActorStatus(box["status"]),
        room,
        len(rows),
        queued=box["queued"] if box else 0,
        tenant_queued=box["tenant_queued"] if box else 0,
    )
    assert box is not None  # noqa: S101 - the actor is there, and its mailbox with it
    seqs = range(box["last_seq"] + 1, box["last_seq"] + 1 + len(rows))
    inserted = connection.executemany(
        _INSERT_EXECUTION,
        ({**row.execution, "message_seq": seq} for row, seq in zip(rows, seqs, strict=True)),
    ).rowcount
    if inserted < len(rows):
        raise intake_rules.taken([row.execution["id"] for row in rows])
    connection.executemany(
        _INSERT_MESSAGE, ({**row.message, "seq": seq} for row, seq in zip(rows, seqs, strict=True))
    )
    move(connection, actor, accepted=len(rows), queued=len(rows))
    return seqs[-1]


def _submit(
    connection: sqlite3.Connection,
    actor: ActorKey,
    rows: Sequence[Row],
    now: int,
    room: Room,
    key: RetryKey | None,
) -> Receipt:
    if key is not None:
        kept = first(
            connection.execute(
                f"SELECT * FROM idempotency_keys {_KEY} AND expires_at > ?",  # noqa: S608 - constant
                (*actor, key.user, key.text, now),
            )
        )
        if kept is not None:
            intake_rules.check_repeat(key, kept["digest"])
            return Receipt(execution_ids=_split(kept["execution_ids"]), is_replay=True)
    put_batch(connection, actor, rows, room)
    ids = tuple(ExecutionId(row.execution["id"]) for row in rows)
    if key is not None:
        expiry = rules.to_micros(key.expires_at)
        connection.execute(
            _PUT_KEY, (*actor, key.user, key.text, key.digest, " ".join(ids), expiry)
        )
    return Receipt(execution_ids=ids)


def _split(text: str) -> tuple[ExecutionId, ...]:
    return tuple(ExecutionId(each) for each in text.split(" "))


def _waiting(connection: sqlite3.Connection, tenant: Tenant) -> int:
    row = first(connection.execute("SELECT * FROM tenant_mailboxes WHERE tenant = ?", (tenant,)))
    return 0 if row is None else int(row["queued"])


def _with_blobs(
    connection: sqlite3.Connection, executions: Collection[ExecutionId]
) -> set[ExecutionId]:
    return {each for each in executions if connection.execute(HAS_BLOB, (each,)).fetchall()}


def _expire(connection: sqlite3.Connection, now: int, limit: int) -> int:
    places = connection.execute(
        "SELECT tenant, actor_id, user, key FROM idempotency_keys WHERE expires_at <= ?"
        " ORDER BY expires_at, tenant, actor_id, user, key LIMIT ?",
        (now, limit),
    ).fetchall()
    connection.executemany(f"DELETE FROM idempotency_keys {_KEY}", places)  # noqa: S608 - constant
    return len(places)
