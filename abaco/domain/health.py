"""What the process says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """One supervised agent. ``age_s`` is seconds since its present run began."""

    name: str
    is_running: bool
    age_s: float
    restart_count: int = 0
    last_failure: str | None = None
    last_failure_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Whether one part the process needs (``store``, ``engine``) can be reached now."""

    name: str
    is_ok: bool
    detail: str
