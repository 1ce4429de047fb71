"""Writing events in SQLite, in the transactions of whatever makes them happen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import partial

from abaco.domain.actor import ActorKey, ActorStatus
from abaco.domain.event import Event, EventPolicy, EventType, Happening
from abaco.domain.execution import ExecutionKey, Outcome
from abaco.domain.ids import ActorId, ExecutionId, Tenant
from abaco.ports.clock import Clock
from backends.stores.event_rules import check_links, check_new_link, fresh_event
from backends.stores.rules import decode_json, encode_json, from_micros, to_micros
from backends.stores.sqlite.rows import Values, first, insert_sql

_COLUMNS = (
    "tenant", "actor_id", "seq", "type", "time", "details", "api_server", "link", "webhook",
    "hops", "is_link_waiting", "is_webhook_waiting", "target", "attempts", "next_attempt_at",
)  # fmt: skip
_INSERT = insert_sql("outbox", _COLUMNS)

_FIND_LISTENED = """
    SELECT a.api_server, a.link, a.webhook, m.last_event
    FROM actors AS a JOIN mailboxes AS m ON m.tenant = a.tenant AND m.actor_id = a.id
    WHERE a.tenant = ? AND a.id = ?
"""

#: whom an actor's link leads to: what has the form of an id is one, else it is an alias
_FOLLOW = """
    SELECT coalesce(b.id, l.actor_id) AS id
    FROM actors AS a
    LEFT JOIN actors AS b ON b.tenant = a.tenant AND b.id = a.link
    LEFT JOIN aliases AS l ON l.tenant = a.tenant AND l.alias = a.link
    WHERE a.tenant = ? AND a.id = ?
"""


class EventWriter:
    """Writes what is an event to the outbox, if the actor has somebody to tell it to."""

    def __init__(self, policy: EventPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock

    def status_changed(
        self,
        connection: sqlite3.Connection,
        actor: ActorKey,
        before: ActorStatus,
        after: ActorStatus,
        message: str,
    ) -> None:
        """Note that an actor's status was set."""
        self._write(connection, actor, [(self._policy.of_status(before, after, message), 0)])

    def started(self, connection: sqlite3.Connection, key: ExecutionKey, message_seq: int) -> None:
        """Note that an execution is RUNNING."""
        happening = self._policy.of_start(key.id)
        if happening is None:
            return
        (message,) = connection.execute(
            "SELECT hops FROM messages WHERE tenant = ? AND actor_id = ? AND seq = ?",
            (*key.actor, message_seq),
        ).fetchall()
        self._write(connection, key.actor, [(happening, message["hops"])])

    def ended(
        self,
        connection: sqlite3.Connection,
        actor: ActorKey,
        executions: Iterable[tuple[ExecutionId, int]],
        outcome: Outcome,
    ) -> None:
        """Note the end of executions, in their order, each with the hops of its message."""
        happenings = [(self._policy.of_end(each, outcome), hops) for each, hops in executions]
        self._write(connection, actor, happenings)

    def _write(
        self,
        connection: sqlite3.Connection,
        actor: ActorKey,
        happenings: list[tuple[Happening | None, int]],
    ) -> None:
        told = [(happening, hops) for happening, hops in happenings if happening is not None]
        row = first(connection.execute(_FIND_LISTENED, actor)) if told else None
        if row is None or not (row["link"] or row["webhook"]):
            return
        now = self._clock.now()
        rows = [
            _event_values(
                fresh_event(
                    actor,
                    row["last_event"] + number,
                    happening,
                    api_server=row["api_server"],
                    link=row["link"],
                    webhook=row["webhook"],
                    hops=hops + 1,
                    now=now,
                )
            )
            for number, (happening, hops) in enumerate(told, start=1)
        ]
        connection.executemany(_INSERT, rows)
        connection.execute(
            "UPDATE mailboxes SET last_event = last_event + ? WHERE tenant = ? AND actor_id = ?",
            (len(rows), *actor),
        )


def _event_values(event: Event) -> Values:
    return {
        "tenant": event.tenant,
        "actor_id": event.actor_id,
        "seq": event.seq,
        "type": str(event.type),
        "time": to_micros(event.time),
        "details": encode_json(event.details),
        "api_server": event.api_server,
        "link": event.link,
        "webhook": event.webhook,
        "hops": event.hops,
        "is_link_waiting": int(event.is_link_waiting),
        "is_webhook_waiting": int(event.is_webhook_waiting),
        "target": event.target,
        "attempts": event.attempts,
        "next_attempt_at": to_micros(event.next_attempt_at),
    }


def to_event(row: sqlite3.Row, secret: str) -> Event:
    """Read an event."""
    return Event(
        tenant=Tenant(row["tenant"]),
        actor_id=ActorId(row["actor_id"]),
        seq=row["seq"],
        type=EventType(row["type"]),
        time=from_micros(row["time"]),
        details=decode_json(row["details"]),
        api_server=row["api_server"],
        link=row["link"],
        webhook=row["webhook"],
        webhook_secret=secret,
        hops=row["hops"],
        is_link_waiting=bool(row["is_link_waiting"]),
        is_webhook_waiting=bool(row["is_webhook_waiting"]),
        target=None if row["target"] is None else ActorId(row["target"]),
        attempts=row["attempts"],
        next_attempt_at=from_micros(row["next_attempt_at"]),
    )


def refuse_cycle(connection: sqlite3.Connection, actor: ActorKey, *, field: str) -> None:
    """Refuse what the transaction has just written if links lead from an actor to itself.

    Raises:
        InvalidInputError: They do; the transaction is taken back.

    """
    check_links(actor, partial(_follow, connection), field=field)


def refuse_link(connection: sqlite3.Connection, actor: ActorKey, link: str) -> None:
    """Refuse the link the transaction has just given an actor if it leads to nobody, or back.

    Raises:
        InvalidInputError: It does; the transaction is taken back.

    """
    check_new_link(actor, link, partial(_follow, connection))


def _follow(connection: sqlite3.Connection, key: ActorKey) -> ActorKey | None:
    row = first(connection.execute(_FOLLOW, key))
    return None if row is None or row["id"] is None else ActorKey(key.tenant, row["id"])
