"""The host's places for workers: who has them, who waits for one, who must hand one on.

Plain state without tasks or clock. Of the actors that wait, those with less than an equal share
are served first, each kind in the order they began to wait. A busy actor gives places away,
between two messages, while it has more than its share.
"""

from __future__ import annotations

from collections import Counter

from abaco.domain.actor import ActorKey
from abaco.domain.worker import WorkerKey


class Slots:
    """A fixed number of places.

    Args:
        count: Workers that may live at once on this host.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: set[WorkerKey] = set()
        #: how many places each actor has; invariant: counts of ``_held``
        self._by_actor: Counter[ActorKey] = Counter()
        #: actors with a worker to place and no place for it, longest wait first
        self._waiting: dict[ActorKey, None] = {}
        #: workers that were told to hand their place on and have not left yet
        self._leaving: set[WorkerKey] = set()
        #: no place is given any more
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._held)

    def available(self, actor: ActorKey) -> int:
        """Return how many places the actor may take now, after those whose turn is before."""
        if self.is_closed:
            return 0
        line = self.waiting()
        ahead = line.index(actor) if actor in self._waiting else len(line)
        return max(0, self._count - len(self._held) - ahead)

    def take(self, worker: WorkerKey) -> None:
        """Give a place to a worker."""
        self._held.add(worker)
        self._by_actor[worker.actor] += 1

    def give_back(self, worker: WorkerKey) -> None:
        """Take the place of a worker that has left. Idempotent."""
        self._leaving.discard(worker)
        if worker in self._held:
            self._held.remove(worker)
            self._by_actor[worker.actor] -= 1
            if not self._by_actor[worker.actor]:
                del self._by_actor[worker.actor]

    def wait(self, actor: ActorKey) -> None:
        """Note that the actor has a worker to place; it keeps its turn when it waits already."""
        self._waiting.setdefault(actor)

    def stop_waiting(self, actor: ActorKey) -> None:
        """Note that the actor has nothing to place any more."""
        self._waiting.pop(actor, None)

    def waiting(self) -> list[ActorKey]:
        """Return who waits: first those with less than their share, then by length of wait."""
        return sorted(self._waiting, key=self._has_share)

    def is_wanted(self, actor: ActorKey) -> bool:
        """Tell whether some other actor waits for a place that nobody is about to free."""
        others = len(self._waiting) - (actor in self._waiting)
        return others > len(self._leaving)

    def must_hand_on(self, worker: WorkerKey) -> bool:
        """Tell a worker between two messages whether to leave for another actor's sake.

        It must when others wait and its actor has more places than an equal share; no more
        workers are told so than actors wait. Who is told counts as leaving.
        """
        has_more = self._by_actor[worker.actor] > self._share()
        if worker not in self._leaving and has_more and self.is_wanted(worker.actor):
            self._leaving.add(worker)
        return worker in self._leaving

    def _has_share(self, actor: ActorKey) -> bool:
        return self._by_actor[actor] >= self._share()

    def _share(self) -> float:
        return self._count / max(1, len(self._by_actor.keys() | self._waiting.keys()))
