"""Numbers and lists about the whole instance, all tenants together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.usage import ActorReport, DayUsage, Usage, backlog, by_status
from abaco.domain.worker import Worker, WorkerStatus
from abaco.operations.services import Services

#: actors read at once; each comes with its workers
_ACTORS_PAGE = 200
#: workers read at once
_WORKERS_PAGE = 1000
#: days the dashboard shows
_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilization:
    """How much of everything there is; ``total_actors`` ever were."""

    current_actors: int
    total_actors: int
    workers: int
    command_queue: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerListing:
    """All workers, oldest first in ``pages``, and counts of them.

    Attributes:
        idle_actors: Actors without any worker.

    """

    counts: Mapping[WorkerStatus, int]
    idle_actors: int
    pages: AsyncGenerator[list[Worker], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the dashboard shows: numbers, and one page of actors."""

    utilization: Utilization
    usage: Usage
    days: list[DayUsage]
    reports: list[ActorReport]
    is_last: bool


async def utilization(services: Services) -> Utilization:
    """Return the numbers that are kept up."""
    usage = await services.stores.usage.totals()
    workers = await services.stores.usage.count_workers()
    return Utilization(
        current_actors=usage.existing.actors,
        total_actors=usage.ever.actors,
        workers=sum(workers.values()),
        command_queue=backlog(workers),
    )


async def totals(services: Services) -> Usage:
    """Return the sums over all actors."""
    return await services.stores.usage.totals()


async def iter_actors(services: Services) -> AsyncGenerator[list[ActorReport], None]:
    """Yield all actors of all tenants in pages, oldest first."""
    after: Actor | None = None
    while True:
        page = await services.stores.usage.list_actors(after=after, limit=_ACTORS_PAGE)
        yield page
        if len(page) < _ACTORS_PAGE:
            return
        after = page[-1].actor


async def list_workers(services: Services) -> WorkerListing:
    """Return all workers of all tenants; they are read page by page as ``pages`` is."""
    usage = services.stores.usage
    served = await usage.count_served()
    return WorkerListing(
        counts=by_status(await usage.count_workers()),
        # the two numbers are of two moments
        idle_actors=max(0, (await usage.totals()).existing.actors - served),
        pages=_iter_workers(services),
    )


async def _iter_workers(services: Services) -> AsyncGenerator[list[Worker], None]:
    after: Worker | None = None
    while True:
        page = await services.stores.usage.list_workers(after=after, limit=_WORKERS_PAGE)
        yield page
        if len(page) < _WORKERS_PAGE:
            return
        after = page[-1]


async def overview(services: Services, after: ActorKey | None) -> Overview:
    """Return the numbers and the actors that come after one, or the first ones.

    Raises:
        NotFoundError: The actor to begin after is gone.

    """
    place = None if after is None else await services.stores.actors.get(after)
    reports = await services.stores.usage.list_actors(after=place, limit=_ACTORS_PAGE)
    return Overview(
        utilization=await utilization(services),
        usage=await services.stores.usage.totals(),
        days=await services.stores.usage.list_days(limit=_DAYS),
        reports=reports,
        is_last=len(reports) < _ACTORS_PAGE,
    )
