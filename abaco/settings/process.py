"""The process itself, its log, its store, and the engine it drives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from abaco.domain.limits import parse_memory
from abaco.settings.extra_hosts import EXTRA_HOSTS, ExtraHosts
from abaco.settings.section import Section
from abaco.settings.sizes import Capabilities, OptionalSizeText, SizeText

_ENDPOINTS = "unix:///path or tcp://host:port"


class GeneralSettings(Section):
    """The instance as a whole."""

    tag: str = Field("dev", description="Version text in every response envelope.")
    data_dir: Path = Field(
        Path("/var/lib/abaco"),
        description="Directory of everything this instance keeps on disk (database, sockets)."
        " A user who cannot write there gets ~/.local/share/abaco by default.",
    )
    min_free_disk: OptionalSizeText = Field(
        "100m",
        description="Free space on the disk of data_dir, and of the database, below which messages"
        " are refused with 503 and /ready says so; what has been accepted goes on. -1 for no"
        " limit.",
    )


class LogsSettings(Section):
    """The log of the server itself; the logs of actors are under [web] and [runtime]."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is written."
    )
    file: Path | None = Field(None, description="Write here instead of to standard error.")
    audit_days: int = Field(
        365,
        ge=-1,
        le=36_500,
        description="Days the records of the audit log are kept, which lies in the store and tells"
        " who changed what; -1 for ever.",
    )


class StoreSettings(Section):
    """Where durable records live."""

    backend: Literal["sqlite", "memory"] = Field(
        "sqlite", description="sqlite: one file, durable. memory: nothing survives a stop."
    )
    path: Path | None = Field(None, description="Database file; without it <data_dir>/abaco.db.")
    timeout_s: float = Field(
        10.0, gt=0, description="Seconds after which a store call counts as unavailable."
    )
    search_timeout_s: float = Field(
        5.0, gt=0, description="Seconds a search may take; a longer one is given up with 400."
    )


class EngineSettings(Section):
    """The container engine."""

    tenant_forms: ClassVar[Mapping[str, str]] = {"network": "network"}

    driver: Literal["auto", "docker", "podman", "scripted"] = Field(
        "auto",
        description="auto: a reachable Docker, else a reachable Podman, else a Podman service"
        " started and supervised by Abaco itself. scripted: a fake for tests.",
    )
    docker_socket: str = Field(
        "unix:///var/run/docker.sock",
        description="Docker's endpoint; also read as [docker] dd.",
        json_schema_extra={"allowed": _ENDPOINTS},
    )
    podman_socket: str = Field(
        "unix:///run/podman/podman.sock",
        description="Podman's endpoint.",
        json_schema_extra={"allowed": _ENDPOINTS},
    )
    runtime: str | None = Field(
        None,
        description="OCI runtime containers use (runc, crun); without it the engine's default, or"
        " what this host is found to need.",
    )
    call_timeout_s: float = Field(
        60.0, gt=0, description="Seconds after which a short engine call has failed."
    )
    max_creates: int = Field(
        8, ge=1, description="Containers that may be in creation or start at the same time."
    )
    pids_limit: int = Field(
        4096, ge=-1, description="Processes and threads per container; -1 for no limit."
    )
    registry_config: Path | None = Field(
        None,
        description="File with accounts at registries as docker login writes it"
        " (~/.docker/config.json), read at each pull; for all tenants. A section [registry:<host>]"
        " wins. Helper programs named in it are not run.",
    )
    image_disk_budget: str = Field(
        "0",
        pattern=r"^(0|[1-9][0-9]{0,15}[bkmgtBKMGT]?)$",
        description="Size of all images that Abaco pulled, above which those unused for the longest"
        " time are removed; never one that a container or an actor with workers has. 0 keeps all.",
        json_schema_extra={
            "allowed": "0, or a whole number with nothing, b, k, m, g or t after it"
        },
    )
    cgroup_parent: str = Field(
        "/abaco",
        pattern="^(/[A-Za-z0-9._-]+)*$",
        description="Control group under which Docker is told to run containers, so that what they"
        " used can be read when they are gone; limits set on it hold for all of them together."
        " Without effect where this process may not remove groups, and on engines whose groups"
        " are systemd's. Nothing leaves the place to the engine.",
    )
    network: str = Field(
        "bridge",
        description="Network mode of actor containers; none cuts them off. Also read as"
        " [spawner] docker_network. Tenant form: {tenant}_network.",
    )
    capabilities: Capabilities = Field(
        (
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "NET_BIND_SERVICE",
            "SETGID",
            "SETUID",
        ),
        description="Capabilities that containers keep while they run as root; all others are taken"
        " from them. Privileged actors have all.",
    )
    shm_size: SizeText = Field("64m", description="Size of /dev/shm of each container.")
    tmp_size: SizeText = Field(
        "256m",
        description="Size of the /tmp in memory that containers with a read-only root file system"
        " are given.",
    )
    rootfs_size: OptionalSizeText = Field(
        "-1",
        description="What a container may write to its root file system; -1 for no limit. Engines"
        " can hold to it only on some file systems (overlay on xfs mounted with pquota); on others"
        " no container starts with a limit. See `abaco doctor`.",
    )
    oom_score: int = Field(
        500,
        ge=0,
        le=1000,
        description="How much rather than other processes of its host the kernel ends a container's"
        " when the host itself runs out of memory (oom_score_adj).",
    )
    extra_hosts: ExtraHosts = Field(
        (),
        description="Names that containers resolve besides those they would, such as the one of"
        " this server. The address host-gateway is this host, as containers reach it.",
        json_schema_extra={"allowed": EXTRA_HOSTS},
    )

    @property
    def image_budget_bytes(self) -> int | None:
        """What images may take together; None for any size."""
        return None if self.image_disk_budget == "0" else parse_memory(self.image_disk_budget)

    @field_validator("docker_socket", "podman_socket")
    @classmethod
    def _normalise_endpoint(cls, endpoint: str) -> str:
        """Spell an endpoint as a URL; older files write unix:// with too few slashes, or none."""
        path = endpoint.removeprefix("unix://")
        if path != endpoint or endpoint.startswith("/"):
            return f"unix:///{path.lstrip('/')}"
        if endpoint.startswith("tcp://"):
            return endpoint
        raise ValueError(_ENDPOINTS)
