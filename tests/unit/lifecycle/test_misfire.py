"""What becomes of slots that have come, in time or late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.cron import Cron, begin
from abaco.errors import InvalidInputError
from abaco.lifecycle.misfire import Misfire, Verdict, judge

START = datetime(2024, 2, 29, 12, tzinfo=UTC)
HOURLY, EACH_MINUTE = "2024-02-29 12 + 1 hour", "* * * * *"


def a_schedule(text: str) -> Cron:
    """A schedule whose slot at noon was not served."""
    cron = begin(text, START - timedelta(seconds=1), is_on=True)
    assert cron.next_at == START
    return cron


def after(**past: float) -> datetime:
    return START + timedelta(**past)


@pytest.mark.parametrize("misfire", list(Misfire))
@pytest.mark.parametrize("late_s", [0, 0.2, 59.9])
@pytest.mark.parametrize(("text", "step"), [(HOURLY, 3600), (EACH_MINUTE, 60)])
def test_in_time_it_fires_whatever_the_policy(
    misfire: Misfire, late_s: float, text: str, step: int
) -> None:
    verdict = judge(a_schedule(text), after(seconds=late_s), misfire, may_fire=True)
    assert verdict == Verdict(fires=True, next_at=after(seconds=step))


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        (Misfire.ONE, Verdict(fires=True, next_at=after(hours=4))),
        (Misfire.ALL, Verdict(fires=True, next_at=after(hours=1))),
        # 15:00 has come and its hour is not over
        (Misfire.SKIP, Verdict(fires=True, next_at=after(hours=4))),
    ],
)
def test_several_missed_hours(misfire: Misfire, expected: Verdict) -> None:
    assert judge(a_schedule(HOURLY), after(hours=3.5), misfire, may_fire=True) == expected


@pytest.mark.parametrize(
    ("misfire", "fires"), [(Misfire.ONE, True), (Misfire.ALL, True), (Misfire.SKIP, False)]
)
def test_a_day_is_missed_when_its_hour_is_over(misfire: Misfire, fires: bool) -> None:
    daily = a_schedule("2024-02-29 12 + 1 day")
    verdict = judge(daily, after(hours=1), misfire, may_fire=True)
    assert verdict == Verdict(fires=fires, next_at=after(days=1))
    in_time = judge(daily, after(minutes=59, seconds=59), misfire, may_fire=True)
    assert in_time == Verdict(fires=True, next_at=after(days=1))


@pytest.mark.parametrize("misfire", list(Misfire))
def test_who_may_not_fire_passes_over_all_and_stays_on_the_grid(misfire: Misfire) -> None:
    verdict = judge(a_schedule(HOURLY), after(hours=3.5), misfire, may_fire=False)
    assert verdict == Verdict(fires=False, next_at=after(hours=4))


def test_the_last_slot_of_the_calendar() -> None:
    last = Cron(
        schedule="9999-12-31 23 + 1 hour",
        is_on=True,
        given_at=START,
        next_at=datetime(9999, 12, 31, 23, tzinfo=UTC),
    )
    now = datetime(9999, 12, 31, 23, 30, tzinfo=UTC)
    for misfire in Misfire:
        assert judge(last, now, misfire, may_fire=True) == Verdict(fires=True, next_at=None)


def test_a_zone_the_machine_has_lost_is_said() -> None:
    lost = Cron(schedule="CRON_TZ=Gone/Zone * * * * *", is_on=True, given_at=START, next_at=START)
    with pytest.raises(InvalidInputError, match="unknown time zone"):
        judge(lost, after(seconds=1), Misfire.ONE, may_fire=True)


@given(
    st.sampled_from([HOURLY, EACH_MINUTE, "now + 5 hours", "2024-2-29 12 + 1 month", "0 */7 * * *",
                     "CRON_TZ=Europe/Berlin 30 2 * * *"]),
    st.sampled_from(Misfire),
    st.timedeltas(timedelta(0), timedelta(days=90)),
    st.booleans(),
)  # fmt: skip
def test_every_verdict_moves_on_along_the_grid(
    text: str, misfire: Misfire, late: timedelta, may_fire: bool
) -> None:
    cron = begin(text, START, is_on=True)
    assert cron.next_at is not None
    now = cron.next_at + late
    verdict = judge(cron, now, misfire, may_fire=may_fire)
    assert verdict.next_at is not None
    assert verdict.next_at > cron.next_at
    before = verdict.next_at - timedelta(microseconds=1)
    assert cron.grid.next_after(before) == verdict.next_at
    if misfire is not Misfire.ALL or not may_fire:
        assert verdict.next_at > now
    assert verdict.fires <= may_fire
