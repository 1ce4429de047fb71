"""Notice that the kernel killed for want of memory, where the engine's monitor does not.

Podman's monitor asks the kernel's counter at the very moment of the notice, when the version 1
memory cgroup has not counted the kill yet, and so misses it (conmon 2.1.6, measured
2026-11-22). Here the notices themselves are counted. They are only to be had on this host and
with the right to subscribe; everywhere else the engine's own word stands.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from backends.drivers.cgroups import group_of, kernel_text, read_mounts

log = logging.getLogger(__name__)

#: seconds after a cgroup's files are gone by which the kernel has signalled its removal too
_REMOVAL_S = 0.15


class MemoryWatch:
    """Counts the out-of-memory notices of one version 1 memory cgroup.

    Args:
        cgroup: Its directory.

    Raises:
        OSError: It is gone, or may not be watched.

    """

    def __init__(self, cgroup: Path) -> None:
        self._control = os.open(cgroup / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        self._events = -1
        try:
            self._events = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            (cgroup / "cgroup.event_control").write_text(f"{self._events} {self._control}")
        except OSError:
            self.close()
            raise
        #: notices so far; the last one is the removal's
        self._count = 0
        self._was_seen = False
        self._is_certain = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._events, self._notice)

    def _notice(self) -> None:
        self._count += os.eventfd_read(self._events)
        # While the files can be read, a notice cannot be the removal's; of two, one is not.
        if self._kill_count() is not None or self._count > 1:
            self._was_seen = True
            self._is_certain.set()

    def _kill_count(self) -> int | None:
        """Read the kernel's counter; None when the cgroup is gone."""
        try:
            text = os.pread(self._control, 4096, 0).decode()
        except OSError:
            return None
        counts = dict(line.split() for line in text.splitlines())
        return int(counts.get("oom_kill", 0))

    async def was_killed(self) -> bool:
        """Tell whether there was a kill. Ask after the end of the program."""
        count = self._kill_count()
        if count is not None:
            return self._was_seen or count > 0
        try:
            async with asyncio.timeout(_REMOVAL_S):
                await self._is_certain.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Stop watching. Idempotent."""
        if self._events >= 0:
            asyncio.get_running_loop().remove_reader(self._events)
            os.close(self._events)
        if self._control >= 0:
            os.close(self._control)
        self._events = self._control = -1


def watch_memory(pid: int) -> MemoryWatch | None:
    """Watch the memory cgroup of a process of this host; None where that is not possible."""
    try:
        cgroup = memory_cgroup(
            kernel_text(Path(f"/proc/{pid}/cgroup")), kernel_text(Path("/proc/self/mountinfo"))
        )
        return MemoryWatch(cgroup) if cgroup is not None else None
    except OSError as error:
        log.info("memory of process %d cannot be watched: %s", pid, error)
        return None


def memory_cgroup(membership: str, mounts: str) -> Path | None:
    """Find the directory of a process's version 1 memory cgroup.

    Args:
        membership: Text of ``/proc/<pid>/cgroup``.
        mounts: Text of ``/proc/self/mountinfo``.

    """
    return group_of(membership, read_mounts(mounts)).places.get("memory")
