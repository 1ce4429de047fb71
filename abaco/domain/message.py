"""A message: one body put in a mailbox; it makes exactly one execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from abaco.domain.actor import ActorKey
from abaco.domain.execution import ExecutionKey
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId


class MessageState(StrEnum):
    """Where a mailbox row is. Not a lifecycle status: rows only move forth and back."""

    QUEUED = "queued"
    LEASED = "leased"


#: stands for the body of a binary message wherever one is shown
BINARY_OMITTED = "binary - omitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """What is known of a body that lies in a file of its own, named after the execution.

    Attributes:
        sha256: Hexadecimal.

    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A mailbox row.

    Attributes:
        body: The JSON value or text as received; rendered for the container at dispatch. Not
            stored with a blob.
        blob: The body, where it is too large for a record, or binary.
        content_type: What the container sees as ``_abaco_Content_Type``.
        environment: Query parameters of the POST, in order, first value of each name.
        username: Sender shown to the container.
        jwt_header: Name of the header that authenticated the sender, if one did.
        revision: The actor's revision when the message was accepted.
        hops: Events on the way to this message; 0 when a client sent it of its own accord.
        seq: Place in the actor's mailbox, given by the store; 0 before that.

    """

    tenant: Tenant
    actor_id: ActorId
    execution_id: ExecutionId
    body: Any
    content_type: str
    username: str
    api_server: str
    enqueued_at: datetime
    environment: Mapping[str, str] = field(default_factory=dict)
    jwt_header: str | None = None
    revision: int = 1
    hops: int = 0
    seq: int = 0
    state: MessageState = MessageState.QUEUED
    lease_owner: WorkerId | None = None
    blob: Blob | None = None

    @property
    def actor(self) -> ActorKey:
        """Key of the actor whose mailbox holds it."""
        return ActorKey(self.tenant, self.actor_id)

    @property
    def execution(self) -> ExecutionKey:
        """Key of the one execution it makes."""
        return ExecutionKey(self.tenant, self.actor_id, self.execution_id)
