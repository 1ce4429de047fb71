"""Permissions in SQLite: one row per object and user."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from abaco.domain.ids import Tenant
from abaco.domain.permission import WORLD, Level, ObjectKey, ObjectKind
from abaco.ports.sharing import PermissionStore
from backends.stores import sharing_rules
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.rows import first

_OF_OBJECT = "WHERE kind = ? AND tenant = ? AND name = ?"

_GRANT = """
    INSERT INTO permissions (kind, tenant, name, user, level) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET level = excluded.level
"""

_VISIBLE = """
    SELECT name FROM permissions
    WHERE kind = ? AND tenant = ? AND user IN (?, ?) AND level > 0
"""


class SqlitePermissions(PermissionStore):
    """Levels as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def levels(self, key: ObjectKey) -> Mapping[str, Level]:
        """Return the map of an object, by user name."""
        return await self._database.read(_levels, key)

    async def grant(
        self, key: ObjectKey, user: str, level: Level, *, only_new: bool = False
    ) -> Mapping[str, Level]:
        """Add or replace one entry and return the whole map."""
        return await self._database.write(_grant, key, user, level, only_new)

    async def visible(self, kind: ObjectKind, tenant: Tenant, user: str) -> list[str]:
        """Return the names of all objects the user may read."""
        return await self._database.read(_visible, kind, tenant, user)


def begin_map(connection: sqlite3.Connection, key: ObjectKey, owner: str) -> None:
    """Give a new object its map: its owner may change it."""
    _put(connection, key, owner, Level.UPDATE)


def check_shared(connection: sqlite3.Connection, key: ObjectKey) -> None:
    """Raise NotFoundError unless the object has a map, that is: exists."""
    found = connection.execute(f"SELECT 1 FROM permissions {_OF_OBJECT} LIMIT 1", key)  # noqa: S608 - constant
    if first(found) is None:
        raise sharing_rules.no_object(key)


def forget(connection: sqlite3.Connection, key: ObjectKey) -> None:
    """Remove an object's map."""
    connection.execute(f"DELETE FROM permissions {_OF_OBJECT}", key)  # noqa: S608 - constant


def _put(connection: sqlite3.Connection, key: ObjectKey, user: str, level: Level) -> None:
    connection.execute(_GRANT, (*key, user, int(level)))


def _levels(connection: sqlite3.Connection, key: ObjectKey) -> dict[str, Level]:
    rows = connection.execute(
        f"SELECT user, level FROM permissions {_OF_OBJECT} ORDER BY user",  # noqa: S608 - constant
        key,
    )
    return {row["user"]: Level(row["level"]) for row in rows}


def _grant(
    connection: sqlite3.Connection, key: ObjectKey, user: str, level: Level, only_new: bool
) -> dict[str, Level]:
    check_shared(connection, key)
    if not (only_new and user in _levels(connection, key)):
        _put(connection, key, user, level)
    levels = _levels(connection, key)
    # a refusal takes the entry back
    sharing_rules.check_levels(levels)
    return levels


def _visible(
    connection: sqlite3.Connection, kind: ObjectKind, tenant: Tenant, user: str
) -> list[str]:
    rows = connection.execute(_VISIBLE, (kind, tenant, user, WORLD))
    return sorted({row["name"] for row in rows})
