"""An execution: one run of an actor's container for one message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from abaco.domain.actor import ActorKey
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId


class ExecutionStatus(StrEnum):
    """Place of an execution in its life; the words of the API."""

    SUBMITTED = "SUBMITTED"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    ERROR = "ERROR"


#: a final status never changes again
FINAL = frozenset({ExecutionStatus.COMPLETE, ExecutionStatus.ERROR})


class HaltReason(StrEnum):
    """Why a running container is made to stop; shown as ``final_state.AbacoReason``."""

    FORCE_QUIT = "force_quit"
    TIMEOUT = "timeout"
    ACTOR_DELETED = "actor_deleted"
    ACTOR_UPDATED = "actor_updated"


class ExecutionKey(NamedTuple):
    """Tenant, actor and execution id."""

    tenant: Tenant
    actor_id: ActorId
    id: ExecutionId

    @property
    def actor(self) -> ActorKey:
        """Key of the actor it belongs to."""
        return ActorKey(self.tenant, self.actor_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class IoDetail:
    """Bytes a container moved; 0 when unknown.

    ``net``: received and sent over all interfaces but loopback. ``blk``: read from and written to
    block devices; what was still to be written at the end is not in it.
    """

    net_rx: int = 0
    net_tx: int = 0
    blk_read: int = 0
    blk_write: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a container ended.

    ``state`` is the engine's state object with the names ``Status Running Paused Restarting
    OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt``, both times as ISO text with
    milliseconds and ``Z``.
    Units: cpu_ns cumulative nanoseconds, io_bytes bytes received over the network,
    memory_peak_bytes the most that was charged at one time, page cache included; 0 when unknown.
    ``exit_code`` is None when the engine did not see the end.
    """

    exit_code: int | None
    oom_killed: bool
    started_at: datetime
    finished_at: datetime
    state: Mapping[str, Any]
    cpu_ns: int = 0
    io_bytes: int = 0
    io_detail: IoDetail = IoDetail()
    memory_peak_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an execution ended.

    Units: ``cpu_ns``, ``io_bytes``, ``io_detail`` and ``memory_peak_bytes`` as in Exit;
    ``runtime_ms`` milliseconds between the container's start and end.
    ``exit_code`` is None when it could not be learned. ``error`` explains status ERROR.
    """

    status: ExecutionStatus
    finish_time: datetime
    exit_code: int | None = None
    final_state: Mapping[str, Any] | None = None
    cpu_ns: int = 0
    io_bytes: int = 0
    io_detail: IoDetail = IoDetail()
    memory_peak_bytes: int = 0
    runtime_ms: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution as stored."""

    tenant: Tenant
    actor_id: ActorId
    id: ExecutionId
    api_server: str
    executor: str
    message_received_time: datetime
    status: ExecutionStatus = ExecutionStatus.SUBMITTED
    worker_id: WorkerId | None = None
    #: number of claims so far; fences late writes of an earlier attempt
    attempt: int = 0
    #: claims that ended because server or engine died in mid-run
    losses: int = 0
    container_id: str = ""
    start_time: datetime | None = None
    #: set once by a halt; the running attempt obeys it
    halt_requested: HaltReason | None = None
    #: set exactly once, with the final status
    outcome: Outcome | None = None

    @property
    def key(self) -> ExecutionKey:
        """Tenant, actor id and execution id as one hashable key."""
        return ExecutionKey(self.tenant, self.actor_id, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionTotals:
    """Running totals over an actor's executions. Units as in Outcome; ``runtime_s`` seconds."""

    count: int = 0
    cpu_ns: int = 0
    io_bytes: int = 0
    runtime_s: int = 0
