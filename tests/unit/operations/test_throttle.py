"""Rates of messages and places of followers."""

from dataclasses import replace

import pytest

from abaco.config import Settings
from abaco.domain.actor import ActorKey
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.rate import Rate
from abaco.errors import ThrottledError
from abaco.operations.quotas import Quotas
from abaco.operations.throttle import following, spend
from tests.support.records import SteppedClock


class Stopwatch(SteppedClock):
    """A clock of which the test turns the hand."""

    def __init__(self):
        super().__init__()
        self.at_s = 1000.0

    def monotonic(self):
        return self.at_s


@pytest.fixture
def clock():
    return Stopwatch()


@pytest.fixture
def make(services, clock):
    def with_settings(**web):
        return replace(services, clock=clock, settings=Settings(web=web), quotas=Quotas())

    return with_settings


def key(actor="a", tenant="DEV"):
    return ActorKey(Tenant(tenant), ActorId(actor))


def refusal(services, actor, count=1):
    with pytest.raises(ThrottledError) as caught:
        spend(services, actor, count)
    return caught.value


class TestSpend:
    def test_without_a_rate_nothing_is_limited_or_remembered(self, make):
        services = make()
        for _ in range(5000):
            spend(services, key(), 1000)
        assert len(services.quotas) == 0

    def test_an_actor_has_a_rate_of_its_own(self, make, clock):
        services = make(actor_message_rate=0.5, actor_message_burst=2)
        spend(services, key(), 2)
        error = refusal(services, key())
        assert error.retry_after_s == 2
        assert "web.actor_message_rate is 0.5 a second" in error.message
        spend(services, key("b"), 2)
        clock.at_s += error.retry_after_s
        spend(services, key(), 1)

    def test_a_tenant_has_one_for_all_its_actors(self, make):
        services = make(tenant_message_rate=1, tenant_message_burst=2)
        spend(services, key("a"), 1)
        spend(services, key("b"), 1)
        assert "web.tenant_message_rate is 1 a second" in refusal(services, key("c")).message
        spend(services, key("a", "OTHER"), 1)

    def test_what_is_refused_is_not_counted(self, make, clock):
        services = make(
            tenant_message_rate=1,
            tenant_message_burst=10,
            actor_message_rate=1,
            actor_message_burst=1,
        )
        spend(services, key(), 1)
        for _ in range(50):
            refusal(services, key())
        spend(services, key("b"), 1)
        clock.at_s += 1
        spend(services, key(), 1)

    def test_a_tenant_may_have_its_own_numbers(self, make):
        services = make(
            actor_message_rate=1,
            actor_message_burst=1,
            dev_actor_message_rate=2,
            dev_actor_message_burst=5,
        )
        spend(services, key(), 5)
        assert "is 2 a second" in refusal(services, key()).message
        spend(services, key(tenant="OTHER"), 1)
        assert "is 1 a second" in refusal(services, key(tenant="OTHER")).message

    def test_whole_seconds_never_less_than_one(self, make):
        services = make(actor_message_rate=1000, actor_message_burst=1)
        spend(services, key(), 1)
        assert refusal(services, key()).retry_after_s == 1


class TestMemory:
    def test_full_buckets_are_forgotten(self, make, clock):
        services = make(actor_message_rate=10, actor_message_burst=10)
        for number in range(5000):
            clock.at_s += 0.1
            spend(services, key(str(number)), 1)
        assert len(services.quotas) < 10

    def test_also_behind_one_that_stays_empty_for_long(self):
        quotas, slow, quick = Quotas(), Rate(0.001, 1), Rate(10, 10)
        quotas.draw(("slow",), slow, 0.0, 1)
        for number in range(1, 999):
            quotas.draw((str(number),), quick, number * 1.0, 1)
        assert len(quotas) < 10
        assert quotas.wait_s(("slow",), slow, 999.0, 1) == pytest.approx(1.0)
        assert quotas.wait_s(("slow",), slow, 1000.0, 1) == 0

    def test_what_is_not_full_is_kept(self):
        quotas, rate = Quotas(), Rate(1, 5)
        for number in range(100):
            quotas.draw((str(number),), rate, 0.0, 5)
        assert len(quotas) == 100
        assert all(quotas.wait_s((str(number),), rate, 0.0, 1) == 1 for number in range(100))


def test_places_of_followers_are_given_back(make):
    services = make(max_followers=2)
    with following(services):
        with following(services):
            with (
                pytest.raises(ThrottledError, match=r"web\.max_followers is 2"),
                following(services),
            ):
                pass
            assert services.quotas.follower_count == 2
        with pytest.raises(KeyError), following(services):
            raise KeyError
        assert services.quotas.follower_count == 1
    assert services.quotas.follower_count == 0
