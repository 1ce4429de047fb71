"""Bearer tokens: who stands behind one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from abaco.domain.run_token import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a verified token says. Names are as the issuer spelled them, not yet checked.

    Attributes:
        run: The run of an execution the token is for; whoever accepts it must see that this run
            is under way. None for a person's token.
        is_for_actor: It is good for nothing but the actor of the run.

    """

    tenant: str
    user: str
    roles: frozenset[str]
    run: Run | None = None
    is_for_actor: bool = False


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
