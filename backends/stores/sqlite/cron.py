"""Cron schedules in SQLite: columns of the actors, found by an index on what is due."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from abaco.domain.actor import Actor, ActorKey
from abaco.ports.cron import CronStore
from abaco.ports.intake import ANY_ROOM, Room, Submission
from backends.stores import intake_rules, rules
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.intake import Row, put_batch, to_rows
from backends.stores.sqlite.rows import Values, first, micros_or_none, to_actor

#: the rows of the index
_SCHEDULED = "cron_next_at IS NOT NULL AND status <> 'SHUTTING_DOWN'"

_NEXT_DUE = f"""
    SELECT cron_next_at FROM actors WHERE {_SCHEDULED} AND cron_next_at > ?
    ORDER BY cron_next_at LIMIT 1
"""  # noqa: S608 - constant

_DUE = f"""
    SELECT * FROM actors WHERE {_SCHEDULED} AND cron_next_at <= :now
    ORDER BY cron_next_at, id, tenant LIMIT :limit
"""  # noqa: S608 - constant

_DUE_AFTER = f"""
    SELECT * FROM actors WHERE {_SCHEDULED} AND cron_next_at <= :now
        AND (cron_next_at, id, tenant) > (:next_at, :id, :tenant)
    ORDER BY cron_next_at, id, tenant LIMIT :limit
"""  # noqa: S608 - constant

_FIRE = """
    UPDATE actors SET cron_next_at = :new_next, cron_last_execution = :execution
    WHERE tenant = :tenant AND id = :id AND cron_next_at = :expect_next AND cron_on
        AND status IN ('SUBMITTED', 'READY')
"""

_ADVANCE = """
    UPDATE actors SET cron_next_at = :new_next
    WHERE tenant = :tenant AND id = :id AND cron_next_at = :expect_next
"""


class SqliteCron(CronStore):
    """Schedules as columns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self, after: datetime) -> datetime | None:
        """Return the first ``next_at`` later than ``after``."""
        return await self._database.read(_next_due, rules.to_micros(after))

    async def due(
        self, now: datetime, *, after: Actor | None = None, limit: int = 100
    ) -> list[Actor]:
        """Page the actors whose ``next_at`` is not later than ``now``."""
        values = {"now": rules.to_micros(now), "limit": limit}
        if after is None:
            return await self._database.read(_due, _DUE, values)
        next_at, actor_id, tenant = rules.cron_place(after)
        place = {"next_at": rules.to_micros(next_at), "id": actor_id, "tenant": tenant}
        return await self._database.read(_due, _DUE_AFTER, {**values, **place})

    async def fire(
        self,
        submission: Submission,
        *,
        expect_next: datetime,
        new_next: datetime | None,
        room: Room = ANY_ROOM,
    ) -> bool:
        """Submit the message of a slot and move on to the next."""
        actor = intake_rules.check_batch([submission])
        move = {**_move(actor, expect_next, new_next), "execution": submission.execution.id}
        (row,) = to_rows([submission])
        return await self._database.write(_fire, actor, move, row, room)

    async def advance(
        self, key: ActorKey, *, expect_next: datetime, new_next: datetime | None
    ) -> bool:
        """Move on without a message."""
        return await self._database.write(_advance, _move(key, expect_next, new_next))


def _move(key: ActorKey, expect_next: datetime, new_next: datetime | None) -> Values:
    return {
        **key._asdict(),
        "expect_next": rules.to_micros(expect_next),
        "new_next": micros_or_none(new_next),
    }


def _next_due(connection: sqlite3.Connection, after: int) -> datetime | None:
    row = first(connection.execute(_NEXT_DUE, (after,)))
    return None if row is None else rules.from_micros(row["cron_next_at"])


def _due(connection: sqlite3.Connection, sql: str, values: Values) -> list[Actor]:
    return [to_actor(row) for row in connection.execute(sql, values)]


def _fire(
    connection: sqlite3.Connection, actor: ActorKey, move: Values, row: Row, room: Room
) -> bool:
    if not connection.execute(_FIRE, move).rowcount:
        return False
    # a refusal takes the move back
    put_batch(connection, actor, [row], room)
    return True


def _advance(connection: sqlite3.Connection, move: Values) -> bool:
    return bool(connection.execute(_ADVANCE, move).rowcount)
