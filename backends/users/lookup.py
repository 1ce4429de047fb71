"""What looks up owners."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from abaco.domain.host_access import HostUser
from abaco.domain.ids import Tenant


class Lookup(Protocol):
    """Somebody who knows the users of the host."""

    @abstractmethod
    async def find(self, tenant: Tenant, user: str) -> HostUser:
        """Return the user. Raises NoAccountError, IdentityUnavailableError."""

    @abstractmethod
    async def check(self) -> str:
        """Say who is asked, having made sure of an answer. Raises IdentityUnavailableError."""

    @abstractmethod
    def close(self) -> None:
        """Give up connections."""
