"""A token bucket as one number, held against one that counts tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.rate import FULL, Rate

#: powers of two, so that sums of times are exact
RATES = st.sampled_from([0.25, 1.0, 4.0])
STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=60)


class Counting:
    """The bucket as textbooks have it; a draw above the burst leaves a debt."""

    def __init__(self, per_s, burst):
        self.per_s, self.burst, self.level, self.at_s = per_s, burst, float(burst), 0.0

    def fill(self, now_s):
        self.level = min(self.burst, self.level + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s

    def has(self, count):
        return self.level >= min(count, self.burst)


@given(per_s=RATES, burst=st.integers(1, 8), steps=STEPS)
def test_it_lets_through_what_a_counting_bucket_does(per_s, burst, steps):
    rate, counting, full_at_s, now_s = Rate(per_s, burst), Counting(per_s, burst), FULL, 0.0
    for quarters, count in steps:
        now_s += quarters / 4
        counting.fill(now_s)
        wait_s = rate.wait_s(full_at_s, now_s, count)
        assert (wait_s == 0) is counting.has(count)
        if wait_s == 0:
            full_at_s = rate.draw(full_at_s, now_s, count)
            counting.level -= count
        else:
            assert wait_s == (min(count, burst) - counting.level) / per_s


@given(per_s=RATES, burst=st.integers(1, 8), steps=STEPS)
def test_who_waits_as_told_is_let_through(per_s, burst, steps):
    rate, full_at_s, now_s, first_s, drawn = Rate(per_s, burst), FULL, 0.0, None, 0
    for quarters, count in steps:
        now_s += quarters / 4
        now_s += rate.wait_s(full_at_s, now_s, count)
        assert rate.wait_s(full_at_s, now_s, count) == 0
        full_at_s = rate.draw(full_at_s, now_s, count)
        first_s = now_s if first_s is None else first_s
        # what came before the last draw keeps to burst and rate
        assert drawn <= burst + 12 + (now_s - first_s) * per_s
        drawn += count


def test_a_burst_and_then_the_rate():
    rate, full_at_s = Rate(2.0, 3), FULL
    for _ in range(3):
        assert rate.wait_s(full_at_s, 10.0, 1) == 0
        full_at_s = rate.draw(full_at_s, 10.0, 1)
    assert rate.wait_s(full_at_s, 10.0, 1) == 0.5
    assert rate.wait_s(full_at_s, 10.5, 1) == 0
    assert rate.wait_s(full_at_s, 10.5, 2) == 0.5


def test_more_than_a_burst_needs_a_full_bucket_and_leaves_a_debt():
    rate = Rate(1.0, 2)
    assert rate.wait_s(FULL, 0.0, 100) == 0
    full_at_s = rate.draw(FULL, 0.0, 100)
    assert full_at_s == 100.0
    assert rate.wait_s(full_at_s, 0.0, 1) == pytest.approx(99.0)
