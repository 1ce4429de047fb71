"""The clients that were registered at an authorization server, one for each worker."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime

from abaco.domain.ids import ActorId, Tenant, WorkerId
from abaco.ports.vault import SealedStore


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClient:
    """A client that was registered, or is being registered while ``sealed`` is empty.

    Attributes:
        worker_id: For which worker; there is one client for each.
        create_time: When its registration began.
        sealed: Ciphertext of all that is needed to use it and to delete it.

    """

    worker_id: WorkerId
    tenant: Tenant
    actor_id: ActorId
    create_time: datetime
    sealed: str = ""


class TokenClientStore(SealedStore):
    """Clients. A record is there from before its registration until after its deletion."""

    @abstractmethod
    async def insert(self, client: TokenClient) -> None:
        """Add a client that is about to be registered. Raises ConflictError when there is one."""

    @abstractmethod
    async def complete(self, worker_id: WorkerId, sealed: str) -> bool:
        """Write down what its registration brought; False when there is no such client."""

    @abstractmethod
    async def find(self, worker_id: WorkerId) -> TokenClient | None:
        """Return the client of a worker."""

    @abstractmethod
    async def list_clients(
        self, before: datetime, *, after: WorkerId | None = None, limit: int = 500
    ) -> list[TokenClient]:
        """Page the clients of before a time, by worker."""

    @abstractmethod
    async def delete(self, worker_id: WorkerId) -> None:
        """Remove the record. Idempotent."""
