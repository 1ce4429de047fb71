"""The step of the schema that brought cron schedules."""

from __future__ import annotations

CRON = (
    # a schedule is part of its actor; all of these are null without one
    "ALTER TABLE actors ADD COLUMN cron_schedule TEXT",
    "ALTER TABLE actors ADD COLUMN cron_on INTEGER",
    "ALTER TABLE actors ADD COLUMN cron_given_at INTEGER",
    "ALTER TABLE actors ADD COLUMN cron_next_at INTEGER",
    "ALTER TABLE actors ADD COLUMN cron_last_execution TEXT",
    "CREATE INDEX actors_due ON actors (cron_next_at, id, tenant)"
    " WHERE cron_next_at IS NOT NULL AND status <> 'SHUTTING_DOWN'",
)
