"""Cron schedules: when an actor gets a message without anybody sending one.

Two forms: ``<yyyy-mm-dd hh> + <number> <unit>`` of the older Abaco, and five cron fields. Both
make a grid of slots that depends on nothing but the schedule and when it was given, so whoever
computes the next slot gets the same one. All times are UTC.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from abaco.domain.crontab import FIELD, parse_crontab
from abaco.domain.ids import ExecutionId
from abaco.errors import InvalidInputError

#: longer texts are no schedule a person wrote
MAX_SCHEDULE_LENGTH = 255
#: more digits than that reach past the end of the calendar
MAX_NUMBER_DIGITS = 6

_HOUR = timedelta(hours=1)

_PARTS = re.compile(r"(\S+ \S+|[Nn]ow) \+ (\S+) (\S+)")
_START = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2}) ([0-9]{1,2})")
_NUMBER = re.compile(rf"0*[1-9][0-9]{{0,{MAX_NUMBER_DIGITS - 1}}}")
_UNIT = re.compile("(hour|day|week|month)s?")

_FORMS = (
    "neither '<yyyy-mm-dd hh> + <number> <unit>' in UTC (2030-1-31 8 + 1 month, now + 6 hours;"
    " units: hours, days, weeks, months) nor five cron fields, with a time zone before them if"
    " it is not UTC (CRON_TZ=Europe/Berlin 30 6 * * 1-5)"
)


class Unit(StrEnum):
    """What the steps of an interval are counted in."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


_STEPS = {Unit.HOUR: _HOUR, Unit.DAY: timedelta(days=1), Unit.WEEK: timedelta(weeks=1)}


class Schedule(Protocol):
    """A grid of slots."""

    @property
    def grain(self) -> timedelta:
        """A slot is late when it was not served within this time."""

    def first(self, now: datetime) -> datetime | None:
        """Return the slot a schedule given at this time begins with; None when none comes."""

    def next_after(self, time: datetime) -> datetime | None:
        """Return the first slot later than ``time``; None when none comes."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Slots at ``anchor + n * count`` units, n from 0.

    Every slot is computed from the anchor: a month that is too short takes its last day, and
    the one after it is not the earlier for that.
    """

    anchor: datetime
    count: int
    unit: Unit

    @property
    def grain(self) -> timedelta:
        """A slot lasts its hour."""
        return _HOUR

    def first(self, now: datetime) -> datetime | None:
        """Return the anchor; None when its hour is past."""
        return self.anchor if self.anchor >= hour_of(now) else None

    def next_after(self, time: datetime) -> datetime | None:
        """Return the first slot later than ``time``; None past the end of the calendar."""
        number = self._number_before(time)
        while (slot := self.slot(number)) is not None and slot <= time:
            number += 1
        return slot

    def slot(self, number: int) -> datetime | None:
        """Return slot ``number``, from 0; None past the end of the calendar."""
        step = _STEPS.get(self.unit)
        try:
            if step is not None:
                return self.anchor + number * self.count * step
            years, month = divmod(self.anchor.month - 1 + number * self.count, 12)
            year = self.anchor.year + years
            day = min(self.anchor.day, monthrange(year, month + 1)[1])
            return self.anchor.replace(year=year, month=month + 1, day=day)
        except (OverflowError, ValueError):
            return None

    def _number_before(self, time: datetime) -> int:
        """Return the number of a slot that is not later than ``time``, or 0; at most one short."""
        step = _STEPS.get(self.unit)
        if step is not None:
            return max(0, (time - self.anchor) // (self.count * step))
        months = (time.year - self.anchor.year) * 12 + time.month - self.anchor.month
        return max(0, months // self.count - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """An actor's schedule as stored."""

    #: as the client sent it
    schedule: str
    is_on: bool
    #: when it was given: what ``now`` stands for
    given_at: datetime
    #: the slot that is served next, or passed over when off; None when none comes any more
    next_at: datetime | None
    #: what the last served slot made
    last_execution: ExecutionId | None = None

    @property
    def grid(self) -> Schedule:
        """The slots.

        Raises:
            InvalidInputError: The machine has lost the schedule's time zone.

        """
        return parse_schedule(self.schedule, self.given_at)

    @property
    def next_text(self) -> str | None:
        """The next slot as the API shows it: ``Y-M-D H``, with five fields ``Y-M-D H:MM``."""
        if self.next_at is None:
            return None
        return slot_text(self.next_at, has_minutes=not is_interval(self.schedule))


@dataclass(frozen=True, slots=True)
class SetCron:
    """A change: this schedule from now on; None for none."""

    cron: Cron | None

    def apply(self, present: Cron | None) -> Cron | None:
        """Return what the change makes of a schedule. A new one follows the last execution."""
        if self.cron is None or present is None:
            return self.cron
        return replace(self.cron, last_execution=present.last_execution)


@dataclass(frozen=True, slots=True)
class SwitchCron:
    """A change: on or off, the slots as they are."""

    is_on: bool

    def apply(self, present: Cron | None) -> Cron | None:
        """Return what the change makes of a schedule."""
        return None if present is None else replace(present, is_on=self.is_on)


CronChange = SetCron | SwitchCron


def hour_of(time: datetime) -> datetime:
    """Return the beginning of the hour, UTC."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def slot_text(time: datetime, *, has_minutes: bool) -> str:
    """Write a slot without padding."""
    hour = f"{time.year}-{time.month}-{time.day} {time.hour}"
    return f"{hour}:{time.minute:02}" if has_minutes else hour


def begin(text: str, now: datetime, *, is_on: bool) -> Cron:
    """Start a schedule.

    Raises:
        InvalidInputError: It is none, or its time has passed; says why.

    """
    schedule = parse_schedule(text, now)
    first = schedule.first(now)
    if first is None and isinstance(schedule, Interval):
        raise _refusal(
            f"begins in the past; it is {slot_text(hour_of(now), has_minutes=False)} now (UTC)"
        )
    if first is None:
        raise _refusal("names a time that never comes")
    return Cron(schedule=text, is_on=is_on, given_at=now, next_at=first)


def parse_schedule(text: str, given_at: datetime) -> Schedule:
    """Read a schedule in either form.

    Args:
        text: As the client sent it; blanks and ``+`` are significant.
        given_at: What ``now`` stands for.

    Raises:
        InvalidInputError: It is none; says why and shows both forms.

    """
    if len(text) > MAX_SCHEDULE_LENGTH:
        raise _refusal(f"at most {MAX_SCHEDULE_LENGTH} characters")
    found: Schedule | None
    found = _parse_interval(text, given_at) if is_interval(text) else parse_crontab(text)
    if found is None:
        raise _refusal(_FORMS)
    return found


def is_interval(text: str) -> bool:
    """Tell the two forms apart."""
    return " + " in text


def _parse_interval(text: str, given_at: datetime) -> Interval | None:
    parts = _PARTS.fullmatch(text)
    if parts is None:
        return None
    start, number, unit = parts.groups()
    if not _NUMBER.fullmatch(number):
        raise _refusal(f"the number must be a whole one from 1 to {10**MAX_NUMBER_DIGITS - 1}")
    unit_parts = _UNIT.fullmatch(unit)
    if unit_parts is None:
        raise _refusal("the unit must be hours, days, weeks or months")
    return Interval(_parse_start(start, given_at), int(number), Unit(unit_parts[1]))


def _parse_start(text: str, given_at: datetime) -> datetime:
    if text in ("now", "Now"):
        return hour_of(given_at)
    parts = _START.fullmatch(text)
    if parts is None:
        raise _refusal(_FORMS)
    year, month, day, hour = map(int, parts.groups())
    try:
        return datetime(year, month, day, hour, tzinfo=UTC)
    except ValueError as error:
        raise _refusal(f"{text!r} is no date and hour: {error}") from error


def _refusal(text: str) -> InvalidInputError:
    return InvalidInputError(text, field=FIELD)
