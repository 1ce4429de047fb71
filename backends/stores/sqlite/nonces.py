"""Nonces in SQLite."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from abaco.domain.nonce import Nonce, NonceId
from abaco.domain.permission import Level, ObjectKey
from abaco.ports.sharing import NonceStore
from backends.stores import rules, sharing_rules
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.permissions import check_shared
from backends.stores.sqlite.rows import Values, first
from backends.stores.sqlite.sharing_rows import INSERT_NONCE, nonce_values, to_nonce

#: -1 means without limit and is never counted down
_REDEEM = """
    UPDATE nonces SET current_uses = current_uses + 1,
        remaining_uses = remaining_uses - (remaining_uses > 0), last_use_time = ?
    WHERE id = ? AND kind = ? AND tenant = ? AND name = ? AND level >= ? AND remaining_uses <> 0
        AND (expires_at IS NULL OR expires_at > ?)
    RETURNING *
"""


class SqliteNonces(NonceStore):
    """Nonces as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, nonce: Nonce) -> None:
        """Add a nonce."""
        sharing_rules.check_nonce(nonce)
        await self._database.write(_insert, nonce.target, nonce_values(nonce))

    async def get(self, nonce_id: NonceId) -> Nonce:
        """Return the nonce."""
        return await self._database.read(_get, nonce_id)

    async def list_nonces(self, target: ObjectKey) -> list[Nonce]:
        """Return an object's nonces, by (create_time, id)."""
        return await self._database.read(_list, target)

    async def redeem(
        self, nonce_id: NonceId, target: ObjectKey, needed: Level, now: datetime
    ) -> Nonce:
        """Use it once and return it as it is then."""
        return await self._database.write(_redeem, nonce_id, target, needed, rules.to_micros(now))

    async def delete(self, nonce_id: NonceId) -> None:
        """Remove it."""
        await self._database.write(_delete, nonce_id)


def drop_nonces(connection: sqlite3.Connection, target: ObjectKey) -> None:
    """Remove all nonces of an object."""
    connection.execute("DELETE FROM nonces WHERE kind = ? AND tenant = ? AND name = ?", target)


def _insert(connection: sqlite3.Connection, target: ObjectKey, values: Values) -> None:
    if not connection.execute(INSERT_NONCE, values).rowcount:
        raise sharing_rules.nonce_exists()
    # a refusal takes the row back
    check_shared(connection, target)


def _find(connection: sqlite3.Connection, nonce_id: NonceId) -> Nonce | None:
    row = first(connection.execute("SELECT * FROM nonces WHERE id = ?", (nonce_id,)))
    return None if row is None else to_nonce(row)


def _get(connection: sqlite3.Connection, nonce_id: NonceId) -> Nonce:
    nonce = _find(connection, nonce_id)
    if nonce is None:
        raise sharing_rules.no_nonce()
    return nonce


def _list(connection: sqlite3.Connection, target: ObjectKey) -> list[Nonce]:
    rows = connection.execute(
        "SELECT * FROM nonces WHERE kind = ? AND tenant = ? AND name = ? ORDER BY create_time, id",
        target,
    )
    return [to_nonce(row) for row in rows]


def _redeem(
    connection: sqlite3.Connection, nonce_id: NonceId, target: ObjectKey, needed: Level, now: int
) -> Nonce:
    row = first(connection.execute(_REDEEM, (now, nonce_id, *target, int(needed), now)))
    if row is None:
        found = _find(connection, nonce_id)
        raise sharing_rules.refuse_redeem(found, target, needed, rules.from_micros(now))
    return to_nonce(row)


def _delete(connection: sqlite3.Connection, nonce_id: NonceId) -> None:
    if not connection.execute("DELETE FROM nonces WHERE id = ?", (nonce_id,)).rowcount:
        raise sharing_rules.no_nonce()
