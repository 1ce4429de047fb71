"""Records to rows and back. Only here a column's form is known."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from abaco.domain.actor import Actor, ActorDefinition, ActorStatus
from abaco.domain.execution import Execution, ExecutionStatus, HaltReason, IoDetail, Outcome
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId
from abaco.domain.message import Blob, Message, MessageState
from abaco.domain.worker import Worker, WorkerStatus
from backends.stores.rules import decode_json, encode_json, from_micros, to_micros
from backends.stores.sqlite.cron_rows import cron_values, to_cron
from backends.stores.sqlite.host_rows import host_values, to_host

Values = Mapping[str, Any]

#: the secret has a table of its own, from which nothing finds its way into an actor
_DEFINITION_FIELDS = tuple(
    field.name for field in fields(ActorDefinition) if field.name != "webhook_secret"
)


def insert_sql(table: str, columns: Sequence[str], *, on_conflict: str = "") -> str:
    """Write an INSERT with named values, and optionally what a taken key does to it."""
    names = ", ".join(columns)
    values = ", ".join(f":{column}" for column in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({values}) {on_conflict}"  # noqa: S608 - names from this program only


#: a taken key inserts nothing, and the row count tells
IF_ABSENT = "ON CONFLICT DO NOTHING"


def first(cursor: sqlite3.Cursor) -> sqlite3.Row | None:
    """Run a statement to its end and return the first row, if there is one."""
    rows: list[sqlite3.Row] = cursor.fetchall()
    return rows[0] if rows else None


def micros_or_none(time: datetime | None) -> int | None:
    """Convert a time that may be missing."""
    return None if time is None else to_micros(time)


def time_or_none(micros: int | None) -> datetime | None:
    """Convert back what ``micros_or_none`` converted."""
    return None if micros is None else from_micros(micros)


def definition_text(definition: ActorDefinition) -> str:
    """Spell an actor's definition."""
    return encode_json({name: getattr(definition, name) for name in _DEFINITION_FIELDS})


def actor_values(actor: Actor) -> Values:
    """Return an actor's columns."""
    return {
        "tenant": actor.tenant,
        "id": actor.id,
        "owner": actor.owner,
        "api_server": actor.api_server,
        "definition": definition_text(actor.definition),
        "link": actor.definition.link,
        "webhook": actor.definition.webhook,
        "create_time": to_micros(actor.create_time),
        "last_update_time": to_micros(actor.last_update_time),
        "status": str(actor.status),
        "status_message": actor.status_message,
        "revision": actor.revision,
        "state": encode_json(actor.state),
        "state_version": actor.state_version,
        **cron_values(actor.cron),
        **host_values(actor.host),
    }


def to_actor(row: sqlite3.Row) -> Actor:
    """Read an actor."""
    definition = decode_json(row["definition"])
    definition["hints"] = tuple(definition["hints"])
    return Actor(
        tenant=Tenant(row["tenant"]),
        id=ActorId(row["id"]),
        owner=row["owner"],
        api_server=row["api_server"],
        definition=ActorDefinition(**definition),
        create_time=from_micros(row["create_time"]),
        last_update_time=from_micros(row["last_update_time"]),
        status=ActorStatus(row["status"]),
        status_message=row["status_message"],
        revision=row["revision"],
        state=decode_json(row["state"]),
        state_version=row["state_version"],
        cron=to_cron(row),
        host=to_host(row),
    )


def fresh_execution_values(execution: Execution, seq: int) -> Values:
    """Return the columns of an execution that was just accepted; the others have defaults."""
    return {
        "tenant": execution.tenant,
        "actor_id": execution.actor_id,
        "id": execution.id,
        "api_server": execution.api_server,
        "executor": execution.executor,
        "message_received_time": to_micros(execution.message_received_time),
        "message_seq": seq,
    }


#: columns that end an execution
_OUTCOME_COLUMNS = (
    "status", "finish_time", "exit_code", "final_state", "cpu_ns", "io_bytes", "net_rx", "net_tx",
    "blk_read", "blk_write", "memory_peak_bytes", "runtime_ms", "error",
)  # fmt: skip

#: sets them to what outcome_values returns
SET_OUTCOME = ", ".join(f"{name} = :{name}" for name in _OUTCOME_COLUMNS)


def outcome_values(outcome: Outcome) -> Values:
    """Return the columns that end an execution."""
    state = outcome.final_state
    return {
        "status": str(outcome.status),
        "finish_time": to_micros(outcome.finish_time),
        "exit_code": outcome.exit_code,
        "final_state": None if state is None else encode_json(state),
        "cpu_ns": outcome.cpu_ns,
        "io_bytes": outcome.io_bytes,
        "net_rx": outcome.io_detail.net_rx,
        "net_tx": outcome.io_detail.net_tx,
        "blk_read": outcome.io_detail.blk_read,
        "blk_write": outcome.io_detail.blk_write,
        "memory_peak_bytes": outcome.memory_peak_bytes,
        "runtime_ms": outcome.runtime_ms,
        "error": outcome.error,
    }


def _to_outcome(row: sqlite3.Row) -> Outcome | None:
    if row["finish_time"] is None:
        return None
    state = row["final_state"]
    return Outcome(
        status=ExecutionStatus(row["status"]),
        finish_time=from_micros(row["finish_time"]),
        exit_code=row["exit_code"],
        final_state=None if state is None else decode_json(state),
        cpu_ns=row["cpu_ns"],
        io_bytes=row["io_bytes"],
        io_detail=IoDetail(
            net_rx=row["net_rx"],
            net_tx=row["net_tx"],
            blk_read=row["blk_read"],
            blk_write=row["blk_write"],
        ),
        memory_peak_bytes=row["memory_peak_bytes"],
        runtime_ms=row["runtime_ms"],
        error=row["error"],
    )


def to_execution(row: sqlite3.Row) -> Execution:
    """Read an execution."""
    halt = row["halt_requested"]
    return Execution(
        tenant=Tenant(row["tenant"]),
        actor_id=ActorId(row["actor_id"]),
        id=ExecutionId(row["id"]),
        api_server=row["api_server"],
        executor=row["executor"],
        message_received_time=from_micros(row["message_received_time"]),
        status=ExecutionStatus(row["status"]),
        worker_id=None if row["worker_id"] is None else WorkerId(row["worker_id"]),
        attempt=row["attempt"],
        losses=row["losses"],
        container_id=row["container_id"],
        start_time=time_or_none(row["start_time"]),
        halt_requested=None if halt is None else HaltReason(halt),
        outcome=_to_outcome(row),
    )


def message_values(message: Message) -> Values:
    """Return a message's columns."""
    return {
        "tenant": message.tenant,
        "actor_id": message.actor_id,
        "seq": message.seq,
        "execution_id": message.execution_id,
        "state": str(message.state),
        "lease_owner": message.lease_owner,
        "body": encode_json(message.body),
        "content_type": message.content_type,
        "username": message.username,
        "api_server": message.api_server,
        "enqueued_at": to_micros(message.enqueued_at),
        "environment": encode_json(message.environment),
        "jwt_header": message.jwt_header,
        "revision": message.revision,
        "blob_bytes": message.blob.size_bytes if message.blob else None,
        "blob_sha256": message.blob.sha256 if message.blob else None,
        "hops": message.hops,
    }


def to_message(row: sqlite3.Row) -> Message:
    """Read a message."""
    owner = row["lease_owner"]
    return Message(
        tenant=Tenant(row["tenant"]),
        actor_id=ActorId(row["actor_id"]),
        execution_id=ExecutionId(row["execution_id"]),
        body=decode_json(row["body"]),
        content_type=row["content_type"],
        username=row["username"],
        api_server=row["api_server"],
        enqueued_at=from_micros(row["enqueued_at"]),
        environment=decode_json(row["environment"]),
        jwt_header=row["jwt_header"],
        revision=row["revision"],
        hops=row["hops"],
        seq=row["seq"],
        state=MessageState(row["state"]),
        lease_owner=None if owner is None else WorkerId(owner),
        blob=_to_blob(row),
    )


def _to_blob(row: sqlite3.Row) -> Blob | None:
    size = row["blob_bytes"]
    return None if size is None else Blob(size_bytes=size, sha256=row["blob_sha256"])


def worker_values(worker: Worker) -> Values:
    """Return a worker's columns."""
    return {
        "tenant": worker.tenant,
        "actor_id": worker.actor_id,
        "id": worker.id,
        "image": worker.image,
        "revision": worker.revision,
        "host_id": worker.host_id,
        "host_ip": worker.host_ip,
        "location": worker.location,
        "create_time": to_micros(worker.create_time),
        "status": str(worker.status),
        "previous_status": None if worker.previous_status is None else str(worker.previous_status),
        "container_id": worker.container_id,
        "last_execution_time": micros_or_none(worker.last_execution_time),
        "last_health_check_time": micros_or_none(worker.last_health_check_time),
        "is_retiring": int(worker.is_retiring),
        "queue": worker.queue,
    }


def to_worker(row: sqlite3.Row) -> Worker:
    """Read a worker."""
    previous = row["previous_status"]
    return Worker(
        tenant=Tenant(row["tenant"]),
        actor_id=ActorId(row["actor_id"]),
        id=WorkerId(row["id"]),
        image=row["image"],
        revision=row["revision"],
        host_id=row["host_id"],
        host_ip=row["host_ip"],
        location=row["location"],
        create_time=from_micros(row["create_time"]),
        status=WorkerStatus(row["status"]),
        previous_status=None if previous is None else WorkerStatus(previous),
        container_id=row["container_id"],
        last_execution_time=time_or_none(row["last_execution_time"]),
        last_health_check_time=time_or_none(row["last_health_check_time"]),
        is_retiring=bool(row["is_retiring"]),
        queue=row["queue"],
    )
