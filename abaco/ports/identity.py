"""Whom a container runs as."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from abaco.domain.actor import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUser:
    """A user on the container host. None means "as the image says"."""

    uid: int | None = None
    gid: int | None = None
    home: str | None = None


class IdentityProvider(Protocol):
    """Resolves the owner of an actor to a host user."""

    @abstractmethod
    async def resolve(self, actor: Actor) -> HostUser:
        """Return the user the actor's containers run as.

        Always resolved for the owner, never for the caller. Raises BackendError when the
        provider cannot answer; running as somebody else instead is not an option.
        """
