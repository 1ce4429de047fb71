"""Times as clients and engines write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

#: any prefix of a full time down to the year, each with or without a zone. What could be a month
#: or a zone is a month only when the rest then still fits: ``2000-05:00`` is a year.
_TIME = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)(?:T(?P<hour>\d\d)(?::(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?)?)?)?)?"
    r"(?P<zone>Z|(?P<sign>[+-])(?P<zone_hour>\d\d):?(?P<zone_minute>\d\d))?",
    re.ASCII,
)

#: parts of a key that make its values times. Source: interface of the older Abaco
_TIME_FIELDS = (
    "start_time",
    "message_received_time",
    "last_execution_time",
    "last_update_time",
    "StartedAt",
    "FinishedAt",
    "create_time",
    "last_health_check_time",
    "finish_time",
)


def is_time_key(key: str) -> bool:
    """Tell whether the values of a dotted key are times."""
    return any(name in key for name in _TIME_FIELDS)


def parse_time(text: str) -> datetime | None:
    """Read a time; missing parts are the earliest, a missing zone is UTC.

    Returns:
        Aware UTC, cut to microseconds; None when the text is no time.

    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    try:
        return datetime(
            int(match["year"]),
            int(match["month"] or 1),
            int(match["day"] or 1),
            int(match["hour"] or 0),
            int(match["minute"] or 0),
            int(match["second"] or 0),
            int(fraction),
            tzinfo=_zone(match),
        ).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day or zone, or before the first year
        return None


def _zone(match: re.Match[str]) -> timezone:
    if match["sign"] is None:
        return UTC
    minutes = int(match["zone_minute"])
    if minutes > 59:
        raise ValueError("an hour has 60 minutes")
    offset = timedelta(hours=int(match["zone_hour"]), minutes=minutes)
    return timezone(-offset if match["sign"] == "-" else offset)


def shown(time: datetime) -> datetime:
    """Cut a time to what a client is shown of it: milliseconds."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
