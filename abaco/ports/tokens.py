"""Bearer tokens: who stands behind one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a verified token says. Names are as the issuer spelled them, not yet checked."""

    tenant: str
    user: str
    roles: frozenset[str]


class BearerTokens(Protocol):
    """Verifies tokens, wherever they were made."""

    @abstractmethod
    async def identify(self, token: str) -> Identity:
        """Return whom a token speaks of.

        Signature, issuer, audience and times have been checked then. May wait for the issuer's
        keys when they are not known yet.

        Raises UnauthenticatedError when the token proves nothing, IssuerUnavailableError when
        that cannot be told now.
        """
