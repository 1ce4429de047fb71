"""Events that wait, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import datetime

from abaco.domain.actor import ActorKey
from abaco.domain.event import Event, EventKey
from abaco.domain.execution import Execution
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.message import Message
from abaco.ports.intake import ANY_ROOM, Room, Submission
from abaco.ports.outbox import Outbox
from backends.stores import event_rules, rules
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.events import to_event
from backends.stores.sqlite.intake import Row, put_batch, to_rows
from backends.stores.sqlite.rows import first
from backends.stores.sqlite.webhook_secrets import forget_secret

_HEAD = """
    SELECT o.*, coalesce(s.secret, '') AS secret
    FROM outbox AS o
    LEFT JOIN webhook_secrets AS s ON s.tenant = o.tenant AND s.actor_id = o.actor_id
    WHERE o.tenant = ? AND o.actor_id = ?
    ORDER BY o.seq LIMIT 1
"""


class SqliteOutbox(Outbox):
    """Events as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def with_events(self, among: Collection[ActorKey] | None = None) -> list[ActorKey]:
        """Return the actors that have events, by (tenant, id)."""
        return await self._database.read(_with_events, among)

    async def head(self, actor: ActorKey) -> Event | None:
        """Return the actor's oldest event."""
        return await self._database.read(_head, actor)

    async def deliver_link(
        self, key: EventKey, execution: Execution, message: Message, *, room: Room = ANY_ROOM
    ) -> bool:
        """Submit the link message and end the leg."""
        rules.check_fresh(execution, message)
        (row,) = to_rows([Submission(execution, message)])
        return await self._database.write(_deliver_link, key, message.actor, row, room)

    async def drop_link(self, key: EventKey) -> bool:
        """End the link's leg without a message."""
        return await self._database.write(_end_link, key, None)

    async def settle_webhook(
        self, key: EventKey, attempts: int, *, retry_at: datetime | None
    ) -> bool:
        """Note that one more request was made."""
        return await self._database.write(_settle_webhook, key, attempts, retry_at)


def _with_events(
    connection: sqlite3.Connection, among: Collection[ActorKey] | None
) -> list[ActorKey]:
    if among is None:
        rows = connection.execute(
            "SELECT DISTINCT tenant, actor_id FROM outbox ORDER BY tenant, actor_id"
        )
        return [ActorKey(Tenant(row["tenant"]), ActorId(row["actor_id"])) for row in rows]
    sql = "SELECT 1 FROM outbox WHERE tenant = ? AND actor_id = ? LIMIT 1"
    return [key for key in sorted(set(among)) if first(connection.execute(sql, key)) is not None]


def _head(connection: sqlite3.Connection, actor: ActorKey) -> Event | None:
    row = first(connection.execute(_HEAD, actor))
    return None if row is None else to_event(row, row["secret"])


def _find(connection: sqlite3.Connection, key: EventKey) -> Event | None:
    row = first(
        connection.execute(
            "SELECT * FROM outbox WHERE tenant = ? AND actor_id = ? AND seq = ?", key
        )
    )
    return None if row is None else to_event(row, "")


def _put(connection: sqlite3.Connection, key: EventKey, event: Event | None) -> None:
    """Store what is left of an event; with nothing left it goes, the secret perhaps too."""
    if event is None:
        connection.execute("DELETE FROM outbox WHERE tenant = ? AND actor_id = ? AND seq = ?", key)
        forget_secret(connection, key.actor)
        return
    connection.execute(
        "UPDATE outbox SET is_link_waiting = ?, is_webhook_waiting = ?, target = ?, attempts = ?,"
        " next_attempt_at = ? WHERE tenant = ? AND actor_id = ? AND seq = ?",
        (
            int(event.is_link_waiting),
            int(event.is_webhook_waiting),
            event.target,
            event.attempts,
            rules.to_micros(event.next_attempt_at),
            *key,
        ),
    )


def _end_link(connection: sqlite3.Connection, key: EventKey, target: ActorId | None) -> bool:
    event = _find(connection, key)
    if event is None or not event.is_link_waiting:
        return False
    _put(connection, key, event_rules.without_link(event, target))
    return True


def _deliver_link(
    connection: sqlite3.Connection,
    key: EventKey,
    target: ActorKey,
    row: Row,
    room: Room,
) -> bool:
    if not _end_link(connection, key, target.id):
        return False
    # a refusal takes the leg's end back
    put_batch(connection, target, [row], room)
    return True


def _settle_webhook(
    connection: sqlite3.Connection, key: EventKey, attempts: int, retry_at: datetime | None
) -> bool:
    event = _find(connection, key)
    if event is None or not event.is_webhook_waiting or event.attempts != attempts:
        return False
    _put(connection, key, event_rules.after_request(event, retry_at))
    return True
