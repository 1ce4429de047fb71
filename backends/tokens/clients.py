"""Access tokens from an authorization server: one client there, and one token, for each worker.

A record of each client is in the store before the client is there, and until it is gone there, so
that none is forgotten however the process ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from abaco.domain.ids import Tenant, WorkerId
from abaco.domain.run_token import SPARE_S
from abaco.errors import TokenError, TokenRefusedError, TokenUnavailableError, VaultError
from abaco.ports.clock import Clock
from abaco.ports.token_clients import TokenClient, TokenClientStore
from abaco.ports.token_provider import Token, TokenLife, TokenProvider, TokenRequest
from abaco.ports.vault import Vault

_log = logging.getLogger(__name__)

#: what a registration brought: small, JSON, secret
Registration = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token endpoint answered. Units: ``expires_in_s`` seconds, None when not told."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_in_s: float | None = None


class Authority(Protocol):
    """An authorization server. Raises TokenUnavailableError and TokenRefusedError."""

    @abstractmethod
    async def register(self, tenant: Tenant, worker_id: WorkerId) -> Registration:
        """Make a client named like the worker."""

    @abstractmethod
    async def obtain(self, tenant: Tenant, registration: Registration, owner: str) -> Grant:
        """Get a first token that represents the owner."""

    @abstractmethod
    async def refresh(self, tenant: Tenant, registration: Registration, token: str) -> Grant:
        """Get a further token for a refresh token."""

    @abstractmethod
    async def unregister(
        self, tenant: Tenant, worker_id: WorkerId, registration: Registration | None
    ) -> None:
        """Delete the client, and its tokens with it; it may be gone already.

        Without a registration nobody knows whether it was made.
        """


@dataclass(slots=True)
class _Held:
    """A worker's client and token as this process knows them."""

    registration: Registration
    request: TokenRequest
    token: Token | None = None
    refresh_token: str | None = None


class ClientTokens(TokenProvider):
    """Keeps one client and one token for each worker.

    Args:
        authority: Makes them.
        clients: Remembers the clients.
        vault: Seals what belongs to a client.
        clock: Tells what has expired.

    """

    def __init__(
        self, authority: Authority, clients: TokenClientStore, vault: Vault, clock: Clock
    ) -> None:
        self._authority = authority
        self._clients = clients
        self._vault = vault
        self._clock = clock
        self._held: dict[WorkerId, _Held] = {}
        #: one worker's steps come one after the other; only of workers something is done for
        self._locks: dict[WorkerId, tuple[asyncio.Lock, list[None]]] = {}

    async def acquire(self, request: TokenRequest) -> Token:
        """Return the worker's token, which is made, refreshed or just good enough."""
        min_valid_s = max(request.max_run_time_s, SPARE_S)
        async with self._alone(request.worker_id):
            held = self._held.get(request.worker_id)
            try:
                return await self._freshen(held or await self._hold(request), min_valid_s)
            except TokenRefusedError:
                # Perhaps the server has forgotten the client; the next one is a new one.
                if held is None:
                    await self._try_to_forget(request.worker_id)
                    raise
                await self._forget(request.worker_id)
            return await self._freshen(await self._hold(request), min_valid_s)

    async def _hold(self, request: TokenRequest) -> _Held:
        held = _Held(await self._find_client(request), request)
        self._held[request.worker_id] = held
        return held

    async def ensure(self, token: Token, min_valid_s: float) -> Token:
        """Return the worker's token if it lasts long enough, or a fresh one."""
        worker_id = WorkerId(token.id)
        async with self._alone(worker_id):
            held = self._held.get(worker_id)
            return token if held is None else await self._freshen(held, min_valid_s)

    async def release(self, token: Token) -> None:
        """Keep it for the worker's next execution."""

    async def retire(self, worker_id: WorkerId) -> None:
        """Delete the worker's client."""
        async with self._alone(worker_id):
            await self._forget(worker_id)

    async def _forget(self, worker_id: WorkerId) -> None:
        self._held.pop(worker_id, None)
        client = await self._clients.find(worker_id)
        if client is not None:
            await self._delete(client)

    async def _try_to_forget(self, worker_id: WorkerId) -> None:
        try:
            await self._forget(worker_id)
        except TokenError as error:
            _log.warning("the client of worker %s is left to the sweep: %s", worker_id, error)

    async def sweep(self, live: Collection[WorkerId], before: datetime) -> int:
        """Delete the clients of workers that are gone; one that fails stops no other."""
        count, last = 0, None
        while page := await self._clients.list_clients(before, after=last):
            last = page[-1].worker_id
            for client in page:
                if client.worker_id in live:
                    continue
                try:
                    await self.retire(client.worker_id)
                    count += 1
                except TokenError as error:
                    _log.warning("the client of worker %s stays: %s", client.worker_id, error)
        return count

    @asynccontextmanager
    async def _alone(self, worker_id: WorkerId) -> AsyncIterator[None]:
        lock, users = self._locks.setdefault(worker_id, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[worker_id]

    async def _find_client(self, request: TokenRequest) -> Registration:
        """Return the worker's client, left by an earlier process or registered now."""
        left = await self._clients.find(request.worker_id)
        if left is not None:
            registration = self._unseal(left)
            if registration is not None:
                return registration
            await self._delete(left)  # half made
        client = TokenClient(
            worker_id=request.worker_id,
            tenant=request.tenant,
            actor_id=request.actor_id,
            create_time=self._clock.now(),
        )
        await self._clients.insert(client)
        registration = await self._authority.register(request.tenant, request.worker_id)
        sealed = self._vault.encrypt(json.dumps(registration))
        if not await self._clients.complete(request.worker_id, sealed):
            await self._authority.unregister(request.tenant, request.worker_id, registration)
            raise TokenUnavailableError("the client was swept while it was made")
        return registration

    async def _delete(self, client: TokenClient) -> None:
        registration = self._unseal(client)
        await self._authority.unregister(client.tenant, client.worker_id, registration)
        await self._clients.delete(client.worker_id)

    def _unseal(self, client: TokenClient) -> Registration | None:
        if not client.sealed:
            return None
        try:
            found: Registration = json.loads(self._vault.decrypt(client.sealed))
        except VaultError as error:
            _log.error("what belongs to the client %s is lost: %s", client.worker_id, error)
            return None
        return found

    async def _freshen(self, held: _Held, min_valid_s: float) -> Token:
        """Return the token if it lasts long enough, or get another. Source: runtime.md 5.2."""
        if held.token is not None and self._lasts(held.token, min_valid_s):
            return held.token
        grant = await self._next_grant(held)
        expires_at = None
        if grant.expires_in_s is not None:
            expires_at = self._clock.now() + timedelta(seconds=grant.expires_in_s)
        held.refresh_token = grant.refresh_token or held.refresh_token
        held.token = Token(
            value=grant.access_token,
            id=held.request.worker_id,
            expires_at=expires_at,
            life=TokenLife.WORKER,
        )
        return held.token

    async def _next_grant(self, held: _Held) -> Grant:
        tenant = held.request.tenant
        if held.refresh_token is not None:
            try:
                return await self._authority.refresh(tenant, held.registration, held.refresh_token)
            except TokenUnavailableError:
                raise
            except TokenError:  # it may have expired itself
                held.refresh_token = None
        return await self._authority.obtain(tenant, held.registration, held.request.owner)

    def _lasts(self, token: Token, min_valid_s: float) -> bool:
        if token.expires_at is None:
            return True
        return (token.expires_at - self._clock.now()).total_seconds() >= min_valid_s
