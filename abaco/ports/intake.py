"""The contract of a mailbox's way in: messages, one or many, each accepted once.

As in ``abaco.ports.store``: every method is one transaction, durable before it returns.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from abaco.domain.execution import Execution
from abaco.domain.ids import ExecutionId, Tenant
from abaco.domain.message import Message


class Submission(NamedTuple):
    """A message with the fresh execution it makes."""

    execution: Execution
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many messages may wait; None means any number.

    Attributes:
        before: Most that may wait for the actor already.
        actor: Most that may wait for the actor with the new ones.
        tenant: Most that may wait for all actors of the tenant with the new ones.

    """

    before: int | None = None
    actor: int | None = None
    tenant: int | None = None


#: no limit at all
ANY_ROOM = Room()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryKey:
    """What a repeated request is known by, together with the actor.

    Attributes:
        user: Who sent it; the same text from somebody else is another key.
        text: As the client chose it.
        digest: Of everything that must be the same in a repeat.
        expires_at: From then on the key is forgotten.

    """

    user: str
    text: str
    digest: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was accepted, now or (``is_replay``) when the key was first used."""

    execution_ids: tuple[ExecutionId, ...]
    is_replay: bool = False


class Intake(Protocol):
    """Takes messages in. The mailbox they are queued in is that of ``abaco.ports.store``."""

    @abstractmethod
    async def submit(
        self,
        batch: Sequence[Submission],
        *,
        now: datetime,
        room: Room = ANY_ROOM,
        key: RetryKey | None = None,
    ) -> Receipt:
        """Store all executions and messages, last in their actor's queue and in this order.

        All are of one actor; at least one. With a key that is known and has not expired at
        ``now`` nothing is stored and nothing else looked at: the first receipt comes back, or
        KeyReusedError is raised because the digest differs. Otherwise the key is kept with the
        receipt in the same step. Of many calls with one key at the same moment one stores.

        Raises NotFoundError when the actor is absent, ConflictError when it is SHUTTING_DOWN or
        an execution id exists, LimitExceededError when more than ``room.before`` messages wait,
        or the batch alone is above the others of ``room``, ThrottledError when these would be
        passed. Keys go with their actor.
        """

    @abstractmethod
    async def waiting(self, tenant: Tenant) -> int:
        """Count the queued messages of all actors of a tenant, in O(1)."""

    @abstractmethod
    async def with_blobs(self, executions: Collection[ExecutionId]) -> set[ExecutionId]:
        """Return those of these executions whose message is there still, and has a blob."""

    @abstractmethod
    async def expire(self, now: datetime, *, limit: int = 1000) -> int:
        """Remove up to ``limit`` keys whose expiry has passed. Returns how many."""
