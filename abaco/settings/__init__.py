"""The settings of Abaco: one frozen class per section of abaco.conf, one field per key.

The classes are the documentation: abaco.conf and the tables of ``abaco serve --show-config`` are
written from the descriptions and defaults here. ``abaco.config`` fills them from file,
environment and flags.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from abaco.settings.process import EngineSettings, GeneralSettings, LogsSettings, StoreSettings
from abaco.settings.section import Section, fold_tenant
from abaco.settings.web import WebSettings
from abaco.settings.workers import RuntimeSettings, SpawnerSettings, WorkersSettings

__all__ = [
    "EngineSettings",
    "GeneralSettings",
    "LogsSettings",
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
    web: Annotated[WebSettings, Field(default_factory=WebSettings)]
    runtime: Annotated[RuntimeSettings, Field(default_factory=RuntimeSettings)]

    @property
    def database_path(self) -> Path:
        """File of the embedded store."""
        return self.store.path or self.general.data_dir / "abaco.db"
