"""The settings of Abaco: one frozen class per section of abaco.conf, one field per key.

The classes are the documentation: abaco.conf and the tables of ``abaco serve --show-config`` are
written from the descriptions and defaults here. ``abaco.config`` fills them from file,
environment and flags.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from abaco.domain.ids import DEFAULT_SALT

_ENDPOINTS = "unix:///path or tcp://host:port"


def fold_tenant(tenant: str) -> str:
    """Spell a tenant as its keys do: letter case and ``-`` against ``_`` make no difference."""
    return tenant.casefold().replace("-", "_")


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, keys for single tenants where declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: ending of a key for one tenant (``<tenant>_<ending>``) -> the key it stands in for
    tenant_forms: ClassVar[Mapping[str, str]] = {}

    _tenant_values: dict[tuple[str, str], Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def split_tenant_key(cls, key: str) -> tuple[str, str] | None:
        """Take ``<tenant>_<ending>`` apart; None when the key is not of that form."""
        if key in cls.model_fields:
            return None
        for ending in cls.tenant_forms:
            tenant = fold_tenant(key).removesuffix(f"_{ending}")
            if tenant and tenant != fold_tenant(key):
                return tenant, ending
        return None

    def for_tenant(self, ending: str, tenant: str) -> Any:
        """Return the tenant's own value of a key, or else the one for everybody.

        Args:
            ending: One of ``tenant_forms``; ``log_ex`` reads ``<tenant>_log_ex``.
            tenant: In any letter case, with ``-`` or ``_``.

        """
        everybody = getattr(self, self.tenant_forms[ending])
        return self._tenant_values.get((fold_tenant(tenant), ending), everybody)

    @model_validator(mode="wrap")
    @classmethod
    def _take_tenant_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, dict) or not cls.tenant_forms:
            return handler(data)
        forms = {key: form for key in data if (form := cls.split_tenant_key(key))}
        section = handler({key: value for key, value in data.items() if key not in forms})
        for key, (tenant, ending) in forms.items():
            section._tenant_values[tenant, ending] = cls._tenant_value(key, ending, data[key])
        return section

    @classmethod
    def _tenant_value(cls, key: str, ending: str, value: Any) -> Any:
        """Validate the value as that of the key it stands in for, under its own name."""
        field = cls.tenant_forms[ending]
        try:
            return getattr(cls.model_validate({field: value}), field)
        except ValidationError as error:
            details = [
                InitErrorDetails(
                    type=PydanticCustomError(item["type"], "{text}", {"text": item["msg"]}),
                    loc=(key,),
                    input=value,
                )
                for item in error.errors()
            ]
            raise ValidationError.from_exception_data(cls.__name__, details) from error


class GeneralSettings(Section):
    """The instance as a whole."""

    tag: str = Field("dev", description="Version text in every response envelope.")
    data_dir: Path = Field(
        Path("/var/lib/abaco"),
        description="Directory of everything this instance keeps on disk (database, sockets)."
        " A user who cannot write there gets ~/.local/share/abaco by default.",
    )


class LogsSettings(Section):
    """The log of the server itself; the logs of actors are under [web] and [runtime]."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is written."
    )
    file: Path | None = Field(None, description="Write here instead of to standard error.")


class StoreSettings(Section):
    """Where durable records live."""

    backend: Literal["sqlite", "memory"] = Field(
        "sqlite", description="sqlite: one file, durable. memory: nothing survives a stop."
    )
    path: Path | None = Field(None, description="Database file; without it <data_dir>/abaco.db.")
    timeout_s: float = Field(
        10.0, gt=0, description="Seconds after which a store call counts as unavailable."
    )


class EngineSettings(Section):
    """The container engine."""

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
    network: str = Field(
        "bridge",
        description="Network mode of actor containers; none cuts them off. Also read as"
        " [spawner] docker_network.",
    )

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


class SpawnerSettings(Section):
    """Where and how many workers run."""

    host_id: str = Field("0", description="Identity of this host, shown on workers.")
    host_ip: str = Field("127.0.0.1", description="Address of this host, shown on workers.")
    max_workers_per_host: int = Field(20, ge=1, description="Workers that may live at once.")
    max_workers_per_actor: int = Field(
        20, ge=1, description="Pool limit of an actor without max_workers of its own."
    )


class WorkersSettings(Section):
    """Workers and the containers they run."""

    init_count: int = Field(
        1, ge=0, description="Above 0: one worker is started when an actor is registered."
    )
    autoscaling: bool = Field(
        True,
        description="Start more workers for stateless actors when messages wait. When off, a"
        " waiting message still starts the first worker.",
    )
    max_run_time: int = Field(
        -1, ge=-1, description="Seconds after which a run is stopped; -1 for no limit."
    )
    mem_limit: str = Field(
        "-1",
        pattern=r"^(-1|[1-9][0-9]*[bkmgBKMG]?)$",
        description="Memory per container in engine syntax (512m, 3g); -1 for no limit.",
        json_schema_extra={"allowed": "-1, or a whole number with nothing, b, k, m or g after it"},
    )
    max_cpus: int = Field(
        -1,
        ge=-1,
        description="CPU per container in nano-CPUs (1000000000 = one); -1 for no limit.",
    )
    worker_ttl: int = Field(
        -1,
        ge=-1,
        description="Idle seconds after which a stateful actor's worker, or the last worker of a"
        " pool that does not scale, is retired; -1 never.",
    )
    leave_containers: bool = Field(
        False, description="Keep the stopped containers of executions (for debugging)."
    )


class WebSettings(Section):
    """The HTTP API."""

    tenant_forms: ClassVar[Mapping[str, str]] = {
        "log_ex": "log_ex",
        "log_ex_limit": "log_ex_limit",
        "default_token": "default_token",
        "api_server": "default_api_server",
    }

    address: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    access_control: Literal["none", "jwt"] = Field(
        "none",
        description="none: everybody may do everything, only on loopback addresses. jwt: callers"
        " prove themselves with X-JWT-Assertion-<tenant> headers.",
    )
    allow_insecure: bool = Field(
        False, description="Allow access_control none on an address other machines reach."
    )
    tenant_name: str = Field("DEV", description="Tenant of requests in access mode none.")
    apim_public_key: str | None = Field(
        None,
        description="RSA public key for jwt: base64 of its DER form, one line, no armour.",
        json_schema_extra={"allowed": "the base64 of an RSA public key in DER form"},
    )
    user_role: str = Field(
        "Internal/abaco-user", description="Role that allows base use in mode jwt."
    )
    accept_nonce: bool = Field(
        False,
        description="Let x-nonce=<nonce> in the query stand in for a JWT. Whoever sees such a URL"
        " can use it.",
    )
    case: Literal["snake", "camel"] = Field(
        "snake", description="Spelling of keys in responses; requests may use either."
    )
    default_api_server: str = Field(
        "http://127.0.0.1:8000",
        description="Base URL shown in links and given to containers; by default with [web]"
        " port. Tenant form: {tenant}_api_server.",
    )
    id_salt: str = Field(
        DEFAULT_SALT, description="Salt of identifiers; never change it on a live instance."
    )
    default_token: str = Field(
        "false",
        description="What an actor's token attribute is when not sent. Tenant form:"
        " {tenant}_default_token.",
    )
    show_traceback: bool = Field(
        False, description="Put tracebacks into 500 responses (development only)."
    )
    modern_status: bool = Field(
        False, description="Answer 401 and 403 where the older Abaco answers 400."
    )
    max_content_length: int = Field(
        1_000_000, ge=1, description="Bytes of the largest request body; above it 413."
    )
    sync_timeout: int = Field(
        600, ge=1, description="Seconds a synchronous message waits before it answers 504."
    )
    log_ex: int = Field(
        43_200,
        ge=-1,
        description="Seconds an execution's log is kept when the actor says nothing; -1 for ever."
        " Tenant form: {tenant}_log_ex.",
    )
    log_ex_limit: int = Field(
        86_400,
        ge=-1,
        description="Most seconds an actor may ask its logs to be kept; -1 for no cap. Tenant"
        " form: {tenant}_log_ex_limit.",
    )
    max_log_length: int = Field(
        1_000_000, ge=1, description="Bytes of output stored per execution; the rest is counted."
    )

    @field_validator("apim_public_key")
    @classmethod
    def _check_public_key(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            key = load_der_public_key(base64.b64decode(text, validate=True))
        except (binascii.Error, UnsupportedAlgorithm) as error:
            raise ValueError(str(error)) from error
        if not isinstance(key, RSAPublicKey):
            raise ValueError(f"not RSA but {type(key).__name__}")
        return text

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        if self.access_control == "jwt" and self.apim_public_key is None:
            raise PydanticCustomError(
                "incomplete",
                "access_control jwt needs apim_public_key, the key that tokens are checked with",
                {"key": "apim_public_key", "because": "access_control"},
            )
        if self.access_control == "none" and not (self.allow_insecure or self.is_loopback):
            raise PydanticCustomError(
                "insecure",
                "with access_control none everybody who reaches this address may run"
                " containers here; use 127.0.0.1, or access_control jwt, or allow_insecure: true",
                {"key": "address", "because": "access_control"},
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return self.address == "localhost"


class RuntimeSettings(Section):
    """How executions run."""

    results_ttl: int = Field(3600, ge=1, description="Seconds an unread result is kept.")
    max_start_failures: int = Field(
        5,
        ge=0,
        description="Failed starts in a row that are retried; one more and the execution and the"
        " actor go to ERROR.",
    )
    start_backoff: float = Field(
        5.0, ge=0, description="Seconds between two tries to start a container."
    )
    max_attempts: int = Field(
        3, ge=1, description="Runs of one message when server or engine die in mid-run."
    )
    idle_grace: float = Field(
        5.0, ge=0, description="Idle seconds before a scaled worker is retired."
    )
    pull_policy: Literal["always", "if_not_present", "never"] = Field(
        "if_not_present", description="When images are pulled at a worker's start."
    )
    image_pull_timeout: int = Field(1800, ge=1, description="Seconds a pull may take.")
    max_parallel_pulls: int = Field(2, ge=1, description="Pulls at the same time.")
    stop_grace: int = Field(
        10, ge=0, description="Seconds between SIGTERM and SIGKILL when an execution is stopped."
    )
    shutdown_policy: Literal["detach", "drain"] = Field(
        "detach",
        description="On stop: detach leaves containers running to be adopted at the next start;"
        " drain waits for them first.",
    )
    shutdown_grace: int = Field(
        30, ge=0, description="Seconds drain waits; what still runs then is left as in detach."
    )


class Settings(Section):
    """All sections."""

    general: Annotated[GeneralSettings, Field(default_factory=GeneralSettings)]
    logs: Annotated[LogsSettings, Field(default_factory=LogsSettings)]
    store: Annotated[StoreSettings, Field(default_factory=StoreSettings)]
    engine: Annotated[EngineSettings, Field(default_factory=EngineSettings)]
    spawner: Annotated[SpawnerSettings, Field(default_factory=SpawnerSettings)]
    workers: Annotated[WorkersSettings, Field(default_factory=WorkersSettings)]
    web: Annotated[WebSettings, Field(default_factory=WebSettings)]
    runtime: Annotated[RuntimeSettings, Field(default_factory=RuntimeSettings)]

    @property
    def database_path(self) -> Path:
        """File of the embedded store."""
        return self.store.path or self.general.data_dir / "abaco.db"
