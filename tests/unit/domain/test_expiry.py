"""How long logs are kept."""

import pytest

from abaco.domain.expiry import log_lifetime_s


@pytest.mark.parametrize(
    ("asked", "default", "cap", "lifetime_s"),
    [
        # the actor says nothing: the default, which the cap does not touch
        (None, 43_200, 86_400, 43_200),
        (None, 100_000, 86_400, 100_000),
        (None, -1, 86_400, None),
        # the actor asks, the cap bounds
        (16_000, 43_200, 86_400, 16_000),
        (100_000, 43_200, 86_400, 86_400),
        (0, 43_200, 86_400, 0),
        # "for ever" on either side
        (-1, 43_200, 86_400, 86_400),
        (16_000, 43_200, -1, 16_000),
        (0, 43_200, -1, 0),
        (-1, 43_200, -1, None),
    ],
)
def test_lifetime(asked, default, cap, lifetime_s):
    assert log_lifetime_s(asked, default, cap) == lifetime_s
