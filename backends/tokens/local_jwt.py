"""Access tokens this installation signs for each execution, with the keys of its own tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from abaco.config import Settings
from abaco.domain.ids import WorkerId
from abaco.domain.run_token import Run, valid_for_s
from abaco.errors import ConfigError, TokenUnavailableError
from abaco.ports.clock import Clock
from abaco.ports.store import Stores
from abaco.ports.token_provider import Token, TokenProvider, TokenRequest
from abaco.ports.tokens import Identity
from abaco.ports.vault import Vault
from backends.tokens.own import OwnTokens
from backends.tokens.select import own_tokens


class LocalJwt(TokenProvider):
    """Signs; keeps nothing. A token dies with its run, see ``abaco.operations.tokens``.

    Args:
        own: Signs.
        settings: Roles, scope and life of the tokens.
        now: Tells the wall time.
        thread: Reads keys and signs, beside the loop.

    """

    def __init__(
        self,
        own: OwnTokens,
        settings: Settings,
        now: Callable[[], datetime],
        thread: ThreadPoolExecutor,
    ) -> None:
        self._own = own
        self._web = settings.web
        self._runtime = settings.runtime
        self._now = now
        self._thread = thread

    async def acquire(self, request: TokenRequest) -> Token:
        """Sign a token for the run."""
        scope = self._runtime.token_scope
        identity = Identity(
            tenant=request.tenant,
            user=request.owner,
            # never more, whatever the owner's roles: others' messages decide what runs
            roles=frozenset({self._web.user_role}),
            run=Run(
                actor_id=request.actor_id,
                execution_id=request.execution_id,
                worker_id=request.worker_id,
                attempt=request.attempt,
            ),
            is_for_actor=scope == "actor",
        )
        valid_s = valid_for_s(
            request.max_run_time_s,
            ttl_s=self._runtime.token_ttl,
            max_ttl_s=self._runtime.token_max_ttl,
        )
        valid = timedelta(seconds=valid_s)
        expires_at = self._now() + valid
        loop = asyncio.get_running_loop()
        try:
            value = await loop.run_in_executor(self._thread, self._own.mint, identity, valid)
        except ConfigError as error:  # somebody has broken the file of the keys
            raise TokenUnavailableError("no token can be signed", detail=error.message) from error
        return Token(value=value, id=request.execution_id, expires_at=expires_at)

    async def ensure(self, token: Token, min_valid_s: float) -> Token:
        """Return the token: it is valid for its run from the start, and for no other."""
        return token

    async def release(self, token: Token) -> None:
        """Have nothing to end: the final record of the execution has ended it."""

    async def retire(self, worker_id: WorkerId) -> None:
        """Have nothing to end."""

    async def sweep(self, live: Collection[WorkerId], before: datetime) -> int:
        """Have made nothing that could be left."""
        return 0


@asynccontextmanager
async def open_tokens(
    settings: Settings, clock: Clock, _stores: Stores, _vault: Vault
) -> AsyncIterator[TokenProvider]:
    """Open the installation's keys; the first time they are made.

    Raises:
        ConfigError: They cannot be used.

    """
    with ThreadPoolExecutor(1, thread_name_prefix="abaco-tokens") as thread:
        yield LocalJwt(own_tokens(settings, clock), settings, clock.now, thread)
