"""Actors in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import datetime
from typing import Any

from abaco.domain.actor import Actor, ActorDefinition, ActorKey, ActorStatus
from abaco.domain.cron import CronChange
from abaco.domain.host_access import HostAccess
from abaco.ports.clock import Clock
from abaco.ports.store import ActorStore
from backends.stores import rules
from backends.stores.sqlite.aliases import drop_aliases, unshare
from backends.stores.sqlite.config_entries import unlist
from backends.stores.sqlite.counts import drop_queued
from backends.stores.sqlite.cron_rows import CRON_COLUMNS, cron_values
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.events import EventWriter, refuse_link
from backends.stores.sqlite.host_rows import HOST_COLUMNS, host_values
from backends.stores.sqlite.images import force_image
from backends.stores.sqlite.permissions import begin_map
from backends.stores.sqlite.rows import (
    IF_ABSENT,
    Values,
    actor_values,
    definition_text,
    first,
    insert_sql,
    to_actor,
)
from backends.stores.sqlite.webhook_secrets import forget_secret, keep_secret

ACTOR_COLUMNS = (
    "tenant", "id", "owner", "api_server", "definition", "link", "webhook", "create_time",
    "last_update_time", "status", "status_message", "revision", "state", "state_version",
    *CRON_COLUMNS, *HOST_COLUMNS,
)  # fmt: skip
_INSERT = insert_sql("actors", ACTOR_COLUMNS, on_conflict=IF_ABSENT)

_PAGE = "ORDER BY create_time, id, tenant LIMIT ?"

#: what goes with the actor; workers go by their foreign key
_OWN_TABLES = ("logs", "log_chunks", "results", "result_counts")


class SqliteActors(ActorStore):
    """Actors as rows."""

    def __init__(self, database: Database, clock: Clock, events: EventWriter) -> None:
        self._database = database
        self._clock = clock
        self._events = events

    async def insert(self, actor: Actor) -> None:
        """Add an actor."""
        await self._database.write(_insert, actor, actor_values(actor))

    async def get(self, key: ActorKey) -> Actor:
        """Return the actor."""
        return await self._database.read(get_actor, key)

    async def get_many(self, keys: Collection[ActorKey]) -> list[Actor]:
        """Return the actors that exist, by (create_time, id, tenant)."""
        return await self._database.read(_get_many, set(keys))

    async def list_actors(self, *, after: Actor | None = None, limit: int = 1000) -> list[Actor]:
        """Page actors by (create_time, id, tenant)."""
        return await self._database.read(_list, after, limit)

    async def update(
        self,
        key: ActorKey,
        definition: ActorDefinition,
        *,
        new_revision: bool,
        now: datetime,
        expect_revision: int | None = None,
        cron: CronChange | None = None,
        host: HostAccess | None = None,
        pull_image: bool = False,
    ) -> Actor:
        """Replace the definition."""
        change = {
            "tenant": key.tenant,
            "id": key.id,
            "definition": definition_text(definition),
            "link": definition.link,
            "webhook": definition.webhook,
            "now": rules.to_micros(now),
            "step": int(new_revision),
            "pull": int(pull_image),
        }
        return await self._database.write(
            _update, key, change, expect_revision, cron, host, definition.webhook_secret
        )

    async def set_status(
        self,
        key: ActorKey,
        status: ActorStatus,
        message: str,
        *,
        expect: Collection[ActorStatus],
        revision: int | None = None,
    ) -> bool:
        """Compare-and-set the status and its message."""
        return await self._database.write(
            _set_status, key, status, message, expect, revision, self._events
        )

    async def set_state(
        self, key: ActorKey, state: Any, *, expect_version: int | None = None
    ) -> Actor:
        """Replace the state blob."""
        text = rules.encode_json(state)
        return await self._database.write(_set_state, key, text, expect_version)

    async def delete(self, key: ActorKey) -> None:
        """Remove the actor and all that is only its own."""
        await self._database.write(_delete, key, self._clock.now(), self._events)


def _find(connection: sqlite3.Connection, key: ActorKey) -> Actor | None:
    row = first(connection.execute("SELECT * FROM actors WHERE tenant = ? AND id = ?", key))
    return None if row is None else to_actor(row)


def get_actor(connection: sqlite3.Connection, key: ActorKey) -> Actor:
    """Read an actor. Raises NotFoundError."""
    actor = _find(connection, key)
    if actor is None:
        raise rules.no_actor(key)
    return actor


def _get_many(connection: sqlite3.Connection, keys: Collection[ActorKey]) -> list[Actor]:
    # one statement that is prepared already, however many keys: SQLite has no round trips
    found = [actor for key in keys if (actor := _find(connection, key)) is not None]
    return sorted(found, key=rules.age)


def _get_open(connection: sqlite3.Connection, key: ActorKey) -> Actor:
    actor = get_actor(connection, key)
    rules.check_open(key, actor.status)
    return actor


def _insert(connection: sqlite3.Connection, actor: Actor, values: Values) -> None:
    if not connection.execute(_INSERT, values).rowcount:
        raise rules.already_exists("an actor", actor.id)
    connection.execute(
        "INSERT INTO mailboxes (tenant, actor_id) VALUES (?, ?) ON CONFLICT DO NOTHING", actor.key
    )
    refuse_link(connection, actor.key, actor.definition.link)
    keep_secret(connection, actor.key, actor.definition.webhook_secret)
    begin_map(connection, actor.key.shared, actor.owner)


def _list(connection: sqlite3.Connection, after: Actor | None, limit: int) -> list[Actor]:
    if after is None:
        rows = connection.execute(f"SELECT * FROM actors {_PAGE}", (limit,))  # noqa: S608 - constant
    else:
        rows = connection.execute(
            f"SELECT * FROM actors WHERE (create_time, id, tenant) > (?, ?, ?) {_PAGE}",  # noqa: S608 - constant
            (rules.to_micros(after.create_time), after.id, after.tenant, limit),
        )
    return [to_actor(row) for row in rows]


def _update(
    connection: sqlite3.Connection,
    key: ActorKey,
    change: Values,
    expect_revision: int | None,
    cron: CronChange | None,
    host: HostAccess | None,
    secret: str | None,
) -> Actor:
    actor = _get_open(connection, key)
    rules.check_expected("the revision", actor.revision, expect_revision)
    connection.execute(
        """
        UPDATE actors SET definition = :definition, link = :link, webhook = :webhook,
            last_update_time = :now, status_message = '',
            revision = revision + :step, status = iif(:step, 'SUBMITTED', status)
        WHERE tenant = :tenant AND id = :id
        """,
        change,
    )
    if cron is not None:
        _set_columns(connection, key, cron_values(cron.apply(actor.cron)))
    if host is not None:
        _set_columns(connection, key, host_values(host))
    if change["step"] and change["pull"]:
        force_image(connection, key)
    refuse_link(connection, key, change["link"])
    keep_secret(connection, key, secret)
    return get_actor(connection, key)


def _set_columns(connection: sqlite3.Connection, key: ActorKey, values: Values) -> None:
    columns = ", ".join(f"{column} = :{column}" for column in values)
    connection.execute(
        f"UPDATE actors SET {columns} WHERE tenant = :tenant AND id = :id",  # noqa: S608 - constants
        {**key._asdict(), **values},
    )


def _set_status(
    connection: sqlite3.Connection,
    key: ActorKey,
    status: ActorStatus,
    message: str,
    expect: Collection[ActorStatus],
    revision: int | None,
    events: EventWriter,
) -> bool:
    row = first(
        connection.execute("SELECT status, revision FROM actors WHERE tenant = ? AND id = ?", key)
    )
    if row is None:
        raise rules.no_actor(key)
    if row["status"] not in expect or revision not in (None, row["revision"]):
        return False
    connection.execute(
        "UPDATE actors SET status = ?, status_message = ? WHERE tenant = ? AND id = ?",
        (str(status), message, *key),
    )
    events.status_changed(connection, key, ActorStatus(row["status"]), status, message)
    return True


def _set_state(
    connection: sqlite3.Connection, key: ActorKey, text: str, expect_version: int | None
) -> Actor:
    actor = _get_open(connection, key)
    rules.check_expected("the state's version", actor.state_version, expect_version)
    connection.execute(
        "UPDATE actors SET state = ?, state_version = state_version + 1"
        " WHERE tenant = ? AND id = ?",
        (text, *key),
    )
    return get_actor(connection, key)


def _delete(
    connection: sqlite3.Connection, key: ActorKey, now: datetime, events: EventWriter
) -> None:
    drop_queued(connection, key, rules.deletion(now), events)
    drop_aliases(connection, key)
    unshare(connection, key.shared)
    unlist(connection, key.tenant, key.id)
    for table in _OWN_TABLES:
        connection.execute(
            f"DELETE FROM {table} WHERE tenant = ? AND actor_id = ?",  # noqa: S608 - constant
            key,
        )
    connection.execute("DELETE FROM actors WHERE tenant = ? AND id = ?", key)
    forget_secret(connection, key)
