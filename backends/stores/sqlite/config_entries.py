"""What configs list, in SQLite: one row per config and id or alias."""

from __future__ import annotations

import sqlite3

from abaco.domain.actor_config import ActorConfig, without_actor
from abaco.domain.ids import Tenant
from backends.stores import sharing_rules
from backends.stores.sqlite.rows import first

_EXISTS = """
    SELECT 1 FROM actors WHERE tenant = :tenant AND id = :identifier
    UNION ALL SELECT 1 FROM aliases WHERE tenant = :tenant AND alias = :identifier
"""

_INSERT = "INSERT INTO config_entries (tenant, identifier, owner, name) VALUES (?, ?, ?, ?)"


def put_entries(connection: sqlite3.Connection, config: ActorConfig) -> None:
    """Write down what a config lists, in place of what it listed.

    Raises:
        NotFoundError: Names an entry that does not exist.

    """
    connection.execute("DELETE FROM config_entries WHERE tenant = ? AND name = ?", config.key)
    for identifier in config.identifiers:
        named = {"tenant": config.tenant, "identifier": identifier}
        if first(connection.execute(_EXISTS, named)) is None:
            raise sharing_rules.no_target(identifier)
        connection.execute(_INSERT, (config.tenant, identifier, config.owner, config.name))


def unlist(connection: sqlite3.Connection, tenant: Tenant, identifier: str) -> None:
    """Take what is being deleted out of the configs that list it."""
    rows = connection.execute(
        "SELECT c.id, c.actors FROM config_entries AS e"
        " JOIN configs AS c ON c.tenant = e.tenant AND c.name = e.name"
        " WHERE e.tenant = ? AND e.identifier = ?",
        (tenant, identifier),
    ).fetchall()
    for row in rows:
        left = without_actor(row["actors"], identifier)
        connection.execute("UPDATE configs SET actors = ? WHERE id = ?", (left, row["id"]))
    connection.execute(
        "DELETE FROM config_entries WHERE tenant = ? AND identifier = ?", (tenant, identifier)
    )
