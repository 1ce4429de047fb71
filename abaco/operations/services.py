"""What every operation may use, built once by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from abaco.config import Settings
from abaco.domain.ids import Tenant
from abaco.operations.quotas import Quotas
from abaco.operations.space import Space
from abaco.ports.clock import Clock, IdSource
from abaco.ports.identity import IdentityProvider
from abaco.ports.notices import Notices
from abaco.ports.store import Stores
from abaco.ports.tokens import BearerTokens
from abaco.ports.vault import Vault


def _unknown_endpoint() -> str:
    return "unknown"


def api_server_of(settings: Settings, tenant: Tenant) -> str:
    """Return a tenant's base URL, as links and containers are given it."""
    return str(settings.web.for_tenant("api_server", tenant)).rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The ports and settings operations work with.

    Attributes:
        engine_endpoint: Tells the endpoint of the container engine as far as it is known now;
            shown as ``location`` of workers.
        quotas: What this process has let through lately.
        space: Whether there is room on disk for more.
        identity: Knows the users of the host; None when all containers run as their image's.
        bearer: Verifies bearer tokens; None when none are accepted.

    """

    settings: Settings
    stores: Stores
    notices: Notices
    clock: Clock
    ids: IdSource
    vault: Vault
    engine_endpoint: Callable[[], str] = _unknown_endpoint
    identity: IdentityProvider | None = None
    bearer: BearerTokens | None = None
    quotas: Quotas = field(default_factory=Quotas)
    space: Space = field(default_factory=Space)
