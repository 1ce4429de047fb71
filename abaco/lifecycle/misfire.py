"""What becomes of a slot of a cron schedule that has come, in time or late.

Rules, in this order:

1. A schedule that may not fire passes over every slot up to now, and stays on its grid.
2. ``one``: it fires once, however many slots have come; the next is the first after now.
3. ``all``: it fires for the slot; the next is the one after it, past or not.
4. ``skip``: it fires if the last slot that has come is not late; the next is the first after now.

The next slot is always later than the one decided about, so each is decided once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from abaco.domain.cron import Cron


class Misfire(StrEnum):
    """The words of ``[runtime] cron_misfire``."""

    ONE = "one"
    ALL = "all"
    SKIP = "skip"


class Overlap(StrEnum):
    """The words of ``[runtime] cron_overlap``."""

    QUEUE = "queue"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a message is due, and the next slot to wait for (None: none comes)."""

    fires: bool
    next_at: datetime | None


def judge(cron: Cron, now: datetime, misfire: Misfire, *, may_fire: bool) -> Verdict:
    """Decide about a schedule whose ``next_at`` has come.

    Raises:
        InvalidInputError: The machine has lost the schedule's time zone.

    """
    grid = cron.grid
    following = grid.next_after(now)
    if may_fire and misfire is Misfire.ALL and cron.next_at is not None:
        return Verdict(fires=True, next_at=grid.next_after(cron.next_at))
    fires = may_fire
    if misfire is Misfire.SKIP:
        latest = grid.next_after(now - grid.grain)
        fires = may_fire and latest is not None and latest <= now
    return Verdict(fires=fires, next_at=following)
