"""Numbers about the whole instance in memory. What was deleted lives on in the days' counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.execution import ExecutionTotals
from abaco.domain.ids import Tenant
from abaco.domain.usage import ActorReport, DayUsage, Totals, Usage, WorkerCounts
from abaco.domain.worker import Worker
from abaco.ports.usage import UsageStore
from backends.stores import rules
from backends.stores.memory.state import Box, State, copy_actor


class MemoryUsage(UsageStore):
    """Sums made when they are asked for: this store is for trials."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def totals(self) -> Usage:
        """Return the sums over all actors."""
        state = self._state
        existing = [box for key, box in state.boxes.items() if key in state.actors]
        created = sum(day.actors for day in state.days.values())
        return Usage(
            ever=_totals(created, state.boxes.values()),
            existing=_totals(len(state.actors), existing),
        )

    async def list_days(self, *, limit: int) -> list[DayUsage]:
        """Return the latest days, the latest first."""
        days = sorted(self._state.days.values(), key=lambda each: each.day, reverse=True)
        return days[:limit]

    async def count_workers(self) -> WorkerCounts:
        """Return how many workers of each queue are in each status."""
        return Counter((worker.queue, worker.status) for worker in self._workers())

    async def count_served(self) -> int:
        """Return how many actors have workers."""
        return sum(bool(pool) for pool in self._state.workers.values())

    async def deepest(self, limit: int) -> Mapping[ActorKey, int]:
        """Return the actors with the longest queues."""
        queues = [(key, box.queued) for key, box in self._state.boxes.items() if box.queued]
        queues.sort(key=lambda each: (-each[1], each[0].id, each[0].tenant))
        return dict(queues[:limit])

    async def deepest_tenants(self, limit: int) -> Mapping[Tenant, int]:
        """Return the tenants with most queued messages."""
        sums: Counter[Tenant] = Counter()
        for key, box in self._state.boxes.items():
            sums[key.tenant] += box.queued
        queues = [(tenant, queued) for tenant, queued in sums.items() if queued]
        return dict(sorted(queues, key=lambda each: (-each[1], each[0]))[:limit])

    async def list_actors(
        self, *, after: Actor | None = None, limit: int = 1000
    ) -> list[ActorReport]:
        """Page the actors of all tenants by (create_time, id, tenant)."""
        actors = sorted(self._state.actors.values(), key=rules.age)
        later = [each for each in actors if after is None or rules.age(each) > rules.age(after)]
        return [self._report(actor) for actor in later[:limit]]

    async def list_workers(self, *, after: Worker | None = None, limit: int = 1000) -> list[Worker]:
        """Page all workers by (create_time, id)."""
        workers = sorted(self._workers(), key=_age)
        return [each for each in workers if after is None or _age(each) > _age(after)][:limit]

    def _workers(self) -> list[Worker]:
        return [worker for pool in self._state.workers.values() for worker in pool.values()]

    def _report(self, actor: Actor) -> ActorReport:
        bare = replace(
            actor, state=None, definition=replace(actor.definition, default_environment={})
        )
        box = self._state.find_box(actor.key)
        workers = self._state.workers.get(actor.key, {}).values()
        return ActorReport(
            actor=copy_actor(bare),
            workers=tuple(sorted(workers, key=_age)),
            queued=box.queued,
            totals=_sum([box]),
        )


def _age(worker: Worker) -> tuple[datetime, str, str, str]:
    return worker.create_time, worker.id, worker.actor_id, worker.tenant


def _totals(actors: int, boxes: Iterable[Box]) -> Totals:
    known = list(boxes)
    used = sum(box.count > 0 for box in known)
    return Totals(actors=actors, used_actors=used, executions=_sum(known))


def _sum(boxes: Iterable[Box]) -> ExecutionTotals:
    known = list(boxes)
    return ExecutionTotals(
        count=sum(box.count for box in known),
        cpu_ns=sum(box.cpu_ns for box in known),
        io_bytes=sum(box.io_bytes for box in known),
        runtime_s=sum(box.runtime_ms for box in known) // 1000,
    )
