"""Numbers about the whole instance: what there is, and what there ever was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from abaco.domain.actor import DEFAULT_QUEUE, Actor
from abaco.domain.execution import ExecutionTotals
from abaco.domain.worker import Worker, WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over a set of actors.

    Attributes:
        actors: How many.
        used_actors: Those that were ever sent a message.
        executions: Of all of them together.

    """

    actors: int = 0
    used_actors: int = 0
    executions: ExecutionTotals = field(default_factory=ExecutionTotals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Sums over all actors there ever were, and over those that exist."""

    ever: Totals = field(default_factory=Totals)
    existing: Totals = field(default_factory=Totals)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUsage:
    """What was created on one day, UTC. A later delete takes nothing away."""

    day: date
    actors: int = 0
    workers: int = 0
    executions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorReport:
    """An actor as an operator sees it.

    Invariant: ``actor.state`` is None and ``actor.definition.default_environment`` is empty. They
    are the owner's, and may hold secrets.
    """

    actor: Actor
    workers: tuple[Worker, ...]
    queued: int
    totals: ExecutionTotals


#: workers by queue and status
WorkerCounts = Mapping[tuple[str, WorkerStatus], int]


def by_status(counts: WorkerCounts) -> dict[WorkerStatus, int]:
    """Add the queues up."""
    sums: Counter[WorkerStatus] = Counter()
    for (_, status), count in counts.items():
        sums[status] += count
    return dict(sums)


def backlog(counts: WorkerCounts, queue: str = DEFAULT_QUEUE) -> int:
    """Return how many wishes for a worker nobody has taken up yet in a queue."""
    return counts.get((queue, WorkerStatus.REQUESTED), 0)
