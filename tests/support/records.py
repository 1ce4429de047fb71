"""Builders of records with sensible values, for tests of every room.

Each takes any field of its record by keyword; what is not named gets a plain default. Ids are
drawn from a counter, so that two records built in a row never share one.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from abaco.domain.actor import Actor, ActorDefinition, ActorKey
from abaco.domain.actor_config import ActorConfig
from abaco.domain.alias import Alias
from abaco.domain.audit import AuditOutcome, AuditRecord
from abaco.domain.cron import Cron
from abaco.domain.event import Event, EventType
from abaco.domain.execution import Execution, ExecutionKey, ExecutionStatus, IoDetail, Outcome
from abaco.domain.host_access import HostAccess
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId, encode_id
from abaco.domain.message import Message
from abaco.domain.mount import Mount, MountMode
from abaco.domain.nonce import UNLIMITED, Nonce, NonceId
from abaco.domain.permission import Level, ObjectKey
from abaco.domain.worker import Worker, WorkerKey, WorkerStatus
from abaco.ports.clock import Clock, IdSource
from abaco.ports.intake import RetryKey

TENANT = Tenant("DEV")
OWNER = "jane"
API_SERVER = "http://127.0.0.1:8000"
IMAGE = "abaco_test"
NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)

_numbers = itertools.count(10**15)


class SteppedClock(Clock):
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime = NOON) -> None:
        self._start = self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def advance(self, seconds: float) -> datetime:
        """Move on and return the new wall time."""
        self._now += timedelta(seconds=seconds)
        return self._now


class CountedIds(IdSource):
    """Identifiers of the right form, from a counter."""

    def new_id(self) -> str:
        return new_id()

    def is_id(self, text: str) -> bool:
        return text.isalnum()


def new_id() -> str:
    """Return an id that no other record of this process has."""
    return encode_id(next(_numbers))


def at(seconds: float) -> datetime:
    """Return the time this many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def a_definition(**fields: Any) -> ActorDefinition:
    """Build what a client sends to register an actor."""
    return ActorDefinition(**{"image": IMAGE, **fields})


def an_actor(**fields: Any) -> Actor:
    """Build an actor. Fields of its definition may be given directly (``stateless=False``)."""
    names = ActorDefinition.__dataclass_fields__
    inner = {name: fields.pop(name) for name in list(fields) if name in names}
    defaults = {
        "tenant": TENANT,
        "id": ActorId(new_id()),
        "owner": OWNER,
        "api_server": API_SERVER,
        "definition": a_definition(**inner),
        "create_time": NOON,
        "last_update_time": NOON,
    }
    return Actor(**{**defaults, **fields})


def a_host(**fields: Any) -> HostAccess:
    """Build what an actor has of the host: a user, and a mount of each mode."""
    mounts = (
        Mount(
            host_path="/work/05/jane",
            container_path="/work",
            mode=MountMode.RW,
            base="/work",
        ),
        Mount(host_path="/data/ü", container_path="/data", mode=MountMode.RO, base="/data/ü"),
    )
    defaults = {"uid": 1001, "gid": 816, "tasdir": "05/jane", "mounts": mounts}
    return HostAccess(**{**defaults, **fields})


def an_execution(actor: Actor | ActorKey, **fields: Any) -> Execution:
    """Build a fresh execution of an actor."""
    key = actor.key if isinstance(actor, Actor) else actor
    defaults = {
        "tenant": key.tenant,
        "actor_id": key.id,
        "id": ExecutionId(new_id()),
        "api_server": API_SERVER,
        "executor": OWNER,
        "message_received_time": NOON,
    }
    return Execution(**{**defaults, **fields})


def a_message(execution: Execution, **fields: Any) -> Message:
    """Build the message that makes the execution."""
    defaults = {
        "tenant": execution.tenant,
        "actor_id": execution.actor_id,
        "execution_id": execution.id,
        "body": "hello",
        "content_type": "str",
        "username": execution.executor,
        "api_server": execution.api_server,
        "enqueued_at": execution.message_received_time,
    }
    return Message(**{**defaults, **fields})


def a_worker(actor: Actor, **fields: Any) -> Worker:
    """Build a worker record as the spawner requests it."""
    defaults = {
        "tenant": actor.tenant,
        "actor_id": actor.id,
        "id": WorkerId(new_id()),
        "image": actor.definition.image,
        "revision": actor.revision,
        "host_id": "0",
        "host_ip": "127.0.0.1",
        "location": "unix:///var/run/docker.sock",
        "create_time": NOON,
        "status": WorkerStatus.REQUESTED,
    }
    return Worker(**{**defaults, **fields})


def an_outcome(**fields: Any) -> Outcome:
    """Build the outcome of a run that went well."""
    defaults = {
        "status": ExecutionStatus.COMPLETE,
        "finish_time": at(2),
        "exit_code": 0,
        "final_state": {"Status": "exited", "ExitCode": 0, "OOMKilled": False},
        "cpu_ns": 5_000_000,
        "io_bytes": 1_024,
        "io_detail": IoDetail(net_rx=1_024, net_tx=512, blk_read=4_096, blk_write=8_192),
        "memory_peak_bytes": 7_000_000,
        "runtime_ms": 1_500,
    }
    return Outcome(**{**defaults, **fields})


def an_error_outcome(error: str = "it broke", **fields: Any) -> Outcome:
    """Build the outcome of an execution that never ran to its end."""
    return Outcome(
        **{"status": ExecutionStatus.ERROR, "finish_time": at(2), "error": error, **fields}
    )


def a_cron(**fields: Any) -> Cron:
    """Build an hourly schedule given at noon, whose first slot has not been served."""
    defaults = {
        "schedule": "2024-02-29 12 + 1 hour",
        "is_on": True,
        "given_at": NOON,
        "next_at": NOON.replace(minute=0, second=0, microsecond=0),
    }
    return Cron(**{**defaults, **fields})


def an_alias(actor: Actor | ActorKey, alias: str = "counter", **fields: Any) -> Alias:
    """Build an alias of an actor."""
    key = actor.key if isinstance(actor, Actor) else actor
    defaults = {
        "tenant": key.tenant,
        "alias": alias,
        "actor_id": key.id,
        "owner": OWNER,
        "api_server": API_SERVER,
        "create_time": NOON,
    }
    return Alias(**{**defaults, **fields})


def a_nonce(target: ObjectKey, max_uses: int = UNLIMITED, **fields: Any) -> Nonce:
    """Build a nonce that was never used."""
    defaults = {
        "id": NonceId(f"{target.tenant}_{new_id()}"),
        "tenant": target.tenant,
        "target": target,
        "owner": OWNER,
        "roles": ("Internal/everyone",),
        "level": Level.EXECUTE,
        "api_server": API_SERVER,
        "create_time": NOON,
        "max_uses": max_uses,
        "remaining_uses": max_uses,
    }
    return Nonce(**{**defaults, **fields})


def a_retry_key(text: str = "k1", **fields: Any) -> RetryKey:
    """Build an idempotency key that holds for an hour from noon."""
    defaults = {"user": OWNER, "text": text, "digest": "d1", "expires_at": at(3600)}
    return RetryKey(**{**defaults, **fields})


def a_config(actors: str, name: str = "settings", **fields: Any) -> ActorConfig:
    """Build a config that lists these actors."""
    defaults = {
        "tenant": TENANT,
        "name": name,
        "value": "hello",
        "is_secret": False,
        "actors": actors,
        "owner": OWNER,
        "create_time": NOON,
    }
    return ActorConfig(**{**defaults, **fields})


def an_audit_record(**fields: Any) -> AuditRecord:
    """Build the record of an actor's registration."""
    defaults = {
        "time": NOON,
        "action": "actor.register",
        "outcome": AuditOutcome.DONE,
        "status": 200,
        "tenant": TENANT,
        "user": OWNER,
        "roles": ("Internal/everyone",),
        "proof": "token",
        "object": "actor:a1",
        "request_id": "0" * 32,
        "remote_address": "127.0.0.1",
    }
    return AuditRecord(**{**defaults, **fields})


def execution_key(actor: ActorKey, name: str) -> ExecutionKey:
    """Name an execution that need not exist."""
    return ExecutionKey(actor.tenant, actor.id, ExecutionId(name))


def worker_key(actor: ActorKey, name: str) -> WorkerKey:
    """Name a worker that need not exist."""
    return WorkerKey(actor.tenant, actor.id, WorkerId(name))


def an_event(**fields: Any) -> Event:
    """Build an event of an actor that became READY; both legs wait as far as there are any."""
    defaults: dict[str, Any] = {
        "tenant": TENANT,
        "actor_id": ActorId(new_id()),
        "seq": 1,
        "type": EventType.ACTOR_READY,
        "time": NOON,
        "details": {"status_message": " "},
        "api_server": API_SERVER,
        "link": "",
        "webhook": "",
        "next_attempt_at": NOON,
    }
    values = {**defaults, **fields}
    waits = {
        "is_link_waiting": bool(values["link"]),
        "is_webhook_waiting": bool(values["webhook"]),
    }
    return Event(**{**waits, **values})
