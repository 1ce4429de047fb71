"""The host's side of mounts."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from abaco.domain.actor import Actor
from abaco.ports.driver import Bind


class HostFiles(Protocol):
    """Looks at the files of the host that actors have mounts of."""

    @abstractmethod
    async def binds(self, actor: Actor) -> tuple[Bind, ...]:
        """Return what a container of the actor is given now, checked.

        What the host does not have is left out or refused, as configured. Refused in any case:
        a path with a link in the part that depends on owner or tenant, which a user may have
        put there; and, unless the actor is privileged, what would hand over the engine's socket
        or this server's own files. Nothing is made or changed. Raises StartFailedError, which
        names the mount.
        """
