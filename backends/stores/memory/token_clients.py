"""Clients at an authorization server, in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from abaco.domain.ids import WorkerId
from abaco.errors import ConflictError
from abaco.ports.token_clients import TokenClient, TokenClientStore
from abaco.ports.vault import Sealed


class MemoryTokenClients(TokenClientStore):
    """A dictionary of clients by worker."""

    def __init__(self) -> None:
        self._clients: dict[WorkerId, TokenClient] = {}

    async def insert(self, client: TokenClient) -> None:
        """Add a client."""
        if client.worker_id in self._clients:
            raise ConflictError(f"worker {client.worker_id} has a client")
        self._clients[client.worker_id] = client

    async def complete(self, worker_id: WorkerId, sealed: str) -> bool:
        """Write down what its registration brought."""
        present = self._clients.get(worker_id)
        if present is None:
            return False
        self._clients[worker_id] = replace(present, sealed=sealed)
        return True

    async def find(self, worker_id: WorkerId) -> TokenClient | None:
        """Return the client of a worker."""
        return self._clients.get(worker_id)

    async def list_clients(
        self, before: datetime, *, after: WorkerId | None = None, limit: int = 500
    ) -> list[TokenClient]:
        """Page the clients of before a time."""
        found = [client for _, client in sorted(self._clients.items())]
        return [
            client
            for client in found
            if client.create_time < before and client.worker_id > (after or "")
        ][:limit]

    async def delete(self, worker_id: WorkerId) -> None:
        """Remove the record."""
        self._clients.pop(worker_id, None)

    async def list_sealed(self, *, after: str | None = None, limit: int = 100) -> list[Sealed]:
        """Page the ciphertexts by worker."""
        found = sorted(self._clients.items())
        return [
            Sealed(worker_id, client.sealed)
            for worker_id, client in found
            if client.sealed and worker_id > (after or "")
        ][:limit]

    async def reseal(self, present: Sealed, ciphertext: str) -> bool:
        """Replace a ciphertext if it is still the present one."""
        client = self._clients.get(WorkerId(present.place))
        if client is None or client.sealed != present.ciphertext:
            return False
        return await self.complete(client.worker_id, ciphertext)
