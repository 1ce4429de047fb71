"""When a webhook is asked again."""

from hypothesis import given
from hypothesis import strategies as st

from abaco.lifecycle.redelivery import MAX_PAUSE_S, OLD_S, RedeliveryPolicy

POLICY = RedeliveryPolicy(max_attempts=5, backoff_s=2.0)


def test_pauses_double_and_end():
    pauses = [POLICY.pause_s(made, 0.0, 1.0) for made in range(1, 7)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, None, None]


def test_chance_takes_away_up_to_half():
    assert POLICY.pause_s(1, 0.0, 0.0) == 1.0
    assert POLICY.pause_s(1, 0.0, 0.5) == 1.5


def test_an_old_event_is_sent_once():
    assert POLICY.pause_s(1, OLD_S - 1, 0.0) is not None
    assert POLICY.pause_s(1, OLD_S, 0.0) is None


def test_one_attempt_means_one():
    assert RedeliveryPolicy(max_attempts=1, backoff_s=2.0).pause_s(1, 0.0, 0.5) is None


@given(st.integers(1, 10**9), st.floats(0, 1), st.floats(0.01, 1000))
def test_no_pause_is_longer_than_the_limit(made, luck, backoff_s):
    pause_s = RedeliveryPolicy(max_attempts=10**10, backoff_s=backoff_s).pause_s(made, 0.0, luck)
    assert 0 < pause_s <= MAX_PAUSE_S
