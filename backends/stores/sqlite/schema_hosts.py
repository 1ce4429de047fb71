"""What actors have of the host."""

from __future__ import annotations

from collections.abc import Sequence

HOSTS: Sequence[str] = (
    "ALTER TABLE actors ADD COLUMN uid INTEGER",
    "ALTER TABLE actors ADD COLUMN gid INTEGER",
    "ALTER TABLE actors ADD COLUMN tasdir TEXT",
    "ALTER TABLE actors ADD COLUMN mounts TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE actors ADD COLUMN mount_bases TEXT NOT NULL DEFAULT '[]'",
)
