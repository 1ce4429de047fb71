"""What a check of ``abaco doctor`` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from abaco.config import Settings
from abaco.errors import AbacoError


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


def failed(check: str, error: AbacoError, remedy: str) -> Finding:
    """Say that something cannot work."""
    return Finding(check=check, level=Level.ERROR, what=error.message, remedy=remedy)


Check = Callable[[Settings], Iterator[Finding]]
