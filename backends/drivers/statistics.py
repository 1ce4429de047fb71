"""What can be told here of what runs used, and what cannot.

Reading the host and the engine (``look_at_statistics``) and judging what was read (``judge``) are
apart, so that the judgement can be tried on hosts that are not at hand.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from abaco.config import Settings
from abaco.ports.driver import EngineInfo
from backends.drivers import docker
from backends.drivers.cgroups import Mount, kernel_text, read_mounts
from backends.drivers.engine_http import EngineHttp
from backends.drivers.host import HostFinding, Level
from backends.drivers.own_groups import OwnGroups

#: since then the kernel counts version 1's block I/O only on devices somebody throttles
#: Source: Linux 6.10, "blk-throttle: delay initialization until configuration"
_LAZY_THROTTLE = (6, 10)
#: since then version 2 has memory.peak
_MEMORY_PEAK = (5, 19)

#: seconds the engine has to answer
_ASK_S = 10.0

_V2 = "boot the host with control groups of version 2 only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was read."""

    is_local: bool
    is_root: bool
    #: whether containers get control groups of ours, whose totals outlive them
    has_own_groups: bool
    #: counting controllers of version 1 that are mounted, and of version 2 that are on
    old: frozenset[str]
    new: frozenset[str]
    kernel: tuple[int, int]
    network: str


async def look_at_statistics(settings: Settings, info: EngineInfo) -> Sight:
    """Read this host, and ask the engine how it manages control groups.

    Raises:
        DriverError: The engine does not answer.

    """
    mounts = _mounts()
    has_groups = info.driver == "docker" and bool(settings.engine.cgroup_parent)
    if has_groups and info.sees_our_files:
        http = EngineHttp(info.endpoint, timeout_s=_ASK_S)
        try:
            has_groups = await docker.ask_cgroup_driver(http) == "cgroupfs"
        finally:
            http.close()
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    return Sight(
        is_local=info.sees_our_files,
        is_root=os.geteuid() == 0,
        has_own_groups=has_groups and OwnGroups("", mounts).can_remove(),
        old=frozenset(name for mount in mounts for name in mount.controllers),
        new=frozenset(name for mount in mounts for name in _controllers(mount)),
        kernel=(int(release[1]), int(release[2])) if release else (0, 0),
        network=settings.engine.network,
    )


def _mounts() -> tuple[Mount, ...]:
    return read_mounts(kernel_text(Path("/proc/self/mountinfo")))


def _controllers(mount: Mount) -> list[str]:
    if not mount.is_unified:
        return []
    try:
        return (mount.point / "cgroup.controllers").read_text().split()
    except OSError:
        return []


def judge(sight: Sight) -> Iterator[HostFinding]:
    """Say of each number how far it can be trusted."""
    if not sight.is_local:
        yield _unknown(
            "cpu, memory, network and block I/O",
            "the engine is on another host",
            "run the server where the engine is, if these numbers matter",
        )
        return
    if not sight.has_own_groups:
        yield HostFinding(
            Level.OK, "what executions used that end while the server is away is unknown"
        )
    yield _of_cpu(sight)
    yield _of_memory(sight)
    yield _of_network(sight)
    yield _of_blocks(sight)


def _known(what: str) -> HostFinding:
    return HostFinding(Level.OK, f"{what} of executions is exact")


def _unknown(what: str, why: str, remedy: str) -> HostFinding:
    return HostFinding(Level.WARNING, f"{what} of executions is unknown, shown as 0: {why}", remedy)


def _of_cpu(sight: Sight) -> HostFinding:
    if "cpuacct" in sight.old or "cpu" in sight.new:
        return _known("cpu")
    return _unknown("cpu", "its control group is not mounted here", _V2)


def _of_memory(sight: Sight) -> HostFinding:
    if "memory" in sight.old or ("memory" in sight.new and sight.kernel >= _MEMORY_PEAK):
        return _known("memory_peak")
    if "memory" in sight.new:
        return _unknown("memory_peak", "the kernel is older than 5.19", "a newer kernel")
    return _unknown("memory_peak", "its control group is not mounted here", _V2)


def _of_network(sight: Sight) -> HostFinding:
    if sight.network.startswith(("host", "container:")):
        return _unknown(
            "io (network)", "containers share a network", "another [engine] network: bridge"
        )
    if not sight.is_root:
        return _unknown(
            "io (network)",
            "only root sees the counters of containers that are not its own",
            "run the server as root, or containers as this user (rootless Podman)",
        )
    return _known("io (network)")


def _of_blocks(sight: Sight) -> HostFinding:
    if "blkio" in sight.old:
        if sight.kernel < _LAZY_THROTTLE:
            return _known("block I/O")
        why = "with control groups of version 1, this kernel counts on throttled devices only"
        return _unknown("block I/O", why, _V2)
    if "io" in sight.new:
        return _known("block I/O")
    return _unknown("block I/O", "its control group is not mounted here", _V2)
