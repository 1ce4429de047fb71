"""Access tokens that are there already: none, or one for each tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from abaco.config import Settings
from abaco.domain.ids import WorkerId
from abaco.errors import TokenRefusedError
from abaco.ports.clock import Clock
from abaco.ports.store import Stores
from abaco.ports.token_provider import NO_TOKEN, Token, TokenProvider, TokenRequest
from abaco.ports.vault import Vault
from abaco.settings import fold_tenant
from backends.tokens.files import read_by_tenant


class NoTokens(TokenProvider):
    """Executions get an empty access token."""

    async def acquire(self, request: TokenRequest) -> Token:
        """Return the empty token."""
        return NO_TOKEN

    async def ensure(self, token: Token, min_valid_s: float) -> Token:
        """Return the token."""
        return token

    async def release(self, token: Token) -> None:
        """Have nothing to end."""

    async def retire(self, worker_id: WorkerId) -> None:
        """Have nothing to end."""

    async def sweep(self, live: Collection[WorkerId], before: datetime) -> int:
        """Have nothing to end."""
        return 0


class StaticTokens(NoTokens):
    """Every execution of a tenant gets the tenant's one token.

    Args:
        tokens: Tenant, spelled as in keys of the configuration, to token.

    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = tokens

    async def acquire(self, request: TokenRequest) -> Token:
        """Return the token of the actor's tenant."""
        tenant = request.tenant
        value = self._tokens.get(fold_tenant(tenant))
        if value is None:
            raise TokenRefusedError(f"there is no access token for the tenant {tenant}")
        return Token(value=value)


@asynccontextmanager
async def open_no_tokens(
    _settings: Settings, _clock: Clock, _stores: Stores, _vault: Vault
) -> AsyncIterator[TokenProvider]:
    """Open the provider of none."""
    yield NoTokens()


@asynccontextmanager
async def open_static_tokens(
    settings: Settings, _clock: Clock, _stores: Stores, _vault: Vault
) -> AsyncIterator[TokenProvider]:
    """Read the file that is configured.

    Raises:
        ConfigError: It cannot be used.

    """
    yield StaticTokens(read_by_tenant("runtime.token_file", settings.runtime.token_file))
