"""What the process says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """One supervised agent.

    Attributes:
        age_s: Seconds since its present run began.
        is_lasting: Whether it runs as long as the process; others end by themselves.

    """

    name: str
    is_running: bool
    age_s: float
    restart_count: int = 0
    last_failure: str | None = None
    last_failure_time: datetime | None = None
    is_lasting: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Whether one part the process needs (``store``, ``engine``) can be reached now."""

    name: str
    is_ok: bool
    detail: str
