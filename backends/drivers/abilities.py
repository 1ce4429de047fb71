"""What an engine cannot hold its containers to, as it says itself, for ``abaco doctor``.

Asking the engine and judging its answer are apart, so that the judgement can be tried on engines
that are not at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from abaco.domain.limits import UNLIMITED
from abaco.settings import EngineSettings
from backends.drivers.host import HostFinding, Level

Info = Mapping[str, Any]

_KERNEL = (
    "boot the engine's host with it (Debian: cgroup_enable=memory swapaccount=1), or use a newer"
)
_KERNEL_REMEDY = f"{_KERNEL} kernel with control groups version 2"
_SECCOMP_REMEDY = "give the engine its default filter back, or one that is built with seccomp"

#: flags of Docker's answer, and what is missing without them
_DOCKER_FLAGS = {
    "MemoryLimit": "memory (mem_limit)",
    "SwapLimit": "swap, so a container may use as much of it as it has memory (mem_limit)",
    "PidsLimit": "processes ([engine] pids_limit)",
    "CpuCfsQuota": "CPU time (max_cpus)",
}
#: controllers of Podman's answer
_PODMAN_CONTROLLERS = {
    "memory": "memory (mem_limit)",
    "pids": "processes ([engine] pids_limit)",
    "cpu": "CPU time (max_cpus)",
}


def judge_docker(info: Info, engine: EngineSettings) -> Iterator[HostFinding]:
    """Judge the answer of Docker's ``/info``."""
    for flag, what in _DOCKER_FLAGS.items():
        if info.get(flag) is False:
            yield _no_limit(what)
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    if not any("name=seccomp" in option and "unconfined" not in option for option in options):
        yield _no_seccomp()
    status = dict(info.get("DriverStatus") or ())
    yield from _judge_storage(str(info.get("Driver")), status, engine)


def judge_podman(info: Info, engine: EngineSettings) -> Iterator[HostFinding]:
    """Judge the answer of Podman's ``/info``."""
    host, store = info.get("host") or {}, info.get("store") or {}
    controllers = set(host.get("cgroupControllers") or ())
    for controller, what in _PODMAN_CONTROLLERS.items():
        if controller not in controllers:
            yield _no_limit(what)
    if not (host.get("security") or {}).get("seccompEnabled"):
        yield _no_seccomp()
    status = store.get("graphStatus") or {}
    yield from _judge_storage(str(store.get("graphDriverName")), status, engine)


def _no_limit(what: str) -> HostFinding:
    return HostFinding(Level.WARNING, f"the engine cannot limit {what}", _KERNEL_REMEDY)


def _no_seccomp() -> HostFinding:
    what = "the engine filters no system calls (seccomp)"
    return HostFinding(Level.WARNING, what, _SECCOMP_REMEDY)


def _judge_storage(driver: str, status: Info, engine: EngineSettings) -> Iterator[HostFinding]:
    """Tell whether root file systems can be bounded, as far as the engine lets that be known."""
    below = str(status.get("Backing Filesystem", "unknown"))
    can_bound = driver in {"btrfs", "zfs"} or (driver.startswith("overlay") and below == "xfs")
    if engine.rootfs_size == UNLIMITED:
        return
    if can_bound:
        how = "mounted with pquota" if below == "xfs" else f"kept by {driver}"
        yield HostFinding(Level.OK, f"[engine] rootfs_size holds if its file system is {how}")
        return
    yield HostFinding(
        Level.ERROR,
        f"[engine] rootfs_size cannot be held to on {driver} over {below}: no container starts",
        "put the engine's data on xfs mounted with pquota, or set rootfs_size: -1 and keep the"
        " data on a disk of its own, or set [workers] read_only_rootfs: true",
    )
