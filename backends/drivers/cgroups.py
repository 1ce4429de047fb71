"""Control groups: where a container's are on this host, and what the kernel has counted there.

Reads files of the kernel, so everything that touches them belongs on a thread. A number that is
not to be had is None. Source: the kernel's admin-guide, cgroup-v1/ and cgroup-v2.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mounted hierarchy. ``controllers`` is empty for version 2."""

    point: Path
    #: which part of the hierarchy is mounted there
    root: str
    controllers: frozenset[str]

    @property
    def is_unified(self) -> bool:
        """Whether it is the hierarchy of version 2."""
        return not self.controllers

    def place(self, path: str) -> Path | None:
        """Return a group's directory; None when the group is outside of what is mounted."""
        inside = path
        if self.root != "/":
            if path != self.root and not path.startswith(f"{self.root}/"):
                return None
            inside = path.removeprefix(self.root)
        # the kernel spells groups outside of our cgroup namespace with ..
        if ".." in inside.split("/"):
            return None
        return self.point / inside.lstrip("/")


def kernel_text(path: Path) -> str:
    """Return a file of the kernel's; names in it may be any bytes, whoever chose them.

    Only a newline ends a line of it: other characters that end lines may be part of names.

    Raises:
        OSError: It is gone, or this kernel has no such file.

    """
    return os.fsdecode(path.read_bytes())


def read_mounts(mountinfo: str) -> tuple[Mount, ...]:
    """Find the hierarchies in the text of ``/proc/self/mountinfo``."""
    found = []
    for line in mountinfo.strip("\n").split("\n"):
        if not line:
            continue
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        fields = left.split()
        found.append(
            Mount(
                point=Path(fields[4]),
                root=fields[3],
                controllers=frozenset(options.split(",")) if kind == "cgroup" else frozenset(),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Group:
    """Directories of one group: by controller of version 1, and ``""`` for version 2's."""

    places: Mapping[str, Path]

    def exists(self) -> bool:
        """Tell whether it is there in any hierarchy."""
        return any(place.is_dir() for place in self.places.values())


#: controllers of version 1 that count something shown here
_COUNTING = ("cpuacct", "memory", "blkio")


def _places(mount: Mount, path: str) -> Iterator[tuple[str, Path]]:
    place = mount.place(path)
    if place is not None:
        for name in ("",) if mount.is_unified else mount.controllers.intersection(_COUNTING):
            yield name, place


def group_at(path: str, mounts: Sequence[Mount]) -> Group:
    """Return the group that has the same path in every hierarchy."""
    return Group(dict(item for mount in mounts for item in _places(mount, path)))


def group_of(membership: str, mounts: Sequence[Mount]) -> Group:
    """Return the group a process is in.

    Args:
        membership: Text of ``/proc/<pid>/cgroup``.
        mounts: The hierarchies.

    """
    places: dict[str, Path] = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        names = frozenset(filter(None, controllers.split(",")))
        for mount in mounts:
            # the line of version 2 names no controller, and neither does its mount
            if mount.is_unified == (not names) and mount.controllers >= names:
                places |= dict(_places(mount, path))
    return Group(places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the kernel counted in a group, and in those that were ever below it.

    Units: nanoseconds of CPU; bytes. ``oom_kills`` of version 1 is that of the group alone.
    """

    cpu_ns: int | None = None
    memory_peak_bytes: int | None = None
    blk_read_bytes: int | None = None
    blk_write_bytes: int | None = None
    oom_kills: int | None = None


def read_counts(group: Group) -> Counts:
    """Read everything there is."""
    places = group.places
    unified = places.get("")
    cpu_ns = memory_peak = oom_kills = None
    blocks: tuple[int | None, int | None] = (None, None)
    if place := places.get("cpuacct"):
        cpu_ns = _number(place / "cpuacct.usage")
    elif unified:
        usage_us = _pairs(unified / "cpu.stat").get("usage_usec")
        cpu_ns = None if usage_us is None else usage_us * 1000
    if place := places.get("memory"):
        memory_peak = _number(place / "memory.max_usage_in_bytes")
        oom_kills = _pairs(place / "memory.oom_control").get("oom_kill")
    elif unified:
        memory_peak = _number(unified / "memory.peak")
        oom_kills = _pairs(unified / "memory.events").get("oom_kill")
    if place := places.get("blkio"):
        blocks = _old_blocks(_text(place / "blkio.throttle.io_service_bytes_recursive"))
    elif unified:
        blocks = _new_blocks(_text(unified / "io.stat"))
    return Counts(
        cpu_ns=cpu_ns,
        memory_peak_bytes=memory_peak,
        blk_read_bytes=blocks[0],
        blk_write_bytes=blocks[1],
        oom_kills=oom_kills,
    )


def read_processes(group: Group) -> list[int]:
    """Return the ids of its processes, as any one hierarchy has them."""
    for place in group.places.values():
        return [int(word) for word in (_text(place / "cgroup.procs") or "").split()]
    return []


def is_first(pid: int) -> bool:
    """Tell whether a process is the first one of a pid namespace below ours."""
    for line in (_text(Path(f"/proc/{pid}/status")) or "").split("\n"):
        name, _, value = line.partition(":")
        if name == "NSpid":
            ids = value.split()
            return len(ids) > 1 and ids[-1] == "1"
    return False


def _text(path: Path) -> str | None:
    try:
        return kernel_text(path)
    except OSError:  # the group is gone, or this kernel has no such file
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return None if text is None else int(text)


def _pairs(path: Path) -> dict[str, int]:
    words = [line.split() for line in (_text(path) or "").splitlines()]
    return {name: int(value) for name, value in words}


def _old_blocks(text: str | None) -> tuple[int | None, int | None]:
    """Add up lines like ``8:0 Read 4096``.

    Without a device there is nothing to tell: kernels from 6.10 on count there only on devices
    that somebody throttles.
    """
    sums: dict[str, int] = {}
    for line in (text or "").splitlines():
        words = line.split()
        if len(words) == 3:
            sums[words[1]] = sums.get(words[1], 0) + int(words[2])
    return sums.get("Read"), sums.get("Write")


def _new_blocks(text: str | None) -> tuple[int | None, int | None]:
    """Add up lines like ``8:0 rbytes=4096 wbytes=0 rios=1 ...``; none means no bytes."""
    if text is None:
        return None, None
    sums = {"rbytes": 0, "wbytes": 0}
    for line in text.splitlines():
        for word in line.split()[1:]:
            name, _, value = word.partition("=")
            if name in sums:
                sums[name] += int(value)
    return sums["rbytes"], sums["wbytes"]
