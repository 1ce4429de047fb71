"""How containers are kept apart from their host: the same for every engine, spelled for each.

What neither engine is told, because it is so by itself: the default seccomp filter, the masked and
read-only paths of /proc and /sys, and namespaces of the container's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from abaco.domain.limits import CAPABILITIES, UNLIMITED, parse_memory
from abaco.ports.driver import ContainerSpec
from abaco.settings import EngineSettings

#: period in which the kernel counts CPU time against the quota
CPU_PERIOD_US = 100_000
#: above it there is no quota: ten thousand CPUs, far below what the kernel refuses to count
_MAX_QUOTA_US = 10_000 * CPU_PERIOD_US

#: what may be mounted in memory over /tmp; programs may be run from there, but not as others
_TMP_OPTIONS = ("rw", "nosuid", "nodev", "mode=1777")


#: what Podman gives root. Source: containers/common, pkg/config/default.go
_PODMAN_CAPABILITIES = frozenset(
    {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
     "SETPCAP", "SETUID", "SYS_CHROOT"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What all containers of an engine have in common.

    Units: sizes bytes; ``rootfs_bytes`` None for no limit.
    """

    capabilities: tuple[str, ...]
    shm_bytes: int
    tmp_bytes: int
    rootfs_bytes: int | None
    oom_score: int

    @classmethod
    def of(cls, engine: EngineSettings) -> Confinement:
        """Pick from the settings."""
        return cls(
            capabilities=engine.capabilities,
            shm_bytes=size_bytes(engine.shm_size),
            tmp_bytes=size_bytes(engine.tmp_size),
            rootfs_bytes=None
            if engine.rootfs_size == UNLIMITED
            else size_bytes(engine.rootfs_size),
            oom_score=engine.oom_score,
        )


def size_bytes(text: str) -> int:
    """Read a size of the settings, which is not -1."""
    size = parse_memory(text)
    assert size is not None  # noqa: S101 - the settings' pattern says so
    return size


def cpu_quota_us(nano_cpus: int | None) -> int | None:
    """Return the CPU time of one period; None for no limit."""
    if nano_cpus is None:
        return None
    quota_us = nano_cpus * CPU_PERIOD_US // 1_000_000_000
    return quota_us if quota_us <= _MAX_QUOTA_US else None


def docker_confinement(confinement: Confinement, spec: ContainerSpec) -> dict[str, Any]:
    """Spell it as parts of Docker's HostConfig."""
    config: dict[str, Any] = {
        "Init": True,
        "IpcMode": "private",
        "ShmSize": confinement.shm_bytes,
        "OomScoreAdj": confinement.oom_score,
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
    }
    if (quota_us := cpu_quota_us(spec.limits.nano_cpus)) is not None:
        # not NanoCpus: with those the engine refuses more CPUs than its host has
        config |= {"CpuPeriod": CPU_PERIOD_US, "CpuQuota": quota_us}
    if confinement.rootfs_bytes is not None:
        config["StorageOpt"] = {"size": str(confinement.rootfs_bytes)}
    if spec.read_only_rootfs:
        options = ",".join((*_TMP_OPTIONS, f"size={confinement.tmp_bytes}"))
        config |= {"ReadonlyRootfs": True, "Tmpfs": {"/tmp": options}}  # noqa: S108 - a container's
    if spec.privileged:
        config["Privileged"] = True
    else:
        config["SecurityOpt"] = ["no-new-privileges"]
        config |= {"CapDrop": ["ALL"], "CapAdd": list(confinement.capabilities)}
    return config


def podman_confinement(confinement: Confinement, spec: ContainerSpec) -> dict[str, Any]:
    """Spell it as parts of Podman's create body; mounts and resource limits come beside it."""
    body: dict[str, Any] = {
        "init": True,
        "ipcns": {"nsmode": "private"},
        "shm_size": confinement.shm_bytes,
        "oom_score_adj": confinement.oom_score,
    }
    if confinement.rootfs_bytes is not None:
        body["storage_opts"] = {"size": str(confinement.rootfs_bytes)}
    if spec.read_only_rootfs:
        body["read_only_filesystem"] = True
    if spec.privileged:
        body["privileged"] = True
    else:
        body["no_new_privileges"] = True
        body |= _podman_capabilities(confinement.capabilities)
    return body


def _podman_capabilities(wanted: Sequence[str]) -> dict[str, list[str]]:
    """Take all but the wanted ones away, one by one.

    What is added by name, Podman gives to users other than root, too. So those it gives to root
    by itself are left alone, and only what is beyond them is added.
    """
    return {
        "cap_drop": [f"CAP_{name}" for name in CAPABILITIES if name not in wanted],
        "cap_add": [f"CAP_{name}" for name in wanted if name not in _PODMAN_CAPABILITIES],
    }


def podman_tmp(confinement: Confinement, spec: ContainerSpec) -> list[dict[str, Any]]:
    """Spell the /tmp of a container that can write nowhere else, as Podman's mounts."""
    if not spec.read_only_rootfs:
        return []
    options = [*_TMP_OPTIONS, f"size={confinement.tmp_bytes}"]
    return [
        {"type": "tmpfs", "source": "tmpfs", "destination": "/tmp", "options": options}  # noqa: S108 - a container's
    ]
