"""Whom containers run as, and their tokens, when nothing is configured."""

from __future__ import annotations

from abaco.domain.actor import Actor
from abaco.domain.execution import ExecutionKey
from abaco.ports.identity import HostUser, IdentityProvider, Token, TokenProvider


class ImageUser(IdentityProvider):
    """Containers run as the user their image names."""

    async def resolve(self, actor: Actor) -> HostUser:
        """Return a user without uid and gid."""
        return HostUser()


class NoTokens(TokenProvider):
    """Executions get an empty access token."""

    async def acquire(self, actor: Actor, execution: ExecutionKey) -> Token:
        """Return the empty token."""
        return Token(value="")

    async def release(self, token: Token) -> None:
        """Have nothing to end."""
