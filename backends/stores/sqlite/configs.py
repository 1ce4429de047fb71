"""Configs in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from abaco.domain.actor import ActorKey
from abaco.domain.actor_config import ActorConfig, ConfigKey
from abaco.domain.ids import Tenant
from abaco.domain.permission import WORLD, Level
from abaco.ports.configs import ConfigStore
from abaco.ports.vault import Sealed
from backends.stores import rules, sharing_rules
from backends.stores.sqlite.aliases import unshare
from backends.stores.sqlite.config_entries import put_entries
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.permissions import begin_map
from backends.stores.sqlite.rows import IF_ABSENT, first, insert_sql

_INSERT = insert_sql(
    "configs",
    ("tenant", "name", "value", "is_secret", "actors", "owner", "create_time"),
    on_conflict=IF_ABSENT,
)

#: who may update the actor, and what each of them lists under one of its names
_OF_HOLDERS = """
    SELECT e.name FROM permissions AS p CROSS JOIN config_entries AS e
        ON e.tenant = p.tenant AND e.identifier = :identifier AND e.owner = p.user
    WHERE p.kind = 'actor' AND p.tenant = :tenant AND p.name = :actor_id AND p.level = :update
"""
_OF_ANYBODY = "SELECT name FROM config_entries WHERE tenant = :tenant AND identifier = :identifier"
_IS_EVERYBODYS = """
    SELECT 1 FROM permissions
    WHERE kind = 'actor' AND tenant = :tenant AND name = :actor_id AND user = :world
        AND level = :update
"""


class SqliteConfigs(ConfigStore):
    """Configs as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, config: ActorConfig) -> None:
        """Add a config, its owner's to update."""
        await self._database.write(_insert, config)

    async def get(self, key: ConfigKey) -> ActorConfig:
        """Return the config."""
        return await self._database.read(_get, key)

    async def list_names(self, tenant: Tenant) -> list[str]:
        """Return all names of a tenant."""
        return await self._database.read(_list_names, tenant)

    async def get_many(self, tenant: Tenant, names: Collection[str]) -> list[ActorConfig]:
        """Return the configs that exist, by name."""
        return await self._database.read(_get_many, tenant, sorted(set(names)))

    async def replace(
        self, key: ConfigKey, *, value: str, is_secret: bool, actors: str
    ) -> ActorConfig:
        """Replace what a client may set."""
        return await self._database.write(_replace, key, value, is_secret, actors)

    async def delete(self, key: ConfigKey) -> None:
        """Remove it with its permissions."""
        await self._database.write(_delete, key)

    async def of_actor(self, actor: ActorKey, *, max_bytes: int) -> list[ActorConfig]:
        """Return what an execution of this actor is given now."""
        return await self._database.read(_of_actor, actor, max_bytes)

    async def list_sealed(self, *, after: str | None = None, limit: int = 100) -> list[Sealed]:
        """Page the values of secrets, by row."""
        return await self._database.read(_list_sealed, int(after or 0), limit)

    async def reseal(self, present: Sealed, ciphertext: str) -> bool:
        """Replace a value if it is still the present one."""
        return await self._database.write(_reseal, present, ciphertext)


def to_config(row: sqlite3.Row) -> ActorConfig:
    """Read a config."""
    return ActorConfig(
        tenant=Tenant(row["tenant"]),
        name=row["name"],
        value=row["value"],
        is_secret=bool(row["is_secret"]),
        actors=row["actors"],
        owner=row["owner"],
        create_time=rules.from_micros(row["create_time"]),
    )


def _insert(connection: sqlite3.Connection, config: ActorConfig) -> None:
    values = {
        "tenant": config.tenant,
        "name": config.name,
        "value": config.value,
        "is_secret": int(config.is_secret),
        "actors": config.actors,
        "owner": config.owner,
        "create_time": rules.to_micros(config.create_time),
    }
    if not connection.execute(_INSERT, values).rowcount:
        raise rules.already_exists("a config", config.name)
    # a refusal takes the row back
    put_entries(connection, config)
    begin_map(connection, config.shared, config.owner)


def _find(connection: sqlite3.Connection, key: ConfigKey) -> ActorConfig | None:
    row = first(connection.execute("SELECT * FROM configs WHERE tenant = ? AND name = ?", key))
    return None if row is None else to_config(row)


def _get(connection: sqlite3.Connection, key: ConfigKey) -> ActorConfig:
    config = _find(connection, key)
    if config is None:
        raise sharing_rules.no_config(key)
    return config


def _list_names(connection: sqlite3.Connection, tenant: Tenant) -> list[str]:
    rows = connection.execute("SELECT name FROM configs WHERE tenant = ? ORDER BY name", (tenant,))
    return [row["name"] for row in rows]


def _get_many(
    connection: sqlite3.Connection, tenant: Tenant, names: Collection[str]
) -> list[ActorConfig]:
    found = (_find(connection, ConfigKey(tenant, name)) for name in names)
    return [config for config in found if config is not None]


def _replace(
    connection: sqlite3.Connection, key: ConfigKey, value: str, is_secret: bool, actors: str
) -> ActorConfig:
    row = first(
        connection.execute(
            "UPDATE configs SET value = ?, is_secret = ?, actors = ?"
            " WHERE tenant = ? AND name = ? RETURNING *",
            (value, int(is_secret), actors, *key),
        )
    )
    if row is None:
        raise sharing_rules.no_config(key)
    config = to_config(row)
    # a refusal takes the change back
    put_entries(connection, config)
    return config


def _delete(connection: sqlite3.Connection, key: ConfigKey) -> None:
    # what it lists goes by its foreign key
    if not connection.execute("DELETE FROM configs WHERE tenant = ? AND name = ?", key).rowcount:
        raise sharing_rules.no_config(key)
    unshare(connection, key.shared)


def _names_of_actor(connection: sqlite3.Connection, actor: ActorKey) -> set[str]:
    # One small statement for each name of the actor: SQLite has no round trips, and its plan for
    # all in one walks every entry.
    named = {
        "tenant": actor.tenant,
        "actor_id": actor.id,
        "update": int(Level.UPDATE),
        "world": WORLD,
    }
    is_everybodys = first(connection.execute(_IS_EVERYBODYS, named)) is not None
    entries = _OF_ANYBODY if is_everybodys else _OF_HOLDERS
    aliases = connection.execute(
        "SELECT alias FROM aliases WHERE tenant = ? AND actor_id = ?", actor
    ).fetchall()
    return {
        row["name"]
        for identifier in (actor.id, *(alias["alias"] for alias in aliases))
        for row in connection.execute(entries, {**named, "identifier": identifier})
    }


def _of_actor(connection: sqlite3.Connection, actor: ActorKey, max_bytes: int) -> list[ActorConfig]:
    found, size = [], 0
    # one by one, so that no more is held than may be given out
    for name in sorted(_names_of_actor(connection, actor)):
        found.append(_get(connection, ConfigKey(actor.tenant, name)))
        size += len(found[-1].value.encode())
        if size > max_bytes:
            raise sharing_rules.too_many_values(max_bytes)
    return found


def _list_sealed(connection: sqlite3.Connection, after: int, limit: int) -> list[Sealed]:
    rows = connection.execute(
        "SELECT id, value FROM configs WHERE is_secret = 1 AND id > ? ORDER BY id LIMIT ?",
        (after, limit),
    )
    return [Sealed(str(row["id"]), row["value"]) for row in rows]


def _reseal(connection: sqlite3.Connection, present: Sealed, ciphertext: str) -> bool:
    changed = connection.execute(
        "UPDATE configs SET value = ? WHERE id = ? AND value = ? AND is_secret = 1",
        (ciphertext, int(present.place), present.ciphertext),
    )
    return changed.rowcount == 1
