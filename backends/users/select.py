"""Opens the provider of users that is configured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cachetools import TTLCache

from abaco.config import Settings, WorkersSettings
from abaco.domain.host_access import HostUser
from abaco.domain.ids import Tenant
from abaco.errors import ConfigError
from abaco.ports.clock import Clock
from abaco.ports.identity import IdentityProvider
from abaco.settings import IdentitySettings
from backends.users.accounting import Accounting, AccountingUsers
from backends.users.lookup import Lookup
from backends.users.system import SystemUsers

#: users that are remembered
_CACHE_SIZE = 10_000


class Users(IdentityProvider):
    """Looks owners up where their tenant says so; the others are the configured user.

    Args:
        workers: Says which is which.
        lookup: None when nobody is looked up.
        clock: For how long an answer is used again.
        ttl_s: Seconds; failures are not remembered.

    """

    def __init__(
        self, workers: WorkersSettings, lookup: Lookup | None, clock: Clock, *, ttl_s: float
    ) -> None:
        self._workers = workers
        self._lookup = lookup
        self._found: TTLCache[tuple[Tenant, str], HostUser] = TTLCache(
            _CACHE_SIZE, ttl_s, timer=clock.monotonic
        )

    async def find(self, tenant: Tenant, user: str) -> HostUser | None:
        """Return the host's user."""
        if self._lookup is None or not self._workers.is_looked_up(tenant):
            return self._workers.fixed_user(tenant)
        found = self._found.get((tenant, user))
        if found is None:
            found = await self._lookup.find(tenant, user)
            self._found[tenant, user] = found
        return found


def make_lookup(settings: Settings) -> Lookup | None:
    """Make what looks owners up; None when nobody is.

    Raises:
        ConfigError: A password file cannot be read.

    """
    if settings.workers.identity_provider == "system":
        return SystemUsers(settings.identity.timeout)
    if settings.workers.needs_accounting:
        return AccountingUsers(_accounting(settings.identity))
    return None


@asynccontextmanager
async def open_users(settings: Settings, clock: Clock) -> AsyncIterator[IdentityProvider]:
    """Open the provider.

    Raises:
        ConfigError: A password file cannot be read.

    """
    lookup = make_lookup(settings)
    try:
        yield Users(settings.workers, lookup, clock, ttl_s=settings.identity.ttl)
    finally:
        if lookup is not None:
            lookup.close()


def _accounting(identity: IdentitySettings) -> Accounting:
    inline = identity.password.get_secret_value() if identity.password else ""
    return Accounting(
        url=identity.url or "",
        username=identity.username,
        password=_read("password_file", identity.password_file) or inline,
        gid=identity.gid,
        profile_url=identity.profile_url,
        profile_token=_read("profile_token_file", identity.profile_token_file),
        timeout_s=identity.timeout,
    )


def _read(key: str, path: Path | None) -> str:
    """Read a file with a secret."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"identity.{key}: {path} cannot be read") from error
