"""Who has accounts at registries of images."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from abaco.domain.ids import Tenant
from abaco.ports.driver import Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account at a registry.

    Attributes:
        is_own: It is of one tenant; others have another, or none.

    """

    credentials: Credentials
    is_own: bool


class Registries(Protocol):
    """The accounts at registries. A registry is ``host`` or ``host:port``."""

    @abstractmethod
    async def find_account(self, registry: str, tenant: Tenant) -> Account | None:
        """Return the account for a pull of the tenant's; None when it is to be anonymous.

        The tenant's own, else one that is for everybody. Where there are several, any of them.
        Raises DriverError, without a word of what is in it, when a file cannot be read.
        """

    @abstractmethod
    def is_guarded(self, registry: str) -> bool:
        """Tell whether a tenant has an account of its own there.

        What such a registry hands out to one tenant is not for the others.
        """
