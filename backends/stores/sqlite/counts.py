"""The rows that are kept up instead of counted: queue lengths, totals, conservation."""

from __future__ import annotations

import sqlite3

from abaco.domain.actor import ActorKey
from abaco.domain.execution import Outcome
from abaco.domain.ids import ExecutionId
from backends.stores.sqlite.events import EventWriter
from backends.stores.sqlite.rows import SET_OUTCOME, outcome_values

_MOVE_MAILBOX = """
    UPDATE mailboxes SET
        last_seq = last_seq + :accepted, executions = executions + :accepted,
        queued = queued + :queued, leased = leased + :leased,
        cpu_ns = cpu_ns + :cpu_ns, io_bytes = io_bytes + :io_bytes,
        runtime_ms = runtime_ms + :runtime_ms
    WHERE tenant = :tenant AND actor_id = :actor_id
"""

_MOVE_COUNTERS = """
    UPDATE counters SET accepted = accepted + :accepted, queued = queued + :queued,
        leased = leased + :leased, final = final + :final
"""

_MOVE_TENANT = "UPDATE tenant_mailboxes SET queued = queued + ? WHERE tenant = ?"

_END_QUEUED = f"""
    UPDATE executions SET {SET_OUTCOME}
    WHERE tenant = :tenant AND actor_id = :actor_id AND id IN (
        SELECT execution_id FROM messages
        WHERE tenant = :tenant AND actor_id = :actor_id AND state = 'queued'
    )
"""  # noqa: S608 - constant

QUEUED = "tenant = ? AND actor_id = ? AND state = 'queued'"


def move(
    connection: sqlite3.Connection,
    actor: ActorKey,
    *,
    accepted: int = 0,
    queued: int = 0,
    leased: int = 0,
    ended: int = 0,
    outcome: Outcome | None = None,
) -> None:
    """Account for messages that changed place; ``ended`` of them with this outcome."""
    values = {
        "tenant": actor.tenant,
        "actor_id": actor.id,
        "accepted": accepted,
        "queued": queued,
        "leased": leased,
        "final": ended,
        "cpu_ns": outcome.cpu_ns * ended if outcome else 0,
        "io_bytes": outcome.io_bytes * ended if outcome else 0,
        "runtime_ms": outcome.runtime_ms * ended if outcome else 0,
    }
    connection.execute(_MOVE_MAILBOX, values)
    connection.execute(_MOVE_COUNTERS, values)
    if queued and not connection.execute(_MOVE_TENANT, (queued, actor.tenant)).rowcount:
        connection.execute("INSERT INTO tenant_mailboxes VALUES (?, ?)", (actor.tenant, queued))


def drop_queued(
    connection: sqlite3.Connection, actor: ActorKey, outcome: Outcome, events: EventWriter
) -> list[ExecutionId]:
    """End all executions whose messages wait; their ids in the queue's order."""
    rows = connection.execute(
        f"SELECT execution_id, hops FROM messages WHERE {QUEUED} ORDER BY seq",  # noqa: S608 - constant
        actor,
    ).fetchall()
    if rows:
        values = {**outcome_values(outcome), "tenant": actor.tenant, "actor_id": actor.id}
        connection.execute(_END_QUEUED, values)
        connection.execute(f"DELETE FROM messages WHERE {QUEUED}", actor)  # noqa: S608 - constant
        move(connection, actor, queued=-len(rows), ended=len(rows), outcome=outcome)
    dropped = [(ExecutionId(row["execution_id"]), int(row["hops"])) for row in rows]
    events.ended(connection, actor, dropped, outcome)
    return [execution for execution, _ in dropped]
