"""An actor: a registered image plus settings that answers messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from abaco.domain.cron import Cron
from abaco.domain.host_access import HostAccess
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.permission import ObjectKey, ObjectKind

#: the queue of actors that name none; every host serves it
DEFAULT_QUEUE = "default"


class ActorStatus(StrEnum):
    """Place of an actor in its life; the words of the API."""

    SUBMITTED = "SUBMITTED"
    READY = "READY"
    ERROR = "ERROR"
    SHUTTING_DOWN = "SHUTTING_DOWN"


#: statuses in which workers may be made and messages run
RUNNABLE = frozenset({ActorStatus.SUBMITTED, ActorStatus.READY})


class ActorKey(NamedTuple):
    """Tenant and id; the two are never glued together inside."""

    tenant: Tenant
    id: ActorId

    @property
    def dbid(self) -> str:
        """Old single-string key, for container contexts and events only."""
        return f"{self.tenant}_{self.id}"

    @property
    def shared(self) -> ObjectKey:
        """Key of its permissions and nonces."""
        return ObjectKey(ObjectKind.ACTOR, self.tenant, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorDefinition:
    """What a client may set.

    Units: ``mem_limit`` is engine memory syntax (``3g``, ``-1`` none); ``max_cpus`` is
    nano-CPUs (1000000000 = one CPU, ``-1`` none); ``log_ex`` is seconds, and so is
    ``max_run_time`` (``-1`` none). ``network`` is ``none`` or nothing.
    ``token`` is a bool when sent by a client, the configured text when defaulted.
    ``webhook_secret`` is sealed and only ever written: stores never give it out with an actor.
    None leaves the one that is stored, "" removes it.
    """

    image: str
    name: str | None = None
    description: str = ""
    stateless: bool = True
    type: str = "none"
    token: bool | str = "false"  # noqa: S105 - a switch, not a secret
    link: str = ""
    webhook: str = ""
    webhook_secret: str | None = field(default=None, repr=False)
    hints: tuple[str, ...] = ()
    privileged: bool = False
    max_workers: int | None = None
    mem_limit: str | None = None
    max_cpus: int | None = None
    queue: str = DEFAULT_QUEUE
    use_container_uid: bool = False
    default_environment: Mapping[str, Any] = field(default_factory=dict)
    log_ex: int | None = None
    max_run_time: int | None = None
    read_only_rootfs: bool = False
    network: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One actor as stored. ``state`` is the user's JSON value as last written."""

    tenant: Tenant
    id: ActorId
    owner: str
    api_server: str
    definition: ActorDefinition
    create_time: datetime
    last_update_time: datetime
    status: ActorStatus = ActorStatus.SUBMITTED
    status_message: str = ""
    #: from 1; +1 at each image update, a forced one too
    revision: int = 1
    state: Any = field(default_factory=dict)
    #: +1 at each state write
    state_version: int = 0
    cron: Cron | None = None
    host: HostAccess = field(default_factory=HostAccess)

    @property
    def key(self) -> ActorKey:
        """Tenant and id as one hashable key."""
        return ActorKey(self.tenant, self.id)
