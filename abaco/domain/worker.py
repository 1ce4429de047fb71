"""A worker: the agent that serves one actor revision, one message at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from abaco.domain.actor import DEFAULT_QUEUE, ActorKey
from abaco.domain.ids import ActorId, Tenant, WorkerId


class WorkerStatus(StrEnum):
    """Place of a worker in its life; the words of the API, blanks included."""

    REQUESTED = "REQUESTED"
    SPAWNER_SETUP = "SPAWNER SETUP"
    PULLING_IMAGE = "PULLING IMAGE"
    CREATING_CONTAINER = "CREATING CONTAINER"
    UPDATING_STORE = "UPDATING STORE"
    READY = "READY"
    BUSY = "BUSY"
    SHUTDOWN_REQUESTED = "SHUTDOWN_REQUESTED"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    ERROR = "ERROR"


#: on the way up
STARTING = frozenset(
    {
        WorkerStatus.REQUESTED,
        WorkerStatus.SPAWNER_SETUP,
        WorkerStatus.PULLING_IMAGE,
        WorkerStatus.CREATING_CONTAINER,
        WorkerStatus.UPDATING_STORE,
    }
)

#: counted against an actor's limit
VIABLE = STARTING | {WorkerStatus.READY, WorkerStatus.BUSY}


class WorkerKey(NamedTuple):
    """Tenant, actor and worker id."""

    tenant: Tenant
    actor_id: ActorId
    id: WorkerId

    @property
    def actor(self) -> ActorKey:
        """Key of the actor it serves."""
        return ActorKey(self.tenant, self.actor_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker as stored. ``container_id`` is that of the current or last execution."""

    tenant: Tenant
    actor_id: ActorId
    id: WorkerId
    image: str
    #: the actor's revision it serves; with an older one it is stale
    revision: int
    host_id: str
    host_ip: str
    location: str
    create_time: datetime
    #: the actor's when the worker was asked for
    queue: str = DEFAULT_QUEUE
    status: WorkerStatus = WorkerStatus.REQUESTED
    #: told to go because it was idle; a message that comes first calls it back
    is_retiring: bool = False
    #: the status it had when it went to ERROR
    previous_status: WorkerStatus | None = None
    container_id: str = ""
    last_execution_time: datetime | None = None
    last_health_check_time: datetime | None = None

    @property
    def key(self) -> WorkerKey:
        """Tenant, actor id and worker id as one hashable key."""
        return WorkerKey(self.tenant, self.actor_id, self.id)

    @property
    def channel_name(self) -> str:
        """Name clients of the older system expect as ``ch_name``."""
        return f"worker_{self.id}"
