"""The settings of Abaco: one frozen class per section of abaco.conf, one field per key.

The classes are the documentation: abaco.conf and the tables of ``abaco serve --show-config`` are
written from the descriptions and defaults here. ``abaco.config`` fills them from file,
environment and flags.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from abaco.domain.actor import DEFAULT_QUEUE
from abaco.settings.hosts import faults
from abaco.settings.identity import IdentitySettings
from abaco.settings.oauth import OauthSettings
from abaco.settings.process import EngineSettings, GeneralSettings, LogsSettings, StoreSettings
from abaco.settings.queues import share_out
from abaco.settings.registries import RegistrySettings
from abaco.settings.section import Section, fold_tenant
from abaco.settings.web import WebSettings
from abaco.settings.workers import RuntimeSettings, SpawnerSettings, WorkersSettings

__all__ = [
    "EngineSettings",
    "GeneralSettings",
    "IdentitySettings",
    "LogsSettings",
    "OauthSettings",
    "RegistrySettings",
    "RuntimeSettings",
    "Section",
    "Settings",
    "SpawnerSettings",
    "StoreSettings",
    "WebSettings",
    "WorkersSettings",
    "fold_tenant",
]


class Settings(Section):
    """All sections."""

    general: Annotated[GeneralSettings, Field(default_factory=GeneralSettings)]
    logs: Annotated[LogsSettings, Field(default_factory=LogsSettings)]
    store: Annotated[StoreSettings, Field(default_factory=StoreSettings)]
    engine: Annotated[EngineSettings, Field(default_factory=EngineSettings)]
    spawner: Annotated[SpawnerSettings, Field(default_factory=SpawnerSettings)]
    workers: Annotated[WorkersSettings, Field(default_factory=WorkersSettings)]
    identity: Annotated[IdentitySettings, Field(default_factory=IdentitySettings)]
    web: Annotated[WebSettings, Field(default_factory=WebSettings)]
    runtime: Annotated[RuntimeSettings, Field(default_factory=RuntimeSettings)]
    oauth: Annotated[OauthSettings, Field(default_factory=OauthSettings)]
    #: sections [registry:<host>], by host
    registries: dict[str, RegistrySettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_queues(self) -> Self:
        served, known = self.spawner.host_queues, self.web.all_queues
        own = self.spawner.queue_slots
        if unknown := [queue for queue in served if queue not in known]:
            raise _fault("host_queues", f"{', '.join(unknown)}: not in [web] all_queues")
        if DEFAULT_QUEUE not in served:
            raise _fault("host_queues", f"must contain {DEFAULT_QUEUE}")
        if unserved := [queue for queue in own if queue not in served]:
            raise _fault("queue_slots", f"{', '.join(unserved)}: not in host_queues")
        try:
            share_out(self.spawner.max_workers_per_host, served, own)
        except ValueError as error:
            raise _fault("max_workers_per_host", str(error)) from error
        return self

    @model_validator(mode="after")
    def _check_users(self) -> Self:
        for key, text in faults(self.workers.fixed_users(), self.workers.least_uid):
            raise _fault(key, text, section="workers")
        if self.workers.needs_accounting and self.identity.url is None:
            raise _fault("url", "needed to look owners up ([workers] use_tas_uid)", "identity")
        return self

    @model_validator(mode="after")
    def _check_registries(self) -> Self:
        for host, registry in self.registries.items():
            for account in registry.accounts():
                if account.fault:
                    raise _fault(
                        account.user_key,
                        account.fault,
                        section=f"registry:{host}",
                        because=account.password_key,
                    )
        return self

    @model_validator(mode="after")
    def _check_accounts(self) -> Self:
        if self.runtime.token_provider != "oauth_clients":  # noqa: S105 - a name, not a secret
            return self  # nobody reads them, and older environments may have more or less
        for key in self.oauth.halves():
            raise _fault(key, "a service account has a user and a password", section="oauth")
        return self

    @property
    def queue_places(self) -> dict[str, int]:
        """Workers each queue of this host may have at once."""
        spawner = self.spawner
        return share_out(spawner.max_workers_per_host, spawner.host_queues, spawner.queue_slots)

    @property
    def takes_run_tokens(self) -> bool:
        """Whether requests may prove themselves with the token an execution was given."""
        return self.runtime.token_provider == "local_jwt"  # noqa: S105 - a name, not a secret

    @property
    def database_path(self) -> Path:
        """File of the embedded store."""
        return self.store.path or self.general.data_dir / "abaco.db"


def _fault(key: str, text: str, section: str = "spawner", because: str = "") -> PydanticCustomError:
    """Name the key that a rule over several keys is broken by, and another that was written."""
    context = {"section": section, "key": key, "text": text, "because": because}
    return PydanticCustomError("rule", "{text}", context)
