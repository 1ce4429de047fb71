"""What an alias leaves behind in SQLite: links of actors, and events on their way along them."""

from __future__ import annotations

import sqlite3

from abaco.domain.actor import ActorKey
from abaco.domain.ids import ActorId, Tenant
from backends.stores.rules import decode_json, encode_json
from backends.stores.sqlite.rows import first
from backends.stores.sqlite.webhook_secrets import forget_secret

# the last condition is that of the index
_LINKED = "SELECT id, definition FROM actors WHERE tenant = ? AND link = ? AND link <> ''"
_WAITING = "tenant = ? AND link = ? AND is_link_waiting = 1"


def unlink(connection: sqlite3.Connection, tenant: Tenant, alias: str) -> None:
    """Take an alias that is being deleted out of the links of actors, and drop what waits for it.

    A name that is also an actor's id means the actor, and stays.
    """
    own = connection.execute("SELECT 1 FROM actors WHERE tenant = ? AND id = ?", (tenant, alias))
    if first(own) is not None:
        return
    for row in connection.execute(_LINKED, (tenant, alias)).fetchall():
        definition = encode_json({**decode_json(row["definition"]), "link": ""})
        connection.execute(
            "UPDATE actors SET link = '', definition = ? WHERE tenant = ? AND id = ?",
            (definition, tenant, row["id"]),
        )
    connection.execute(
        f"UPDATE outbox SET is_link_waiting = 0 WHERE {_WAITING} AND is_webhook_waiting = 1",  # noqa: S608 - constant
        (tenant, alias),
    )
    over = connection.execute(
        f"DELETE FROM outbox WHERE {_WAITING} RETURNING actor_id",  # noqa: S608 - constant
        (tenant, alias),
    ).fetchall()
    for actor_id in {row["actor_id"] for row in over}:
        forget_secret(connection, ActorKey(tenant, ActorId(actor_id)))
