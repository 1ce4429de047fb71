"""Times as text."""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(time: datetime) -> str:
    """Write a time as UTC, ISO 8601 with three decimals and ``Z``."""
    text = time.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
