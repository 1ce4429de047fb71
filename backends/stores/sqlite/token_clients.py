"""Clients at an authorization server, in SQLite."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from abaco.domain.ids import ActorId, Tenant, WorkerId
from abaco.errors import ConflictError
from abaco.ports.token_clients import TokenClient, TokenClientStore
from abaco.ports.vault import Sealed
from backends.stores.rules import from_micros, to_micros
from backends.stores.sqlite.database import Database

_INSERT = """
    INSERT INTO token_clients (worker_id, tenant, actor_id, create_time, sealed)
    VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""


class SqliteTokenClients(TokenClientStore):
    """Clients as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, client: TokenClient) -> None:
        """Add a client."""
        await self._database.write(_insert, client)

    async def complete(self, worker_id: WorkerId, sealed: str) -> bool:
        """Write down what its registration brought."""
        return await self._database.write(_complete, worker_id, sealed)

    async def find(self, worker_id: WorkerId) -> TokenClient | None:
        """Return the client of a worker."""
        return await self._database.read(_find, worker_id)

    async def list_clients(
        self, before: datetime, *, after: WorkerId | None = None, limit: int = 500
    ) -> list[TokenClient]:
        """Page the clients of before a time."""
        return await self._database.read(_list, before, after, limit)

    async def delete(self, worker_id: WorkerId) -> None:
        """Remove the record."""
        await self._database.write(_delete, worker_id)

    async def list_sealed(self, *, after: str | None = None, limit: int = 100) -> list[Sealed]:
        """Page the ciphertexts by worker."""
        return await self._database.read(_list_sealed, after, limit)

    async def reseal(self, present: Sealed, ciphertext: str) -> bool:
        """Replace a ciphertext if it is still the present one."""
        return await self._database.write(_reseal, present, ciphertext)


def _insert(connection: sqlite3.Connection, client: TokenClient) -> None:
    values = (
        client.worker_id,
        client.tenant,
        client.actor_id,
        to_micros(client.create_time),
        client.sealed,
    )
    if connection.execute(_INSERT, values).rowcount == 0:
        raise ConflictError(f"worker {client.worker_id} has a client")


def _complete(connection: sqlite3.Connection, worker_id: WorkerId, sealed: str) -> bool:
    changed = connection.execute(
        "UPDATE token_clients SET sealed = ? WHERE worker_id = ?", (sealed, worker_id)
    )
    return changed.rowcount == 1


def _find(connection: sqlite3.Connection, worker_id: WorkerId) -> TokenClient | None:
    rows = connection.execute("SELECT * FROM token_clients WHERE worker_id = ?", (worker_id,))
    return next(map(_to_client, rows), None)


def _list(
    connection: sqlite3.Connection, before: datetime, after: WorkerId | None, limit: int
) -> list[TokenClient]:
    rows = connection.execute(
        "SELECT * FROM token_clients WHERE worker_id > ? AND create_time < ?"
        " ORDER BY worker_id LIMIT ?",
        (after or "", to_micros(before), limit),
    )
    return [_to_client(row) for row in rows]


def _delete(connection: sqlite3.Connection, worker_id: WorkerId) -> None:
    connection.execute("DELETE FROM token_clients WHERE worker_id = ?", (worker_id,))


def _list_sealed(connection: sqlite3.Connection, after: str | None, limit: int) -> list[Sealed]:
    rows = connection.execute(
        "SELECT worker_id, sealed FROM token_clients WHERE worker_id > ? AND sealed <> ''"
        " ORDER BY worker_id LIMIT ?",
        (after or "", limit),
    )
    return [Sealed(row["worker_id"], row["sealed"]) for row in rows]


def _reseal(connection: sqlite3.Connection, present: Sealed, ciphertext: str) -> bool:
    changed = connection.execute(
        "UPDATE token_clients SET sealed = ? WHERE worker_id = ? AND sealed = ?",
        (ciphertext, present.place, present.ciphertext),
    )
    return changed.rowcount == 1


def _to_client(row: sqlite3.Row) -> TokenClient:
    return TokenClient(
        worker_id=WorkerId(row["worker_id"]),
        tenant=Tenant(row["tenant"]),
        actor_id=ActorId(row["actor_id"]),
        create_time=from_micros(row["create_time"]),
        sealed=row["sealed"],
    )
