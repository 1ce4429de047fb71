"""What webhooks are signed with, sealed, in SQLite."""

from __future__ import annotations

import sqlite3

from abaco.domain.actor import ActorKey
from abaco.ports.vault import Sealed, SealedStore
from backends.stores.event_rules import parse_place, place_of
from backends.stores.sqlite.database import Database

_DROP_ORPHAN = """
    DELETE FROM webhook_secrets WHERE tenant = :tenant AND actor_id = :id
        AND NOT EXISTS (SELECT 1 FROM actors WHERE tenant = :tenant AND id = :id)
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE tenant = :tenant AND actor_id = :id)
"""


class SqliteWebhookSecrets(SealedStore):
    """Secrets as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_sealed(self, *, after: str | None = None, limit: int = 100) -> list[Sealed]:
        """Page the secrets, by (actor's id, tenant)."""
        place = ("", "") if after is None else (parse_place(after).id, parse_place(after).tenant)
        return await self._database.read(_list, place, limit)

    async def reseal(self, present: Sealed, ciphertext: str) -> bool:
        """Replace a secret if it is still the present one."""
        return await self._database.write(_reseal, present, ciphertext)


def _list(connection: sqlite3.Connection, after: tuple[str, str], limit: int) -> list[Sealed]:
    rows = connection.execute(
        "SELECT tenant, actor_id, secret FROM webhook_secrets WHERE (actor_id, tenant) > (?, ?)"
        " ORDER BY actor_id, tenant LIMIT ?",
        (*after, limit),
    )
    return [Sealed(place_of(row["tenant"], row["actor_id"]), row["secret"]) for row in rows]


def _reseal(connection: sqlite3.Connection, present: Sealed, ciphertext: str) -> bool:
    changed = connection.execute(
        "UPDATE webhook_secrets SET secret = ? WHERE tenant = ? AND actor_id = ? AND secret = ?",
        (ciphertext, *parse_place(present.place), present.ciphertext),
    )
    return changed.rowcount == 1


def keep_secret(connection: sqlite3.Connection, actor: ActorKey, secret: str | None) -> None:
    """Store, keep (None) or remove ("") what an actor's webhook is signed with."""
    if secret:
        connection.execute(
            "INSERT INTO webhook_secrets (tenant, actor_id, secret) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET secret = excluded.secret",
            (*actor, secret),
        )
    elif secret is not None:
        connection.execute("DELETE FROM webhook_secrets WHERE tenant = ? AND actor_id = ?", actor)


def forget_secret(connection: sqlite3.Connection, actor: ActorKey) -> None:
    """Drop the secret of an actor that is gone and has no events left."""
    connection.execute(_DROP_ORPHAN, actor._asdict())
