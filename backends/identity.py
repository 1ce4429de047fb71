"""Whom containers run as when nothing is configured."""

from __future__ import annotations

from abaco.domain.actor import Actor
from abaco.ports.identity import HostUser, IdentityProvider


class ImageUser(IdentityProvider):
    """Containers run as the user their image names."""

    async def resolve(self, actor: Actor) -> HostUser:
        """Return a user without uid and gid."""
        return HostUser()
