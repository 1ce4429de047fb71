"""The host's places for workers: who has them, who waits for one, who must hand one on.

Plain state without tasks or clock. Every queue that this host serves has places of its own, so
that none can delay another. ``abaco.lifecycle.shares`` decides whose turn it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from abaco.domain.actor import ActorKey
from abaco.domain.ids import Tenant
from abaco.domain.worker import WorkerKey
from abaco.lifecycle.shares import Shares


class QueueSlots:
    """The places of one queue.

    Args:
        count: Workers that may live at once.
        weight_of: A tenant's weight.

    """

    def __init__(self, count: int, weight_of: Callable[[Tenant], int]) -> None:
        self.count = count
        self.shares = Shares(weight_of)
        self._held: set[WorkerKey] = set()
        #: workers that were told to hand their place on and have not left yet; they count as
        #: gone in ``shares``
        self._leaving: set[WorkerKey] = set()
        #: workers without a message, idle for the longest time first
        self._idle: dict[WorkerKey, None] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def free(self) -> int:
        """How many places nobody has."""
        return max(0, self.count - len(self._held))

    @property
    def waiting_count(self) -> int:
        """How many actors wait for a place."""
        return self.shares.waiting_count

    def take(self, worker: WorkerKey) -> None:
        """Give a place to a worker, be it one too many: an adopted one is there already."""
        self._held.add(worker)
        self.shares.take(worker.actor)

    def give_back(self, worker: WorkerKey) -> None:
        """Take the place of a worker that has left."""
        if worker not in self._leaving:
            self.shares.give_back(worker.actor)
        self._leaving.discard(worker)
        self._held.discard(worker)
        self._idle.pop(worker, None)

    def leave(self, worker: WorkerKey) -> None:
        """Note that a worker is on its way out, for the sake of others. Idempotent."""
        self._idle.pop(worker, None)
        if worker in self._held and worker not in self._leaving:
            self._leaving.add(worker)
            self.shares.give_back(worker.actor)

    def rest(self, worker: WorkerKey) -> None:
        """Note that a worker has nothing to do."""
        if worker not in self._leaving:
            self._idle.setdefault(worker)

    def work(self, worker: WorkerKey) -> None:
        """Note that a worker has a message."""
        self._idle.pop(worker, None)

    def longest_idle(self, but: ActorKey) -> WorkerKey | None:
        """Return the worker of another actor that has been idle the longest."""
        return next((worker for worker in self._idle if worker.actor != but), None)

    @property
    def is_short(self) -> bool:
        """Whether more actors wait than places are free or about to be."""
        return self.waiting_count > len(self._leaving) + self.free

    def is_wanted(self, actor: ActorKey) -> bool:
        """Tell whether some other actor waits for a place that nobody is about to free."""
        others = self.waiting_count - self.shares.is_waiting(actor)
        return others > len(self._leaving) + self.free

    def must_hand_on(self, worker: WorkerKey) -> bool:
        """Tell a worker between two messages whether to leave for another actor's sake.

        No more workers are told so than actors wait. Who is told counts as leaving.
        """
        if worker in self._leaving:
            return True
        if not self.is_wanted(worker.actor) or not self.shares.gives_way(worker.actor):
            return False
        self.leave(worker)
        return True


class Slots:
    """The places of all queues of this host.

    Args:
        counts: Places by queue; a queue that is not named is not served here.
        weight_of: A tenant's weight.

    """

    def __init__(
        self, counts: Mapping[str, int], weight_of: Callable[[Tenant], int] = lambda _: 1
    ) -> None:
        self.queues = {name: QueueSlots(count, weight_of) for name, count in counts.items()}
        #: where each worker has its place
        self._places: dict[WorkerKey, str] = {}
        #: where each actor waits that does
        self._lines: dict[ActorKey, str] = {}
        #: no place is given any more
        self.is_closed = False

    def serves(self, queue: str) -> bool:
        """Tell whether this host has workers for the queue."""
        return queue in self.queues

    def queue_of(self, worker: WorkerKey) -> str | None:
        """Return the queue in which the worker has its place."""
        return self._places.get(worker)

    def of(self, worker: WorkerKey) -> QueueSlots:
        """Return the places the worker has its own among."""
        return self.queues[self._places[worker]]

    def take(self, worker: WorkerKey, queue: str) -> None:
        """Give a place to a worker."""
        self._places[worker] = queue
        self.queues[queue].take(worker)

    def give_back(self, worker: WorkerKey) -> str | None:
        """Take the place of a worker that has left; say in which queue. Idempotent."""
        queue = self._places.pop(worker, None)
        if queue is not None:
            self.queues[queue].give_back(worker)
        return queue

    def wait(self, actor: ActorKey, queue: str) -> None:
        """Note that the actor has a worker to place; it keeps its turn when it waits already."""
        if self._lines.get(actor, queue) != queue:
            self.stop_waiting(actor)
        self._lines[actor] = queue
        self.queues[queue].shares.wait(actor)

    def stop_waiting(self, actor: ActorKey) -> None:
        """Note that the actor has nothing to place any more. Idempotent."""
        queue = self._lines.pop(actor, None)
        if queue is not None:
            self.queues[queue].shares.stop_waiting(actor)

    def is_waiting(self, actor: ActorKey) -> bool:
        """Tell whether the actor waits for a place."""
        return actor in self._lines

    def next_in(self, queue: str) -> ActorKey | None:
        """Return the actor that may take a place of the queue now; None when nobody may."""
        slots = self.queues[queue]
        return None if self.is_closed or not slots.free else slots.shares.first()
