"""Looks at the host's files before containers are given them.

The server must see the files under the paths the engine sees them under. Between this look and
the engine's own a user may still swap a directory of the user's for a link; where that matters,
nothing below what users can write should be configured.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from abaco.config import Settings
from abaco.domain.actor import Actor
from abaco.domain.mount import Mount, MountMode
from abaco.errors import StartFailedError
from abaco.ports.driver import Bind
from abaco.ports.mounts import HostFiles
from backends.apart import Apart

#: starts that look at once, and seconds a look may take: file servers can be away
_COUNT = 16
_TIMEOUT_S = 10.0


class MountMissingError(Exception):
    """The host has no such path."""


class MountRefusedError(Exception):
    """A container must not be given this path; the text says why."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Paths no ordinary container is given: sockets of engines, and directories of ours."""

    sockets: tuple[str, ...]
    directories: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> Guard:
        """Pick from all settings."""
        engine = settings.engine
        endpoints = (engine.docker_socket, engine.podman_socket)
        sockets = [item.removeprefix("unix://") for item in endpoints if item.startswith("unix:")]
        directories = {settings.general.data_dir, settings.database_path.parent}
        return cls(tuple(sockets), tuple(str(directory) for directory in directories))

    def check(self, path: str) -> None:
        """Refuse a path without links that holds something guarded, or is part of it.

        Raises:
            MountRefusedError: Says which.

        """
        for guarded in (*self.sockets, *self.directories):
            if _is_in(os.path.realpath(guarded), path):
                raise MountRefusedError(f"it would give actors {guarded}")
        for directory in self.directories:
            if _is_in(path, os.path.realpath(directory)):
                raise MountRefusedError(f"it is part of {directory}")


def _is_in(path: str, directory: str) -> bool:
    return Path(path).is_relative_to(directory)


def look(mount: Mount) -> str:
    """Return the host path of a mount with the links of its base followed.

    Raises:
        MountMissingError: It is not there.
        MountRefusedError: There is a link after the base, or this process may not look.

    """
    try:
        path = os.path.realpath(mount.base, strict=True)
        for name in Path(mount.host_path).relative_to(mount.base).parts:
            path = os.path.join(path, name)  # noqa: PTH118 - pathlib would follow links below
            if stat.S_ISLNK(os.lstat(path).st_mode):
                raise MountRefusedError(f"{path} is a link")
        os.stat(path)  # noqa: PTH116 - lstat alone does not mount what is mounted on demand
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MountMissingError(mount.host_path) from error
    except OSError as error:
        raise MountRefusedError(str(error.strerror)) from error
    return path


class LocalFiles(HostFiles):
    """The files of this host.

    Args:
        guard: What only privileged actors get.
        skips_missing: Whether a container starts without what the host does not have.

    """

    def __init__(self, guard: Guard, *, skips_missing: bool) -> None:
        self._guard = guard
        self._skips_missing = skips_missing
        self._apart = Apart("mounts", count=_COUNT, timeout_s=_TIMEOUT_S)

    async def binds(self, actor: Actor) -> tuple[Bind, ...]:
        """Look at every mount, in a thread."""
        if not actor.host.mounts:
            return ()
        is_privileged = actor.definition.privileged
        try:
            return await self._apart.call(self._binds, actor.host.mounts, is_privileged)
        except TimeoutError as error:
            raise StartFailedError(
                f"the mounts of the actor did not answer in {_TIMEOUT_S:.0f} s"
            ) from error

    def _binds(self, mounts: Iterable[Mount], is_privileged: bool) -> tuple[Bind, ...]:
        found = []
        for mount in mounts:
            try:
                path = look(mount)
                if not is_privileged:
                    self._guard.check(path)
            except MountMissingError as error:
                if self._skips_missing:
                    continue
                raise StartFailedError(f"mount {mount.host_path}: it is not there") from error
            except MountRefusedError as error:
                raise StartFailedError(f"mount {mount.host_path}: {error}") from error
            found.append(
                Bind(
                    host_path=path,
                    container_path=mount.container_path,
                    is_read_only=mount.mode is MountMode.RO,
                )
            )
        return tuple(found)
