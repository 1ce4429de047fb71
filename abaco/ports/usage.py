"""The contract of the numbers about the whole instance.

They are kept up by the transactions that change what they count, so they agree with the records
at any moment, and reading one costs the same however much there is or was, where nothing else
is said.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.ids import Tenant
from abaco.domain.usage import ActorReport, DayUsage, Usage, WorkerCounts
from abaco.domain.worker import Worker


class UsageStore(Protocol):
    """Read side only: nothing here can be written by itself."""

    @abstractmethod
    async def totals(self) -> Usage:
        """Return the sums over all actors. What was deleted stays in ``ever``."""

    @abstractmethod
    async def list_days(self, *, limit: int) -> list[DayUsage]:
        """Return the latest days on which anything was created, the latest first.

        The day is that of the record's own time: ``create_time``, ``message_received_time``.
        """

    @abstractmethod
    async def count_workers(self) -> WorkerCounts:
        """Return how many workers of each queue are in each status; nothing that is 0."""

    @abstractmethod
    async def count_served(self) -> int:
        """Return how many actors have workers. Costs as much as there are workers."""

    @abstractmethod
    async def deepest(self, limit: int) -> Mapping[ActorKey, int]:
        """Return the actors with the longest queues, longest first; empty queues are left out."""

    @abstractmethod
    async def deepest_tenants(self, limit: int) -> Mapping[Tenant, int]:
        """Return the tenants with most queued messages, as ``deepest`` does for actors."""

    @abstractmethod
    async def list_actors(
        self, *, after: Actor | None = None, limit: int = 1000
    ) -> list[ActorReport]:
        """Page the actors of all tenants, oldest first; each with what is its own, as of now.

        State and environments are not read.
        """

    @abstractmethod
    async def list_workers(self, *, after: Worker | None = None, limit: int = 1000) -> list[Worker]:
        """Page all workers, oldest first."""
