"""When an image is pulled, and who may use one that is on the host."""

from __future__ import annotations

from datetime import timedelta

import pytest

from abaco.lifecycle.images import PullRule, Step, may_use
from tests.support.records import NOON, at


def decide(word: str, **facts: object) -> Step:
    given = {
        "is_here": True,
        "may_use": True,
        "is_forced": False,
        "pulled_at": None,
        "now": NOON,
        **facts,
    }
    return PullRule(word, 300.0).decide(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["always", "if_not_present", "max_age"])
@pytest.mark.parametrize("is_forced", [False, True])
def test_what_is_not_here_or_not_theirs_is_pulled(word: str, *, is_forced: bool) -> None:
    assert decide(word, is_here=False, may_use=False, is_forced=is_forced) is Step.PULL
    assert decide(word, may_use=False, is_forced=is_forced, pulled_at=NOON) is Step.PULL


@pytest.mark.parametrize("is_forced", [False, True])
def test_never_means_never(*, is_forced: bool) -> None:
    assert decide("never", is_here=False, is_forced=is_forced) is Step.MISSING
    assert decide("never", may_use=False, is_forced=is_forced) is Step.NOT_YOURS
    assert decide("never", is_forced=is_forced) is Step.USE


def test_what_is_here_will_do_unless_somebody_insists() -> None:
    assert decide("if_not_present") is Step.USE
    assert decide("if_not_present", is_forced=True) is Step.REFRESH
    assert decide("always", pulled_at=NOON) is Step.REFRESH


@pytest.mark.parametrize(
    ("age_s", "step"), [(0, Step.USE), (299.9, Step.USE), (300, Step.REFRESH), (9e9, Step.REFRESH)]
)
def test_a_pull_counts_for_a_while(age_s: float, step: Step) -> None:
    assert decide("max_age", pulled_at=NOON - timedelta(seconds=age_s)) is step


def test_what_was_never_pulled_is_of_no_age() -> None:
    assert decide("max_age") is Step.REFRESH
    assert decide("max_age", pulled_at=at(0), is_forced=True) is Step.REFRESH


@pytest.mark.parametrize(
    ("handed_to", "is_guarded", "may"),
    [
        ((), False, True),
        ((), True, False),
        (("one",), True, True),
        (("one",), False, True),
        (("other",), True, False),
        (("other",), False, False),
        (("other", "one"), True, True),
        (("other", "*"), True, True),
    ],
)
def test_a_registry_must_have_handed_it_out(
    handed_to: tuple[str, ...], *, is_guarded: bool, may: bool
) -> None:
    found = may_use("one", handed_to=handed_to, everybody="*", is_guarded=is_guarded)
    assert found is may
