"""What this host needs an engine to be told, and what a person should know about it.

Reading the host (``look``) and judging what was read (``findings``, ``engine_needs``) are apart,
so that the judgement can be tried on hosts that are not at hand.
"""

from __future__ import annotations

import resource
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from backends.drivers.cgroups import kernel_text

#: Source: linux/capability.h
_CAP_SYS_RESOURCE = 24

#: what Podman asks for when it runs as root and nobody says otherwise
#: Source: containers/common, default_ulimits of a root installation
_PODMAN_NOFILE = 1_048_576


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class CgroupLayout(StrEnum):
    """Which control group hierarchies are mounted."""

    V1 = "v1"
    V2 = "v2"
    #: version 1 controllers, with an empty version 2 tree beside them
    HYBRID = "hybrid"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class HostFinding:
    """One fact about this host that matters to containers, and what to do about it."""

    level: Level
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A resource limit of a container. ``name`` is spelled as engines do (``nofile``)."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What was read of this host."""

    can_raise_limits: bool
    nofile_hard: int
    nproc_hard: int
    pid_max: int
    cgroups: CgroupLayout
    #: whether systemd runs this host
    has_systemd: bool
    #: of the programs this room may use, those that are installed, with their paths
    programs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNeeds:
    """What Podman is told on this host. Empty where its own defaults work."""

    ulimits: tuple[Ulimit, ...] = ()
    runtime: str | None = None
    cgroup_manager: str | None = None


_PROGRAMS = ("docker", "dockerd", "podman", "conmon", "runc", "crun", "catatonit", "systemctl")
_PROGRAM_DIRS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec/podman"


def look() -> Host:
    """Read this host; a few small files of /proc and the search path."""
    found = {name: shutil.which(name, path=_PROGRAM_DIRS) for name in _PROGRAMS}
    return Host(
        can_raise_limits=has_capability(_read("/proc/self/status"), _CAP_SYS_RESOURCE),
        nofile_hard=_finite(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        nproc_hard=_finite(resource.getrlimit(resource.RLIMIT_NPROC)[1]),
        pid_max=int(_read("/proc/sys/kernel/pid_max").strip() or 32768),
        cgroups=cgroup_layout(_read("/proc/self/mountinfo")),
        has_systemd=Path("/run/systemd/system").is_dir(),
        programs={name: path for name, path in found.items() if path is not None},
    )


def _read(path: str) -> str:
    try:
        return kernel_text(Path(path))
    except OSError:
        # a host without this file is a host about which nothing is known here
        return ""


def _finite(limit: int) -> int:
    return 2**63 - 1 if limit == resource.RLIM_INFINITY else limit


def has_capability(status: str, number: int) -> bool:
    """Tell from the text of ``/proc/<pid>/status`` whether a capability is effective."""
    for line in status.split("\n"):
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> number & 1)
    return False


def cgroup_layout(mountinfo: str) -> CgroupLayout:
    """Tell from the text of ``/proc/self/mountinfo`` which hierarchies there are."""
    kinds = {line.partition(" - ")[2].split(" ")[0] for line in mountinfo.split("\n")}
    if "cgroup" in kinds:
        return CgroupLayout.HYBRID if "cgroup2" in kinds else CgroupLayout.V1
    return CgroupLayout.V2 if "cgroup2" in kinds else CgroupLayout.NONE


def engine_needs(host: Host, *, runtime: str | None = None) -> EngineNeeds:
    """Work out what Podman must be told.

    Args:
        host: What was read.
        runtime: The configured OCI runtime, which wins.

    """
    ulimits: tuple[Ulimit, ...] = ()
    if not host.can_raise_limits and host.nofile_hard < _PODMAN_NOFILE:
        processes = min(host.nproc_hard, host.pid_max)
        ulimits = (
            Ulimit("nofile", host.nofile_hard, host.nofile_hard),
            Ulimit("nproc", processes, processes),
        )
    if runtime is None and host.cgroups is CgroupLayout.HYBRID and "runc" in host.programs:
        # crun takes the empty version 2 tree for the real one, and fails
        runtime = "runc"
    return EngineNeeds(
        ulimits=ulimits,
        runtime=runtime,
        cgroup_manager=None if host.has_systemd else "cgroupfs",
    )


def findings(host: Host | None = None) -> list[HostFinding]:
    """Judge this host, worst first."""
    host = host or look()
    found = [*_program_findings(host), *_cgroup_findings(host), *_limit_findings(host)]
    order = [Level.ERROR, Level.WARNING, Level.OK]
    return sorted(found, key=lambda item: order.index(item.level))


def _program_findings(host: Host) -> list[HostFinding]:
    engines = [name for name in ("dockerd", "podman") if name in host.programs]
    if not engines:
        return [
            HostFinding(
                Level.WARNING,
                "neither Docker nor Podman is installed on this host",
                "install one (Debian: apt install podman), or point [engine] docker_socket or"
                " podman_socket at an engine elsewhere",
            )
        ]
    found = [HostFinding(Level.OK, f"installed engines: {', '.join(engines)}")]
    if "podman" in host.programs and "catatonit" not in host.programs:
        found.append(
            HostFinding(
                Level.WARNING,
                "Podman has no init for its containers (catatonit)",
                "apt install catatonit",
            )
        )
    return found


def _cgroup_findings(host: Host) -> list[HostFinding]:
    if host.cgroups is CgroupLayout.NONE:
        return [
            HostFinding(
                Level.ERROR,
                "no control groups are mounted; engines cannot start containers",
                "mount them (systemd does at boot; elsewhere the package cgroupfs-mount)",
            )
        ]
    if host.cgroups is CgroupLayout.HYBRID and "podman" in host.programs:
        if "runc" in host.programs:
            what = "hybrid control groups: crun fails with them, Podman is told to use runc"
            remedy = 'for a Podman service of your own, set runtime = "runc" in containers.conf'
            return [HostFinding(Level.WARNING, what, remedy)]
        what = "hybrid control groups: crun fails with them, and runc is not installed"
        return [HostFinding(Level.ERROR, what, "apt install runc")]
    return [HostFinding(Level.OK, f"control groups: {host.cgroups}")]


def _limit_findings(host: Host) -> list[HostFinding]:
    needs = engine_needs(host)
    if not needs.ulimits:
        return [HostFinding(Level.OK, "resource limits can be set as engines want them")]
    asked = ", ".join(f"{item.name}={item.hard}" for item in needs.ulimits)
    return [
        HostFinding(
            Level.WARNING,
            "this process may not raise resource limits (no CAP_SYS_RESOURCE);"
            f" Podman's containers are given {asked}",
            "nothing to do, unless actors need more open files: then give the service"
            " CAP_SYS_RESOURCE or raise its hard limit (ulimit -Hn)",
        )
    ]
