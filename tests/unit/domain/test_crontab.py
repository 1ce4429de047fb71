"""Five cron fields where clocks change, held against a walk through every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaco.domain.crontab import Crontab, parse_crontab

NEW_YORK = "America/New_York"
#: clocks go forward at 7:00 UTC (2:00 -> 3:00), back at 6:00 UTC (2:00 -> 1:00)
FORWARD, BACK = datetime(2024, 3, 10, tzinfo=UTC), datetime(2024, 11, 3, tzinfo=UTC)


def crontab(expression: str, zone: str = NEW_YORK) -> Crontab:
    found = parse_crontab(f"CRON_TZ={zone} {expression}")
    assert found is not None
    return found


def times(schedule: Crontab, day: datetime, hours: float = 24) -> list[str]:
    """The slots within hours from a midnight, UTC."""
    found, time = [], day - timedelta(microseconds=1)
    while (slot := schedule.next_after(time)) is not None and slot < day + timedelta(hours=hours):
        found.append(f"{slot:%H:%M}")
        time = slot
    return found


def test_a_chosen_hour_that_is_left_out_comes_when_clocks_are_forward() -> None:
    assert times(crontab("30 2 * * *"), FORWARD) == ["07:00"]
    assert times(crontab("30 2 * * *"), FORWARD + timedelta(days=1)) == ["06:30"]


def test_several_left_out_come_once() -> None:
    assert times(crontab("*/10 2 * * *"), FORWARD) == ["07:00"]
    assert times(crontab("50 1,2,3 * * *"), FORWARD) == ["06:50", "07:00", "07:50"]


def test_a_chosen_hour_that_comes_twice_has_its_slot_once() -> None:
    assert times(crontab("30 1 * * *"), BACK) == ["05:30"]
    assert times(crontab("0,30 0-2 * * *"), BACK) == [
        "04:00", "04:30", "05:00", "05:30", "07:00", "07:30",
    ]  # fmt: skip


def test_the_second_of_two_hours_is_no_new_chance() -> None:
    second = BACK + timedelta(hours=6, minutes=10)
    assert crontab("30 1 * * *").next_after(second) == BACK + timedelta(days=1, hours=6, minutes=30)


def test_every_hour_means_every_hour_that_passes() -> None:
    hourly = [f"{hour:02}:15" for hour in range(24)]
    assert times(crontab("15 * * * *"), FORWARD) == hourly
    assert times(crontab("15 * * * *"), BACK) == hourly


def test_every_second_hour_goes_by_the_clock_on_the_wall() -> None:
    # shown: 22 0 (2 is left out) 4 6
    assert times(crontab("0 */2 * * *"), FORWARD, 11) == ["01:00", "03:00", "05:00", "08:00",
                                                          "10:00"]  # fmt: skip


def test_a_zone_with_half_an_hour_of_summer() -> None:
    howe = "Australia/Lord_Howe"  # 2024-10-06 2:00 -> 2:30, at 15:30 UTC
    day = datetime(2024, 10, 5, tzinfo=UTC)
    assert times(crontab("15 2 * * *", howe), day) == ["15:30"]
    assert times(crontab("15 * * * *", howe), day)[14:17] == ["14:45", "16:15", "17:15"]


def test_a_whole_day_left_out() -> None:
    apia = crontab("0 12 30 12 *", "Pacific/Apia")  # 2011-12-30 did not take place
    assert apia.next_after(datetime(2011, 6, 1, tzinfo=UTC)) == datetime(
        2011, 12, 30, 10, tzinfo=UTC
    )


def test_the_calendar_ends() -> None:
    assert crontab("0 0 1 1 *").next_after(datetime(9999, 6, 1, tzinfo=UTC)) is None
    assert crontab("* * * * *").next_after(datetime.max.replace(tzinfo=UTC)) is None


def test_a_slot_lasts_its_minute() -> None:
    assert crontab("* * * * *").grain == timedelta(minutes=1)


def shown_minutes(zone: str, start: datetime, count: int) -> list[tuple[datetime, datetime]]:
    """Minutes with what the clocks show then."""
    moments = (start + timedelta(minutes=n) for n in range(count))
    return [(one, one.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for one in moments]


@pytest.mark.parametrize("day", [FORWARD, BACK], ids=["forward", "back"])
@settings(max_examples=60, deadline=None)
@given(
    minute=st.sampled_from(["*", "0", "30", "*/7", "5,55", "59"]),
    hour=st.sampled_from(["*", "*/2", "*/3", "*/5"]),
    start=st.integers(0, 600),
    seconds=st.integers(0, 59),
)
def test_star_hours_are_what_clocks_show(
    day: datetime, minute: str, hour: str, start: int, seconds: int
) -> None:
    """Every minute whose time on the wall matches is a slot, and no other is."""
    schedule = crontab(f"{minute} {hour} * * *")
    minutes = range(0, 60, int(minute[2:])) if "/" in minute else range(60)
    if minute[0] != "*":
        minutes = [int(part) for part in minute.split(",")]  # type: ignore[assignment]
    every = int(hour[2:]) if "/" in hour else 1
    time = day + timedelta(minutes=start, seconds=seconds)
    expected = next(
        moment
        for moment, shown in shown_minutes(NEW_YORK, day, 2000)
        if moment > time and shown.minute in minutes and shown.hour % every == 0
    )
    assert schedule.next_after(time) == expected


@pytest.mark.parametrize("day", [FORWARD, BACK], ids=["forward", "back"])
@settings(max_examples=60, deadline=None)
@given(
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.sets(st.integers(0, 4), min_size=1, max_size=3),
    start=st.integers(0, 600),
)
def test_chosen_hours_come_once_each_day(
    day: datetime, minutes: set[int], hours: set[int], start: int
) -> None:
    """Every chosen time is a slot at the first moment clocks show it or something later."""
    schedule = crontab(f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *")
    wanted = [
        (day + timedelta(days=days, hours=hour, minutes=minute)).replace(tzinfo=None)
        for days in range(-1, 3)
        for hour in hours
        for minute in minutes
    ]
    walk = shown_minutes(NEW_YORK, day - timedelta(days=2), 6 * 1440)
    moments = {next(moment for moment, shown in walk if shown >= wall) for wall in wanted}
    time = day + timedelta(minutes=start)
    assert schedule.next_after(time) == min(moment for moment in moments if moment > time)
