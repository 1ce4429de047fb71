"""Five-field cron expressions in a time zone, also where clocks are set forward or back.

The rules of cron(8): where the hour field is ``*`` or ``*/n``, slots follow the clock on the wall
minute by minute, so none falls into an hour that is left out, and an hour that comes twice has
them twice. Any other expression names hours a person chose: a slot in an hour that is left out
comes when the clocks have been set forward, and one in an hour that comes twice comes once.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError

from abaco.errors import InvalidInputError

FIELD = "cron_schedule"
FIELD_COUNT = 5

_ZONE_PREFIX = "CRON_TZ="
_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
#: numbers, ranges, lists, steps and names; what else the library knows is not cron's
_NAMES = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat"
_CRON_FIELD = re.compile(rf"(?:[0-9*,/-]|{_NAMES})+", re.IGNORECASE)

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Crontab:
    """Slots wherever the clocks of a zone show what an expression asks for."""

    expression: str
    zone: tzinfo

    @property
    def grain(self) -> timedelta:
        """A slot lasts its minute."""
        return _MINUTE

    def first(self, now: datetime) -> datetime | None:
        """Return the slot a schedule given at this time begins with; None when none comes."""
        return self.next_after(now)

    def next_after(self, time: datetime) -> datetime | None:
        """Return the first slot later than ``time``; None when none comes."""
        folds = (0, 1) if self._is_hourly else (0,)
        try:
            return min((self._next(time, fold) for fold in folds), default=None)
        # the library found none in many years, or came to the end of the calendar
        except (ValueError, OverflowError):
            return None

    @property
    def _is_hourly(self) -> bool:
        return self.expression.split()[1].startswith("*")

    def _next(self, time: datetime, fold: int) -> datetime:
        """Return the next slot, taking of an hour that comes twice the first or second (``fold``).

        Walks what the clocks show, which is in the order of the moments, and skips what is past.
        """
        shown = time.astimezone(self.zone)
        if fold:  # a walk through the second of two hours begins before it, not after the first
            later = shown.replace(fold=1).utcoffset() or timedelta()
            shown = time.astimezone(timezone(later))
        walk = croniter(self.expression, shown.replace(second=0, microsecond=0, tzinfo=None))
        while True:
            wall: datetime = walk.get_next(datetime)
            moment = self._moment(wall, fold)
            if moment is not None and moment > time:
                return moment

    def _moment(self, wall: datetime, fold: int) -> datetime | None:
        moment = wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
        if moment.astimezone(self.zone).replace(tzinfo=None) == wall:
            return moment
        return None if self._is_hourly else self._end_of_gap(wall)

    def _end_of_gap(self, wall: datetime) -> datetime:
        """Return the moment clocks were set forward past ``wall``."""
        before, after = (
            wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (1, 0)
        )
        offset = before.astimezone(self.zone).utcoffset()
        minutes = bisect_left(
            range((after - before) // _MINUTE),
            True,
            key=lambda count: (
                (before + count * _MINUTE).astimezone(self.zone).utcoffset() != offset
            ),
        )
        return before + minutes * _MINUTE


def parse_crontab(text: str) -> Crontab | None:
    """Read ``[CRON_TZ=Area/City ]minute hour day month weekday``; None when it has no such shape.

    Raises:
        InvalidInputError: It has the shape and means nothing; says why.

    """
    words = text.split()
    zone: tzinfo = UTC
    if words and words[0].startswith(_ZONE_PREFIX):
        zone = _find_zone(words.pop(0).removeprefix(_ZONE_PREFIX))
    if len(words) != FIELD_COUNT or not all(_CRON_FIELD.fullmatch(word) for word in words):
        return None
    expression = " ".join(words)
    try:
        croniter.expand(expression)
    except CroniterError as error:
        raise InvalidInputError(f"no cron expression: {error}", field=FIELD) from error
    return Crontab(expression, zone)


def _find_zone(name: str) -> tzinfo:
    try:
        if _ZONE_NAME.fullmatch(name):
            return ZoneInfo(name)
    # a name of a directory, of a file that is no zone, or of nothing
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise InvalidInputError(
        f"unknown time zone {name[:50]!r}; CRON_TZ takes names like Europe/Berlin", field=FIELD
    )
