"""Shares of a queue's places: the order of the line, and bounds on share and waiting.

The bounds are shown on a host played in virtual time: places, actors with messages of given
lengths, and nothing else. Who ends a message asks whether to give way, as workers do.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.actor import ActorKey
from abaco.domain.ids import ActorId, Tenant
from abaco.lifecycle.shares import Ranking, Shares


def actor(tenant: str, name: str = "a") -> ActorKey:
    return ActorKey(Tenant(tenant), ActorId(name))


A, A2, B, C = actor("A"), actor("A", "b"), actor("B"), actor("C")


def some_shares(**weights: int) -> Shares:
    return Shares(lambda tenant: weights.get(tenant, 1))


def holding(places: Mapping[ActorKey, int], **weights: int) -> Shares:
    shares = some_shares(**weights)
    for key, number in places.items():
        for _ in range(number):
            shares.take(key)
    return shares


def line(shares: Shares) -> list[ActorKey]:
    """Empty the line from its head."""
    order = []
    while (key := shares.first()) is not None:
        order.append(key)
        shares.stop_waiting(key)
    return order


class TestRanking:
    def test_the_smallest_comes_first(self) -> None:
        ranking = Ranking[str]()
        assert ranking.first() is None
        ranking.put("x", (2, 0.0, 1))
        ranking.put("y", (1, 0.5, 2))
        assert ranking.first() == "y"
        ranking.put("y", (3, 0.0, 2))
        assert ranking.first() == "x"
        ranking.drop("x")
        ranking.drop("x")
        assert (ranking.first(), len(ranking), "x" in ranking) == ("y", 1, False)

    def test_old_ranks_do_not_pile_up(self) -> None:
        ranking = Ranking[str]()
        for number in range(10_000):
            ranking.put("x", (number, 0.0, number))
            ranking.put("y", (number, 0.0, -1 - number))
        assert len(ranking._heap) < 20
        assert ranking.first() == "y"


class TestLine:
    def test_nobody_waits(self) -> None:
        shares = holding({A: 1})
        assert shares.first() is None
        assert not shares.gives_way(A)
        shares.stop_waiting(A)

    def test_first_come_first_served(self) -> None:
        shares = some_shares()
        for key in (B, C, A, B):
            shares.wait(key)
        shares.check()
        assert shares.waiting_count == 3
        assert line(shares) == [B, C, A]

    def test_who_is_served_goes_to_the_end_of_its_equals(self) -> None:
        shares = holding({B: 1, C: 1})
        for key in (A, B, C):
            shares.wait(key)
        shares.take(A)
        assert line(shares) == [B, C, A]

    def test_who_gives_a_place_up_goes_behind_its_equals_too(self) -> None:
        shares = holding({A: 2, B: 1})
        shares.wait(A)
        shares.wait(B)
        shares.give_back(A)
        assert line(shares) == [B, A]

    def test_tenants_before_actors(self) -> None:
        shares = holding({A: 3, B: 1})
        shares.wait(A2)  # has none, but its tenant has most
        shares.wait(B)
        shares.wait(A)
        assert line(shares) == [B, A2, A]

    def test_who_has_none_comes_first_whatever_the_weights(self) -> None:
        shares = holding({A: 5}, A=1000)
        shares.wait(A)
        shares.wait(B)
        assert shares.first() == B

    def test_weights_count_once_everybody_has_a_place(self) -> None:
        shares = holding({A: 2, B: 1}, A=4)
        shares.wait(B)
        shares.wait(A)
        assert line(shares) == [A, B]

    def test_one_place_less_than_none_cannot_be(self) -> None:
        shares = holding({A: 1})
        shares.give_back(A)
        shares.check()
        assert shares.places(A) == 0


class TestGivingWay:
    def test_not_to_oneself(self) -> None:
        shares = holding({A: 5})
        shares.wait(A)
        assert not shares.gives_way(A)

    def test_between_actors_of_a_tenant_until_they_are_equal(self) -> None:
        shares = holding({A: 2, A2: 1})
        shares.wait(A2)
        assert shares.gives_way(A)
        shares.give_back(A)
        assert not shares.gives_way(A)

    @pytest.mark.parametrize(
        ("own", "others", "own_weight", "weight", "gives"),
        [
            (1, 0, 1, 1, True),  # the only place goes round
            (10, 9, 1, 1, True),
            (10, 10, 1, 1, False),
            (11, 10, 1, 1, True),  # the odd place goes round
            (15, 5, 3, 1, False),
            (18, 5, 3, 1, True),
            (14, 5, 3, 1, False),
            (5, 14, 1, 3, True),
            (5, 15, 1, 3, False),
        ],
    )
    def test_between_tenants_by_weight(
        self, own: int, others: int, own_weight: int, weight: int, gives: bool
    ) -> None:
        shares = holding({A: own, B: others}, A=own_weight, B=weight)
        shares.wait(B)
        assert shares.gives_way(A) is gives

    def test_to_who_has_none_after_as_many_messages_as_one_weighs(self) -> None:
        shares = holding({A: 1}, A=3)
        shares.wait(B)
        assert [shares.gives_way(A) for _ in range(6)] == [False, False, True] * 2

    def test_turns_are_forgotten_with_the_last_place(self) -> None:
        shares = holding({A: 1}, A=3)
        shares.wait(B)
        assert not shares.gives_way(A)
        assert not shares.gives_way(A)
        shares.give_back(A)
        shares.take(A)
        assert not shares.gives_way(A)


class Host:
    """Places, and actors with messages, in virtual time."""

    def __init__(self, places: int, **weights: int) -> None:
        self.shares = some_shares(**weights)
        self.free = places
        self.now = 0.0
        self.queued: Counter[ActorKey] = Counter()
        self.length: Callable[[ActorKey], float] = lambda _: 1.0
        self._ends: list[tuple[float, int, ActorKey]] = []
        self._numbers = count()
        #: seconds of places by tenant, and when an actor first had one
        self.used: defaultdict[Tenant, float] = defaultdict(float)
        self.first_place: dict[ActorKey, float] = {}

    def post(self, key: ActorKey, messages: int) -> None:
        self.queued[key] += messages
        self.shares.wait(key)
        self._fill()

    def _fill(self) -> None:
        while self.free and (key := self.shares.first()) is not None:
            if not self.queued[key]:
                self.shares.stop_waiting(key)
                continue
            self.free -= 1
            self.shares.take(key)
            self.first_place.setdefault(key, self.now)
            self._run(key)

    def _run(self, key: ActorKey) -> None:
        self.queued[key] -= 1
        if not self.queued[key]:
            self.shares.stop_waiting(key)
        length = self.length(key)
        self.used[key.tenant] += length
        heapq.heappush(self._ends, (self.now + length, next(self._numbers), key))

    def run_until(self, time: float) -> None:
        while self._ends and self._ends[0][0] <= time:
            self.now, _, key = heapq.heappop(self._ends)
            if self.queued[key] and not self.shares.gives_way(key):
                self._run(key)
                continue
            self.shares.give_back(key)
            self.free += 1
            self._fill()
            self.shares.check()
        self.now = time

    def tenant_places(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for _, _, key in self._ends:
            counts[key.tenant] += 1
        return counts


MANY = 10**6


def test_a_hundred_busy_actors_do_not_starve_one() -> None:
    """The newcomer waits for the end of one message, and has its half after one round."""
    host = Host(20)
    for number in range(100):
        host.post(actor("big", str(number)), MANY)
    host.run_until(10.5)
    host.post(actor("small"), MANY)
    host.run_until(11.0)
    assert host.first_place[actor("small")] == 11.0
    host.run_until(30.0)
    assert host.tenant_places() == {"big": 10, "small": 10}


def test_a_deep_mailbox_does_not_take_every_place() -> None:
    host = Host(20)
    host.post(actor("T", "deep"), MANY)
    host.run_until(5.5)
    for number in range(9):
        host.post(actor("T", str(number)), MANY)
    host.run_until(30)
    places = Counter(key for _, _, key in host._ends)
    assert set(places.values()) == {2}


@pytest.mark.parametrize("places", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (1, 1, 1), (5, 2, 1)])
def test_places_are_used_as_the_weights_say(places: int, weights: tuple[int, ...]) -> None:
    """Within one place each, when there are enough; nobody starves when there are not."""
    names = "ABC"[: len(weights)]
    host = Host(places, **dict(zip(names, weights, strict=True)))
    for name in names:
        host.post(actor(name), MANY)
    host.run_until(1000)
    start = dict(host.used)
    host.run_until(3000)
    total = sum(weights)
    for name, weight in zip(names, weights, strict=True):
        used = (host.used[Tenant(name)] - start[Tenant(name)]) / 2000
        fair = places * weight / total
        assert used >= min(1, fair) * 0.5, f"{name} got {used} of {places}"
        assert abs(used - fair) <= 1.0


def test_one_place_is_shared_in_turns_by_weight() -> None:
    host = Host(1, A=3)
    host.post(A, MANY)
    host.post(B, MANY)
    host.run_until(4000)
    assert host.used[Tenant("A")] == pytest.approx(3 * host.used[Tenant("B")], rel=0.01)


def test_long_runs_get_no_more_places_than_short_ones() -> None:
    host = Host(10)
    host.length = lambda key: 50.0 if key.tenant == "A" else 0.1
    host.post(A, MANY)
    host.run_until(1)
    host.post(B, MANY)
    host.run_until(51)
    assert host.first_place[B] == 50.0
    host.run_until(5000)
    assert host.tenant_places() == {"A": 5, "B": 5}


LOADS = st.lists(
    st.tuples(
        st.sampled_from("ABCD"),
        st.sampled_from("xyz"),
        st.integers(1, 40),
        st.floats(0, 30),
        st.sampled_from([0.5, 1.0, 3.0]),
    ),
    min_size=1,
    max_size=12,
)


@given(loads=LOADS, places=st.integers(1, 6), weight=st.integers(1, 5))
def test_every_message_runs_and_no_place_idles_while_one_waits(
    loads: list[tuple[str, str, int, float, float]], places: int, weight: int
) -> None:
    host = Host(places, A=weight)
    lengths = {}
    total = 0.0
    for tenant, name, messages, at, length in sorted(loads, key=lambda load: load[3]):
        host.run_until(at)
        key = actor(tenant, name)
        lengths[key] = length
        host.length = lambda key: lengths[key]
        host.post(key, messages)
        total += messages
        waits = any(host.queued.values())
        assert not (waits and host.free)
    host.run_until(10_000)
    assert not any(host.queued.values())
    assert host.free == places
    assert host.shares.waiting_count == 0


@given(tenants=st.integers(2, 6), places=st.integers(1, 8), length=st.sampled_from([0.5, 1.0, 2.0]))
def test_the_wait_for_the_first_place_is_bounded(tenants: int, places: int, length: float) -> None:
    """A tenant that comes to a full host waits for one message, behind those who came before.

    With more tenants than places they take turns: one message each.
    """
    host = Host(places)
    host.length = lambda _: length
    host.post(actor("big"), MANY)
    host.run_until(10)
    for number in range(tenants):
        host.post(actor(f"T{number}"), MANY)
    host.run_until(100)
    for number in range(tenants):
        waited = host.first_place[actor(f"T{number}")] - 10
        assert waited <= length * (1 + number // places) + 1e-9
