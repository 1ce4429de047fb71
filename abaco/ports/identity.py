"""Whom containers run as."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from abaco.domain.host_access import HostUser
from abaco.domain.ids import Tenant


class IdentityProvider(Protocol):
    """Knows which users of the host the users of tenants are."""

    @abstractmethod
    async def find(self, tenant: Tenant, user: str) -> HostUser | None:
        """Return the host's user; None when the configuration has none for this tenant.

        Raises NoAccountError when somebody should be known and is not, and
        IdentityUnavailableError when whoever knows cannot be asked. Never answers with somebody
        else instead.
        """
