"""The contracts of the stores.

Every method is one transaction: all of it or nothing, durable before it returns. A change of
status is compare-and-set inside the store; nothing is ever created by an update. Methods raise
StoreUnavailableError when the store does not answer and StoreError when it is broken.

All times come from the caller. Lists are paged in the store, oldest first, by (time, id).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from abaco.domain.actor import Actor, ActorDefinition, ActorKey, ActorStatus
from abaco.domain.cron import CronChange
from abaco.domain.execution import (
    Execution,
    ExecutionKey,
    ExecutionTotals,
    HaltReason,
    Outcome,
)
from abaco.domain.host_access import HostAccess
from abaco.domain.ids import ExecutionId
from abaco.domain.message import Message
from abaco.domain.worker import Worker, WorkerKey, WorkerStatus
from abaco.ports.audit import AuditStore
from abaco.ports.blobs import BlobStore
from abaco.ports.configs import ConfigStore
from abaco.ports.cron import CronStore
from abaco.ports.images import ImageStore, PinStore
from abaco.ports.intake import Intake
from abaco.ports.outbox import Outbox
from abaco.ports.search import SearchStore
from abaco.ports.sharing import AliasStore, NonceStore, PermissionStore
from abaco.ports.token_clients import TokenClientStore
from abaco.ports.usage import UsageStore
from abaco.ports.vault import SealedStore


class ActorStore(Protocol):
    """Actors. A write to an actor that is absent raises NotFoundError."""

    @abstractmethod
    async def insert(self, actor: Actor) -> None:
        """Add an actor and, in the same step, grant its owner UPDATE on it.

        Raises ConflictError when the key exists, InvalidInputError naming ``link`` when the
        actor would be linked to itself, however indirectly, or to nobody.
        """

    @abstractmethod
    async def get(self, key: ActorKey) -> Actor:
        """Return the actor. Raises NotFoundError."""

    @abstractmethod
    async def get_many(self, keys: Collection[ActorKey]) -> list[Actor]:
        """Return these actors, each once, oldest first. Absent ones are passed over."""

    @abstractmethod
    async def list_actors(self, *, after: Actor | None = None, limit: int = 1000) -> list[Actor]:
        """Page the actors of all tenants that come after ``after``."""

    @abstractmethod
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
        """Replace the definition and clear ``status_message``.

        With ``new_revision`` also, in the same step, revision + 1 and status SUBMITTED; with
        ``pull_image`` as well the new revision's Pin is forced.
        ``cron`` is applied to the schedule there is then, ``host`` replaces what there is;
        without them these stay as they are.
        Leaves state, owner, create_time alone. Raises ConflictError when SHUTTING_DOWN, or
        ``expect_revision`` is given and not the present one; InvalidInputError as ``insert``
        does.
        """

    @abstractmethod
    async def set_status(
        self,
        key: ActorKey,
        status: ActorStatus,
        message: str,
        *,
        expect: Collection[ActorStatus],
        revision: int | None = None,
    ) -> bool:
        """Compare-and-set the status and its message.

        False when the present status is not in ``expect``, or ``revision`` is given and not
        the present one; NotFoundError when absent.
        """

    @abstractmethod
    async def set_state(
        self, key: ActorKey, state: Any, *, expect_version: int | None = None
    ) -> Actor:
        """Replace the state blob, state_version + 1.

        Raises ConflictError when ``expect_version`` is not the present one, or the actor is
        SHUTTING_DOWN.
        """

    @abstractmethod
    async def delete(self, key: ActorKey) -> None:
        """Remove the actor with its logs, results, queued messages and worker records.

        Its permissions and nonces go with it, and so do the aliases that point to it, with
        theirs; configs that list one of them list it no more.

        Executions stay. Queued messages left over get their executions finalized as ERROR.
        Idempotent.
        """


class Refusal(StrEnum):
    """Why a claim got no message."""

    EMPTY = "empty"  # nothing to take now (or a stateful actor is in mid-run)
    STALE = "stale"  # the actor has a newer revision than the worker
    NOT_READY = "not_ready"  # the worker record is gone or not READY
    ACTOR_STOPPED = "actor_stopped"  # the actor is gone, in ERROR or SHUTTING_DOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A leased message with everything its run needs, read in the claim's transaction."""

    message: Message
    execution: Execution
    actor: Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Conservation: ``accepted == queued + leased + final`` at any moment."""

    accepted: int
    queued: int
    leased: int
    final: int


class Mailbox(Protocol):
    """Queues of messages, one per actor, and the executions they make.

    Messages come in by ``abaco.ports.intake``, numbered from 1 for each actor; no number is given
    twice. A row goes queued -> leased -> gone. ``attempt`` fences: every write of a run names the
    attempt it belongs to and is refused (False) when that is not the execution's present one,
    or the execution is final.
    """

    @abstractmethod
    async def claim(self, worker: WorkerKey, revision: int, now: datetime) -> Claim | Refusal:
        """Lease the head of the worker's actor's queue to the worker.

        Needs: the worker READY, the actor SUBMITTED or READY, its revision the given one and,
        for a stateful actor, no other leased message. In one step the message is leased, the
        execution gets worker id and attempt + 1, the worker becomes BUSY. Order is strict.

        A worker that already holds a lease gets the same claim again, whatever its status: an
        answer that was lost on the way is asked for once more.
        """

    @abstractmethod
    async def mark_running(
        self, key: ExecutionKey, attempt: int, container_id: str, start_time: datetime
    ) -> bool:
        """Set the execution SUBMITTED -> RUNNING, fenced; the worker's container_id with it."""

    @abstractmethod
    async def finalize(
        self, key: ExecutionKey, attempt: int, outcome: Outcome, *, now: datetime
    ) -> bool:
        """Write the outcome and the final status and remove the message, fenced.

        In the same step totals are added to and the leasing worker turns BUSY -> READY with
        last_execution_time ``now``. A worker in SHUTDOWN_REQUESTED or SHUTTING_DOWN keeps
        that status.
        """

    @abstractmethod
    async def release(self, key: ExecutionKey, attempt: int, *, lost: bool) -> bool:
        """Put a leased message back at its place in the queue, fenced.

        The execution becomes SUBMITTED again, without worker, container and start time; with
        ``lost`` its ``losses`` + 1. The worker turns BUSY -> READY as in ``finalize``.
        A message that must not run again, because a halt was requested or the actor is gone,
        ends instead: its execution is ERROR with the reason, and nothing is queued.
        """

    @abstractmethod
    async def count(self, actor: ActorKey) -> int:
        """Count queued (not leased) messages."""

    @abstractmethod
    async def purge(self, actor: ActorKey, outcome: Outcome) -> list[ExecutionId]:
        """Remove all queued messages and finalize their executions with ``outcome``."""

    @abstractmethod
    async def backlog(self) -> Mapping[ActorKey, int]:
        """Return the queued count of every actor that has queued messages."""


class ExecutionStore(Protocol):
    """Executions, read side, and halts."""

    @abstractmethod
    async def get(self, key: ExecutionKey) -> Execution:
        """Return the execution. Raises NotFoundError."""

    @abstractmethod
    async def list_executions(
        self, actor: ActorKey, *, after: Execution | None = None, limit: int = 1000
    ) -> list[Execution]:
        """Page an actor's executions by (message_received_time, id)."""

    @abstractmethod
    async def totals(self, actor: ActorKey) -> ExecutionTotals:
        """Return running totals; costs the same however long the history."""

    @abstractmethod
    async def request_halt(self, key: ExecutionKey, reason: HaltReason) -> Execution:
        """Mark a RUNNING execution to be stopped. A second request changes nothing.

        Raises NotFoundError; ConflictError, naming the status, when it is not RUNNING.
        """

    @abstractmethod
    async def list_leased(self) -> list[Execution]:
        """Return every execution whose message is leased (claimed, not final)."""

    @abstractmethod
    async def counters(self) -> Counters:
        """Return the conservation counters of the whole instance, in O(1)."""


class WorkerStore(Protocol):
    """Worker records."""

    @abstractmethod
    async def request(self, worker: Worker, *, limit: int) -> bool:
        """Insert the record if the actor has fewer than ``limit`` viable or retiring workers.

        Count and insert are one step. False when the pool is full, or the actor is absent, in
        ERROR or SHUTTING_DOWN, or has another revision than the record.
        """

    @abstractmethod
    async def get(self, key: WorkerKey) -> Worker:
        """Return the worker. Raises NotFoundError."""

    @abstractmethod
    async def list_workers(self, actor: ActorKey | None = None) -> list[Worker]:
        """Return the workers of one actor, or (None) of all, oldest first."""

    @abstractmethod
    async def set_status(
        self, key: WorkerKey, status: WorkerStatus, *, expect: Collection[WorkerStatus]
    ) -> bool:
        """Compare-and-set the status; ERROR also records the previous one.

        A worker that was retiring is not any more: no message calls it back. False when the
        present one is not expected; NotFoundError when absent.
        """

    @abstractmethod
    async def retire_idle(self, key: WorkerKey, *, revocable: bool) -> bool:
        """Set READY -> SHUTDOWN_REQUESTED if the actor's queue is empty, in one step.

        With ``revocable`` the worker is retiring from now on, see ``leave``. False otherwise;
        NotFoundError when absent.
        """

    @abstractmethod
    async def leave(self, key: WorkerKey) -> bool:
        """Delete the record of a worker that was told to go, or call the worker back.

        It is called back, which is READY and False, when it is retiring, a message waits, and
        the actor is SUBMITTED or READY in the worker's revision; all in one step. Asked again,
        both answers stay what they are: a worker that is READY is not deleted.
        """

    @abstractmethod
    async def touch(self, keys: Collection[WorkerKey], now: datetime) -> None:
        """Stamp last_health_check_time. Absent workers are passed over."""

    @abstractmethod
    async def delete(self, key: WorkerKey) -> None:
        """Remove the record. Idempotent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogText:
    """A log as stored: ``data`` from the asked offset on; ``bytes_seen`` of all output so far.

    ``is_truncated`` when output was left out at the end because of the limit.
    """

    data: bytes
    bytes_seen: int
    is_truncated: bool


class LogStore(Protocol):
    """Logs: append only, bytes, with a limit and an expiry."""

    @abstractmethod
    async def append(
        self,
        key: ExecutionKey,
        offset: int,
        data: bytes,
        *,
        max_bytes: int,
        expires_at: datetime | None,
    ) -> int:
        """Append output that begins at byte ``offset`` of all output.

        Bytes before the present ``bytes_seen`` are dropped (a repeat is harmless); a gap
        raises ConflictError. Storing stops at ``max_bytes``, counting goes on. Sets the
        expiry. Returns the new ``bytes_seen``.
        """

    @abstractmethod
    async def read(
        self, key: ExecutionKey, offset: int = 0, *, max_bytes: int | None = None
    ) -> LogText:
        """Return the stored bytes from ``offset`` on, at most ``max_bytes`` of them.

        Empty when there are none or they have expired.
        """

    @abstractmethod
    async def clear(self, key: ExecutionKey) -> None:
        """Forget the log, so that the next append begins at 0 again. Idempotent."""

    @abstractmethod
    async def expire(self, now: datetime, *, limit: int = 1000) -> int:
        """Remove up to ``limit`` logs whose expiry has passed. Returns how many."""


class ResultStore(Protocol):
    """Results: bytes a container hands back, read in order, each once."""

    @abstractmethod
    async def push(
        self, key: ExecutionKey, first: int, results: Sequence[bytes], *, expires_at: datetime
    ) -> None:
        """Add results at the end, in this order.

        Results of an execution are numbered from 0, and ``first`` is the number of the first of
        these. One whose number was pushed before is passed over, so a repeat is harmless. The
        numbers are forgotten once the results pushed last have expired.
        """

    @abstractmethod
    async def pop(self, key: ExecutionKey, now: datetime) -> bytes | None:
        """Take the oldest unexpired result away, atomically; None when there is none."""

    @abstractmethod
    async def clear(self, key: ExecutionKey) -> None:
        """Forget the results and their number, so that the next one is 0 again. Idempotent."""

    @abstractmethod
    async def expire(self, now: datetime, *, limit: int = 1000) -> int:
        """Remove up to ``limit`` results whose expiry has passed. Returns how many."""


class InstanceStore(Protocol):
    """One row about the instance: who serves it now."""

    @abstractmethod
    async def acquire(self, holder: str, now: datetime, ttl_s: float) -> int:
        """Become the one live process; returns the new epoch (from 1, +1 each time).

        Raises ConflictError naming the holder while another holder's heartbeat is fresh. The
        same holder takes over at once: its earlier process is known to be dead.
        """

    @abstractmethod
    async def heartbeat(self, epoch: int, now: datetime, ttl_s: float) -> bool:
        """Renew. False when another epoch has begun: this process must stop."""

    @abstractmethod
    async def release(self, epoch: int) -> None:
        """Give the place up at once, if it is still ours."""

    @abstractmethod
    async def ping(self) -> None:
        """Read something; raises StoreError when the store does not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The logical stores, each behind its own port."""

    actors: ActorStore
    mailbox: Mailbox
    intake: Intake
    executions: ExecutionStore
    workers: WorkerStore
    logs: LogStore
    results: ResultStore
    blobs: BlobStore
    instance: InstanceStore
    permissions: PermissionStore
    aliases: AliasStore
    nonces: NonceStore
    cron: CronStore
    search: SearchStore
    configs: ConfigStore
    outbox: Outbox
    webhook_secrets: SealedStore
    usage: UsageStore
    audit: AuditStore
    token_clients: TokenClientStore
    images: ImageStore
    pins: PinStore

    @property
    def sealed(self) -> tuple[SealedStore, ...]:
        """All that keep ciphertexts; a rotation of the keys goes through them."""
        return (self.configs, self.webhook_secrets, self.token_clients)
