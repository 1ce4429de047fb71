"""What of the host an actor's containers have: a user to run as, and mounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from abaco.domain.mount import Mount

#: the largest number the kernel gives a user or group; the one above means "none"
MAX_ID = 2**32 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUser:
    """A user of the host. ``home`` is where the user's own files are, if that is known."""

    uid: int
    gid: int
    home: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAccess:
    """What was found for the owner when the actor was registered or updated last.

    Attributes:
        uid: Whom containers run as; None for the image's own user.
        gid: None as ``uid`` is.
        tasdir: The owner's home directory. It only fills ``{tasdir}`` of mounts.

    """

    uid: int | None = None
    gid: int | None = None
    tasdir: str | None = None
    mounts: tuple[Mount, ...] = ()

    def shown(self) -> dict[str, Any]:
        """Return what clients are shown; numbers as text, as clients of the older Abaco expect."""
        return {
            "mounts": [mount.shown() for mount in self.mounts],
            "tasdir": self.tasdir,
            "uid": None if self.uid is None else str(self.uid),
            "gid": None if self.gid is None else str(self.gid),
        }

    @property
    def user(self) -> str | None:
        """The user as engines are told."""
        return None if self.uid is None else f"{self.uid}:{self.gid}"
