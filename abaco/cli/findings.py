"""What a check of ``abaco doctor`` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from abaco.config import Settings


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; ``remedy`` is empty when nothing is to be done."""

    check: str
    level: Level
    what: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]
