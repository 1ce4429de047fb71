"""Who serves the database, in its one row."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from abaco.ports.store import InstanceStore
from backends.stores import rules
from backends.stores.sqlite.database import Database


class SqliteInstance(InstanceStore):
    """The instance's row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, holder: str, now: datetime, ttl_s: float) -> int:
        """Become the one live process."""
        return await self._database.write(_acquire, holder, now, _expiry(now, ttl_s))

    async def heartbeat(self, epoch: int, now: datetime, ttl_s: float) -> bool:
        """Renew."""
        return await self._database.write(_heartbeat, epoch, _expiry(now, ttl_s))

    async def release(self, epoch: int) -> None:
        """Give the place up."""
        await self._database.write(_release, epoch)

    async def ping(self) -> None:
        """Read the row, from the file."""
        await self._database.read(_ping)


def _expiry(now: datetime, ttl_s: float) -> int:
    return rules.to_micros(now + timedelta(seconds=ttl_s))


def _acquire(connection: sqlite3.Connection, holder: str, now: datetime, expiry: int) -> int:
    (row,) = connection.execute("SELECT holder, expires_at FROM instance").fetchall()
    until = None if row["expires_at"] is None else rules.from_micros(row["expires_at"])
    rules.check_vacant(row["holder"], until, holder, now)
    (taken,) = connection.execute(
        "UPDATE instance SET epoch = epoch + 1, holder = ?, expires_at = ? RETURNING epoch",
        (holder, expiry),
    ).fetchall()
    return int(taken["epoch"])


def _heartbeat(connection: sqlite3.Connection, epoch: int, expiry: int) -> bool:
    renewed = connection.execute(
        "UPDATE instance SET expires_at = ? WHERE epoch = ? AND holder IS NOT NULL",
        (expiry, epoch),
    )
    return renewed.rowcount == 1


def _release(connection: sqlite3.Connection, epoch: int) -> None:
    connection.execute(
        "UPDATE instance SET holder = NULL, expires_at = NULL WHERE epoch = ?", (epoch,)
    )


def _ping(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT epoch FROM instance").fetchall()
