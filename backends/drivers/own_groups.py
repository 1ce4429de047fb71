"""Control groups that the engine makes for us, one above each container's own.

The engine makes such a group with the container and removes only the container's own, so the
totals of the upper one outlive the container, and this process removes it. Everything here reads
or changes files of the kernel: it belongs on a thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from backends.drivers.cgroups import Counts, Mount, group_at, read_counts


class OwnGroups:
    """The groups below one path, each named after its container.

    Args:
        parent: That path, in every hierarchy.
        mounts: The hierarchies of this host.

    """

    def __init__(self, parent: str, mounts: Sequence[Mount]) -> None:
        self._parent = parent
        self._mounts = mounts

    def can_remove(self) -> bool:
        """Tell whether this process may remove what is made there."""
        return bool(self._mounts) and all(os.access(mount.point, os.W_OK) for mount in self._mounts)

    def exists(self, name: str) -> bool:
        """Tell whether there is a group of this name."""
        return group_at(f"{self._parent}/{name}", self._mounts).exists()

    def read(self, name: str) -> Counts:
        """Read what was counted; all None when there is no such group."""
        return read_counts(group_at(f"{self._parent}/{name}", self._mounts))

    def list_names(self) -> list[str]:
        """Return the names of all groups there are, those of earlier processes too."""
        names: set[str] = set()
        for place in self._places(""):
            with contextlib.suppress(FileNotFoundError):
                names.update(item.name for item in place.iterdir() if item.is_dir())
        return sorted(names)

    def remove(self, names: Iterable[str]) -> None:
        """Remove groups; those in which there is still a container's stay. Idempotent."""
        for name in names:
            for place in self._places(name):
                # gone, never made in this hierarchy, or busy: then it is swept another time
                with contextlib.suppress(OSError):
                    place.rmdir()

    def remove_all(self) -> None:
        """Remove the path above them, once there is none."""
        self.remove([""])

    def _places(self, name: str) -> list[Path]:
        path = f"{self._parent}/{name}".rstrip("/")
        found = (mount.place(path) for mount in self._mounts)
        return [place for place in found if place is not None]
