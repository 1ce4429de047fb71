"""Aliases in SQLite."""

from __future__ import annotations

import sqlite3

from abaco.domain.actor import ActorKey
from abaco.domain.alias import Alias, AliasKey
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.permission import ObjectKey
from abaco.ports.sharing import AliasStore
from backends.stores import rules, sharing_rules
from backends.stores.sqlite.config_entries import unlist
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.events import refuse_cycle
from backends.stores.sqlite.links import unlink
from backends.stores.sqlite.nonces import drop_nonces
from backends.stores.sqlite.permissions import begin_map, check_shared, forget
from backends.stores.sqlite.rows import first
from backends.stores.sqlite.sharing_rows import INSERT_ALIAS, alias_values, to_alias


class SqliteAliases(AliasStore):
    """Aliases as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, alias: Alias) -> None:
        """Add an alias, its owner's to update."""
        await self._database.write(_insert, alias)

    async def get(self, key: AliasKey) -> Alias:
        """Return the alias."""
        return await self._database.read(_get, key)

    async def repoint(self, key: AliasKey, actor_id: ActorId) -> Alias:
        """Let it point to another actor."""
        return await self._database.write(_repoint, key, actor_id)

    async def list_aliases(self, tenant: Tenant) -> list[Alias]:
        """Return the tenant's aliases, by (create_time, alias)."""
        return await self._database.read(_list, tenant)

    async def of_actor(self, actor: ActorKey) -> list[Alias]:
        """Return the aliases that point to an actor, by (create_time, alias)."""
        return await self._database.read(_of_actor, actor)

    async def delete(self, key: AliasKey) -> None:
        """Remove it with its permissions and nonces, and out of links."""
        await self._database.write(_delete, key)


def unshare(connection: sqlite3.Connection, key: ObjectKey) -> None:
    """Remove an object's permissions and nonces."""
    forget(connection, key)
    drop_nonces(connection, key)


def drop_aliases(connection: sqlite3.Connection, actor: ActorKey) -> None:
    """Remove all aliases of an actor with their permissions and nonces."""
    for alias in _of_actor(connection, actor):
        _delete(connection, alias.key)


def _insert(connection: sqlite3.Connection, alias: Alias) -> None:
    if not connection.execute(INSERT_ALIAS, alias_values(alias)).rowcount:
        raise rules.already_exists("an alias", alias.alias)
    # a refusal takes the row back
    check_shared(connection, alias.actor.shared)
    refuse_cycle(connection, alias.actor, field="actor_id")
    begin_map(connection, alias.shared, alias.owner)


def _get(connection: sqlite3.Connection, key: AliasKey) -> Alias:
    row = first(connection.execute("SELECT * FROM aliases WHERE tenant = ? AND alias = ?", key))
    if row is None:
        raise sharing_rules.no_alias(key)
    return to_alias(row)


def _repoint(connection: sqlite3.Connection, key: AliasKey, actor_id: ActorId) -> Alias:
    row = first(
        connection.execute(
            "UPDATE aliases SET actor_id = ? WHERE tenant = ? AND alias = ? RETURNING *",
            (actor_id, *key),
        )
    )
    if row is None:
        raise sharing_rules.no_alias(key)
    alias = to_alias(row)
    # a refusal takes the change back
    check_shared(connection, alias.actor.shared)
    refuse_cycle(connection, alias.actor, field="actor_id")
    return alias


def _list(connection: sqlite3.Connection, tenant: Tenant) -> list[Alias]:
    rows = connection.execute(
        "SELECT * FROM aliases WHERE tenant = ? ORDER BY create_time, alias", (tenant,)
    )
    return [to_alias(row) for row in rows]


def _of_actor(connection: sqlite3.Connection, actor: ActorKey) -> list[Alias]:
    rows = connection.execute(
        "SELECT * FROM aliases WHERE tenant = ? AND actor_id = ? ORDER BY create_time, alias",
        actor,
    )
    return [to_alias(row) for row in rows]


def _delete(connection: sqlite3.Connection, key: AliasKey) -> None:
    alias = _get(connection, key)
    connection.execute("DELETE FROM aliases WHERE tenant = ? AND alias = ?", key)
    unshare(connection, alias.shared)
    unlist(connection, key.tenant, key.alias)
    unlink(connection, key.tenant, key.alias)
