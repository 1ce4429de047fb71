"""What every operation may use, built once by the composition root."""

from __future__ import annotations

from dataclasses import dataclass

from abaco.config import Settings
from abaco.ports.clock import Clock, IdSource
from abaco.ports.notices import Notices
from abaco.ports.store import Stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The ports and settings operations work with."""

    settings: Settings
    stores: Stores
    notices: Notices
    clock: Clock
    ids: IdSource
