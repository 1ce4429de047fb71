"""Cron schedules: what is one, and where its slots are."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.cron import (
    MAX_SCHEDULE_LENGTH,
    Cron,
    Interval,
    SetCron,
    SwitchCron,
    Unit,
    begin,
    parse_schedule,
)
from abaco.domain.ids import ExecutionId
from abaco.errors import InvalidInputError

NOW = datetime(2024, 2, 29, 12, 34, 56, 789, tzinfo=UTC)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def refusal(text: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        begin(text, NOW, is_on=True)
    assert caught.value.field == "cron_schedule"
    return str(caught.value)


def slots(schedule: Interval, count: int) -> list[datetime | None]:
    return [schedule.slot(number) for number in range(count)]


class TestReading:
    @pytest.mark.parametrize(
        ("text", "first", "shown"),
        [
            ("2078-09-6 20 + 3 months", utc(2078, 9, 6, 20), "2078-9-6 20"),
            ("2024-02-29 12 + 1 hour", utc(2024, 2, 29, 12), "2024-2-29 12"),
            ("2024-2-29 13 + 10 hours", utc(2024, 2, 29, 13), "2024-2-29 13"),
            ("2024-03-01 00 + 1 day", utc(2024, 3, 1), "2024-3-1 0"),
            ("2024-03-01 0 + 2 days", utc(2024, 3, 1), "2024-3-1 0"),
            ("2024-12-31 23 + 1 week", utc(2024, 12, 31, 23), "2024-12-31 23"),
            ("now + 999999 weeks", utc(2024, 2, 29, 12), "2024-2-29 12"),
            ("Now + 007 month", utc(2024, 2, 29, 12), "2024-2-29 12"),
            ("30 6 * * 1-5", utc(2024, 3, 1, 6, 30), "2024-3-1 6:30"),
            ("5 13 * * *", utc(2024, 2, 29, 13, 5), "2024-2-29 13:05"),
            ("CRON_TZ=Europe/Berlin 30 6 * * *", utc(2024, 3, 1, 5, 30), "2024-3-1 5:30"),
            ("CRON_TZ=Etc/GMT+5 0 0 * * *", utc(2024, 3, 1, 5), "2024-3-1 5:00"),
            ("CRON_TZ=UTC\t0 0  1 JAN,jul sun", utc(2024, 7, 1), "2024-7-1 0:00"),
            ("*/20 * * * *", utc(2024, 2, 29, 12, 40), "2024-2-29 12:40"),
        ],
    )
    def test_a_schedule_begins_at_its_first_slot(
        self, text: str, first: datetime, shown: str
    ) -> None:
        cron = begin(text, NOW, is_on=False)
        assert (cron.schedule, cron.is_on, cron.given_at) == (text, False, NOW)
        assert cron.next_at == first
        assert cron.next_text == shown
        assert cron.grid == parse_schedule(text, NOW)

    @pytest.mark.parametrize(
        "text",
        [
            "nonsense",
            " ",
            "2078-09-06",
            "2078-09-06 20",
            "2078-09-06 20 3 hours",
            "2078-09-06 20+ 3 hours",
            "2078-09-06 20 +3 hours",
            "2078-09-06 20  + 3 hours",
            "2078-09-06 20 + 3  hours",
            " 2078-09-06 20 + 3 hours",
            "2078-09-06 20 + 3 hours ",
            "2078-09-06  20 + 3 hours",
            "2078/09/06 20 + 3 hours",
            "78-09-06 20 + 3 hours",
            "2078-009-06 20 + 3 hours",
            "2078-09-06 200 + 3 hours",
            "2078-09-06 -1 + 3 hours",
            "2078-09-06T20 + 3 hours",
            "٢٠٧٨-09-06 20 + 3 hours",
            "NOW + 3 hours",
            "now+ 3 hours",
            "now + 3",
            "now + 3 hours + 3 hours",
            "* * * *",
            "* * * * * *",
            "@daily",
            "R * * * *",
            "H * * * *",
            "0 0 L * *",
            "0 0 * * mon#2",
            "TZ=Europe/Berlin * * * * *",
            "CRON_TZ=Europe/Berlin",
            "CRON_TZ=Europe/Berlin now + 3",
        ],
    )
    def test_what_has_neither_shape_is_shown_both(self, text: str) -> None:
        said = refusal(text)
        assert "<yyyy-mm-dd hh> + <number> <unit>" in said
        assert "CRON_TZ=" in said

    @pytest.mark.parametrize("number", ["0", "-3", "1.5", "three", "1000000", "٣", "+3", "9" * 200])
    def test_the_number_is_a_positive_integer(self, number: str) -> None:
        assert "whole one from 1 to 999999" in refusal(f"now + {number} hours")

    @pytest.mark.parametrize("unit", ["years", "minute", "Hours", "hourss", "fortnights", "h"])
    def test_the_unit_is_one_of_four(self, unit: str) -> None:
        assert "hours, days, weeks or months" in refusal(f"2078-09-06 20 + 3 {unit}")

    @pytest.mark.parametrize(
        "start", ["2078-02-30 1", "2078-13-1 1", "2078-1-1 24", "0000-1-1 1", "2077-2-29 0"]
    )
    def test_the_date_exists(self, start: str) -> None:
        assert "is no date and hour" in refusal(f"{start} + 3 hours")

    @pytest.mark.parametrize("start", ["2024-02-29 11", "2024-2-28 23", "0001-01-01 0"])
    def test_a_past_hour_is_refused_with_the_present_one(self, start: str) -> None:
        assert "it is 2024-2-29 12 now (UTC)" in refusal(f"{start} + 3 hours")

    @pytest.mark.parametrize(
        "text", ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *",
                 "1- * * * *", "1,, * * * *", "5-1-2 * * * *", "sun * * * *", "* * * * monday"]
    )  # fmt: skip
    def test_five_fields_that_mean_nothing(self, text: str) -> None:
        assert "cron" in refusal(text)

    @pytest.mark.parametrize("text", ["0 0 31 2 *", "0 0 31 4,6,9,11 *"])
    def test_a_time_that_never_comes(self, text: str) -> None:
        assert "never comes" in refusal(text)

    @pytest.mark.parametrize(
        "zone",
        [
            "", "Nowhere", "Europe", "Europe/", "../../etc/passwd", "/etc/localtime",
            "Europe/Berlin/x", "zone.tab", "tzdata.zi", "leapseconds", "x" * 150,
        ],
    )  # fmt: skip
    def test_a_zone_nobody_knows(self, zone: str) -> None:
        assert "unknown time zone" in refusal(f"CRON_TZ={zone} 0 0 * * *")

    def test_long_texts_are_not_looked_at(self) -> None:
        assert "at most 255" in refusal("now + 1 hour" + "s" * MAX_SCHEDULE_LENGTH)

    @given(st.text(st.characters(codec="utf-8"), max_size=40) | st.text("0123456789*,/- +nowh"))
    def test_any_text_is_a_schedule_or_refused(self, text: str) -> None:
        cron, refused = None, None
        try:
            cron = begin(text, NOW, is_on=True)
        except InvalidInputError as error:
            refused = error
        if refused is not None:
            assert refused.field == "cron_schedule"
            assert len(str(refused)) < 500
        else:
            assert cron is not None
            assert cron.next_at is not None
            assert cron.next_at >= NOW.replace(minute=0, second=0, microsecond=0)


class TestInterval:
    def test_months_end_where_they_end_and_do_not_drift(self) -> None:
        schedule = Interval(utc(2024, 1, 31, 8), 1, Unit.MONTH)
        days = [slot.day for slot in slots(schedule, 13) if slot is not None]
        assert days == [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31]
        assert schedule.slot(12) == utc(2025, 1, 31, 8)
        assert schedule.slot(13) == utc(2025, 2, 28, 8)

    def test_leap_days(self) -> None:
        schedule = Interval(utc(2024, 2, 29, 0), 12, Unit.MONTH)
        assert slots(schedule, 5) == [
            utc(2024, 2, 29),
            utc(2025, 2, 28),
            utc(2026, 2, 28),
            utc(2027, 2, 28),
            utc(2028, 2, 29),
        ]

    @pytest.mark.parametrize(
        ("count", "unit", "second"),
        [
            (5, Unit.HOUR, utc(2024, 2, 29, 17)),
            (1, Unit.DAY, utc(2024, 3, 1, 12)),
            (2, Unit.WEEK, utc(2024, 3, 14, 12)),
            (11, Unit.MONTH, utc(2025, 1, 29, 12)),
        ],
    )
    def test_each_unit(self, count: int, unit: Unit, second: datetime) -> None:
        schedule = Interval(utc(2024, 2, 29, 12), count, unit)
        assert slots(schedule, 2) == [utc(2024, 2, 29, 12), second]

    @pytest.mark.parametrize("unit", list(Unit))
    def test_the_calendar_ends(self, unit: Unit) -> None:
        schedule = Interval(utc(9999, 12, 31, 23), 999_999, unit)
        assert schedule.next_after(utc(9999, 12, 1)) == utc(9999, 12, 31, 23)
        assert schedule.next_after(utc(9999, 12, 31, 23)) is None
        assert schedule.next_after(datetime.max.replace(tzinfo=UTC)) is None

    @given(
        st.datetimes(*(utc(year, 1, 1).replace(tzinfo=None) for year in (2020, 2200))),
        st.integers(1, 500),
        st.sampled_from(Unit),
        st.integers(0, 3000),
        st.timedeltas(timedelta(0), timedelta(days=400)),
    )
    def test_the_next_slot_is_the_first_one_later(
        self, start: datetime, count: int, unit: Unit, number: int, beyond: timedelta
    ) -> None:
        schedule = Interval(start.replace(tzinfo=UTC, minute=0, second=0), count, unit)
        near = schedule.slot(number)
        if near is None:
            return
        time = near + beyond
        following = schedule.next_after(time)
        assert following is None or following > time
        before = [slot for n in range(number + 600) if (slot := schedule.slot(n)) is not None]
        if before[-1] > time:
            assert following == next(slot for slot in before if slot > time)

    @given(st.integers(1, 60), st.integers(0, 400), st.integers(1, 31), st.integers(0, 23))
    def test_months_keep_the_day_where_there_is_one(
        self, count: int, number: int, day: int, hour: int
    ) -> None:
        slot = Interval(utc(2023, 12, day, hour), count, Unit.MONTH).slot(number)
        assert slot is not None
        assert slot.day == min(day, monthrange(slot.year, slot.month)[1])
        assert (slot.year - 2023) * 12 + slot.month - 12 == count * number
        assert (slot.hour, slot.minute) == (hour, 0)


class TestChanges:
    PRESENT = Cron(
        schedule="now + 1 hour",
        is_on=True,
        given_at=NOW,
        next_at=NOW,
        last_execution=ExecutionId("e1"),
    )

    def test_a_new_schedule_follows_the_last_execution(self) -> None:
        new = begin("* * * * *", NOW, is_on=True)
        changed = SetCron(new).apply(self.PRESENT)
        assert changed is not None
        assert (changed.schedule, changed.last_execution) == ("* * * * *", "e1")
        assert SetCron(new).apply(None) == new

    def test_none_clears(self) -> None:
        assert SetCron(None).apply(self.PRESENT) is None
        assert SetCron(None).apply(None) is None

    def test_a_switch_leaves_the_slots_alone(self) -> None:
        off = SwitchCron(False).apply(self.PRESENT)
        assert off is not None
        assert not off.is_on
        assert SwitchCron(True).apply(off) == self.PRESENT
        assert SwitchCron(True).apply(None) is None

    def test_a_schedule_that_has_ended_shows_no_slot(self) -> None:
        ended = Cron(schedule="now + 1 hour", is_on=True, given_at=NOW, next_at=None)
        assert ended.next_text is None
