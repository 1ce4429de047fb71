"""The columns of an actor's schedule."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from abaco.domain.cron import Cron
from abaco.domain.ids import ExecutionId
from backends.stores.rules import from_micros, to_micros

CRON_COLUMNS = (
    "cron_schedule", "cron_on", "cron_given_at", "cron_next_at", "cron_last_execution",
)  # fmt: skip


def cron_values(cron: Cron | None) -> Mapping[str, Any]:
    """Return the columns; all are null without a schedule."""
    if cron is None:
        return dict.fromkeys(CRON_COLUMNS)
    return {
        "cron_schedule": cron.schedule,
        "cron_on": int(cron.is_on),
        "cron_given_at": to_micros(cron.given_at),
        "cron_next_at": None if cron.next_at is None else to_micros(cron.next_at),
        "cron_last_execution": cron.last_execution,
    }


def to_cron(row: sqlite3.Row) -> Cron | None:
    """Read the schedule from an actor's row."""
    if row["cron_schedule"] is None:
        return None
    next_at, last = row["cron_next_at"], row["cron_last_execution"]
    return Cron(
        schedule=row["cron_schedule"],
        is_on=bool(row["cron_on"]),
        given_at=from_micros(row["cron_given_at"]),
        next_at=None if next_at is None else from_micros(next_at),
        last_execution=None if last is None else ExecutionId(last),
    )
