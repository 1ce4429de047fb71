"""Who gets the next place for a worker: weighted round robin over tenants, then over actors.

Rules of this file: it counts places and keeps the line of actors that wait for one; it has no
clock, and every step costs the logarithm of how many wait.

* A tenant with no place comes before those with one. Among the others the one comes first that
  would have the least places for its weight with one more.
* Within a tenant, the actor with the fewest places comes first.
* Of equals, the one comes first that got or lost a place, or began to wait, the longest ago.
* A worker between two messages gives its place up when that makes the shares more equal, or turns
  the odd place round. To a tenant with no place at all it is given up after as many messages as
  the weight of the tenant that has it, even if the weights do not ask for it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

from abaco.domain.actor import ActorKey
from abaco.domain.ids import Tenant

K = TypeVar("K")
#: smaller comes first; the last number is different in every rank
Rank = tuple[int, float, int]


class Ranking(Generic[K]):
    """Keys in the order of ranks that change."""

    def __init__(self) -> None:
        self._ranks: dict[K, Rank] = {}
        #: holds every present rank, and old ones until they come up
        self._heap: list[tuple[Rank, K]] = []

    def __len__(self) -> int:
        return len(self._ranks)

    def __contains__(self, key: K) -> bool:
        return key in self._ranks

    def put(self, key: K, rank: Rank) -> None:
        """Set the rank of a new or present key."""
        self._ranks[key] = rank
        heapq.heappush(self._heap, (rank, key))
        if len(self._heap) > 2 * len(self._ranks) + 8:
            self._heap = [(rank, key) for key, rank in self._ranks.items()]
            heapq.heapify(self._heap)

    def drop(self, key: K) -> None:
        """Forget a key. Idempotent."""
        self._ranks.pop(key, None)

    def first(self) -> K | None:
        """Return the key that comes first; None when there is none."""
        while self._heap:
            rank, key = self._heap[0]
            if self._ranks.get(key) == rank:
                return key
            heapq.heappop(self._heap)
        return None


class Shares:
    """The places of one queue by actor, and the line for them.

    Args:
        weight_of: A tenant's weight, from 1.

    """

    def __init__(self, weight_of: Callable[[Tenant], int]) -> None:
        self._weight_of = weight_of
        #: places by actor, without entries of 0
        self._places: Counter[ActorKey] = Counter()
        #: invariant: sums of ``_places``
        self._tenant_places: Counter[Tenant] = Counter()
        self._tenants = Ranking[Tenant]()
        #: invariant: has exactly the tenants in ``_tenants``, none of them empty
        self._actors: dict[Tenant, Ranking[ActorKey]] = {}
        #: messages a tenant has run since it could have given a place to one with none
        self._turns: Counter[Tenant] = Counter()
        self._numbers = count()
        self._waiting_count = 0

    def check(self) -> None:
        """Assert the invariants; tests call it after each step."""
        sums: Counter[Tenant] = Counter()
        for actor, places in self._places.items():
            assert places > 0  # noqa: S101
            sums[actor.tenant] += places
        assert sums == self._tenant_places  # noqa: S101
        assert all(self._actors.values())  # noqa: S101
        assert self._waiting_count == sum(map(len, self._actors.values()))  # noqa: S101
        assert len(self._tenants) == len(self._actors)  # noqa: S101

    @property
    def waiting_count(self) -> int:
        """How many actors wait."""
        return self._waiting_count

    def is_waiting(self, actor: ActorKey) -> bool:
        """Tell whether the actor waits."""
        return actor in self._actors.get(actor.tenant, ())

    def places(self, actor: ActorKey) -> int:
        """Return how many places the actor has."""
        return self._places[actor]

    def take(self, actor: ActorKey) -> None:
        """Note that the actor has one place more. If it waits, it goes behind its equals."""
        self._move(actor, 1)

    def give_back(self, actor: ActorKey) -> None:
        """Note that the actor has one place less; it was served until now, so likewise."""
        self._move(actor, -1)

    def wait(self, actor: ActorKey) -> None:
        """Put the actor into the line, at the end of its equals. It keeps its place there."""
        if self.is_waiting(actor):
            return
        self._waiting_count += 1
        self._actors.setdefault(actor.tenant, Ranking())
        self._rank_actor(actor)
        if actor.tenant not in self._tenants:
            self._rank_tenant(actor.tenant)

    def stop_waiting(self, actor: ActorKey) -> None:
        """Take the actor out of the line. Idempotent."""
        if not self.is_waiting(actor):
            return
        self._waiting_count -= 1
        line = self._actors[actor.tenant]
        line.drop(actor)
        if not line:
            del self._actors[actor.tenant]
            self._tenants.drop(actor.tenant)

    def first(self) -> ActorKey | None:
        """Return the actor that gets the next place; None when nobody waits."""
        tenant = self._tenants.first()
        return None if tenant is None else self._actors[tenant].first()

    def gives_way(self, actor: ActorKey) -> bool:
        """Tell an actor between two messages whether to give one place to the first in line.

        Asked once for each message: a tenant's turns are counted here.
        """
        other = self.first()
        if other is None or other == actor:
            return False
        if other.tenant == actor.tenant:
            return self._places[actor] > self._places[other]
        own, others = self._tenant_places[actor.tenant], self._tenant_places[other.tenant]
        own_weight, weight = self._weight_of(actor.tenant), self._weight_of(other.tenant)
        if own * weight >= (others + 1) * own_weight:
            return True
        if others:
            return False
        self._turns[actor.tenant] += 1
        if self._turns[actor.tenant] < own_weight:
            return False
        del self._turns[actor.tenant]
        return True

    def _move(self, actor: ActorKey, step: int) -> None:
        _add(self._places, actor, step)
        _add(self._tenant_places, actor.tenant, step)
        if actor.tenant not in self._tenant_places:
            del self._turns[actor.tenant]
        if self.is_waiting(actor):
            self._rank_actor(actor)
        if actor.tenant in self._tenants:
            self._rank_tenant(actor.tenant)

    def _rank_actor(self, actor: ActorKey) -> None:
        rank = (self._places[actor], 0.0, next(self._numbers))
        self._actors[actor.tenant].put(actor, rank)

    def _rank_tenant(self, tenant: Tenant) -> None:
        places = self._tenant_places[tenant]
        load = (places + 1) / self._weight_of(tenant) if places else 0.0
        self._tenants.put(tenant, (min(places, 1), load, next(self._numbers)))


def _add(counter: Counter[K], key: K, step: int) -> None:
    counter[key] += step
    if not counter[key]:
        del counter[key]
