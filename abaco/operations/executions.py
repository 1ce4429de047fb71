"""Read and halt executions, and take their results."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.execution import FINAL, Execution, ExecutionKey, ExecutionTotals, HaltReason
from abaco.domain.ids import ExecutionId
from abaco.operations.access import check_length
from abaco.operations.services import Services
from abaco.ports.notices import Topic

#: executions read at once
_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionListing:
    """The executions of an actor, oldest first in ``pages``, and totals over them.

    Invariant: the pages hold ``totals.count`` executions; later ones are left out, so that the
    list has an end while messages keep coming.
    """

    actor: Actor
    totals: ExecutionTotals
    pages: AsyncGenerator[list[Execution], None]


async def list_executions(services: Services, actor: Actor) -> ExecutionListing:
    """Return all executions of an actor; they are read page by page as ``pages`` is."""
    totals = await services.stores.executions.totals(actor.key)
    pages = _iter_pages(services, actor.key, totals.count)
    return ExecutionListing(actor=actor, totals=totals, pages=pages)


async def _iter_pages(
    services: Services, actor: ActorKey, count: int
) -> AsyncGenerator[list[Execution], None]:
    after: Execution | None = None
    while count > 0:
        limit = min(count, _PAGE)
        page = await services.stores.executions.list_executions(actor, after=after, limit=limit)
        yield page
        if len(page) < limit:
            return
        count -= limit
        after = page[-1]


async def get(services: Services, actor: Actor, execution_id: str) -> Execution:
    """Return one execution.

    Raises:
        NotFoundError: The actor has no such execution.

    """
    return await services.stores.executions.get(_key_of(actor, execution_id))


async def await_final(
    services: Services, actor: Actor, execution_id: str, *, timeout_s: float
) -> Execution:
    """Return one execution as soon as it is final, or as it is when the time is up.

    Raises:
        NotFoundError: The actor has no such execution.

    """
    key = _key_of(actor, execution_id)
    deadline = services.clock.monotonic() + timeout_s
    with services.notices.subscribe(Topic.EXECUTION, key=key) as subscription:
        while True:
            execution = await services.stores.executions.get(key)
            left_s = deadline - services.clock.monotonic()
            if execution.status in FINAL or left_s <= 0:
                return execution
            await subscription.wait(left_s)


async def halt(services: Services, actor: Actor, execution_id: str) -> Execution:
    """Ask for a running execution's container to be stopped; its worker goes on.

    Raises:
        NotFoundError: The actor has no such execution.
        ConflictError: It is not RUNNING; the text names its status.

    """
    execution = await get(services, actor, execution_id)
    halted = await services.stores.executions.request_halt(execution.key, HaltReason.FORCE_QUIT)
    services.notices.publish(Topic.HALT, execution.key)
    return halted


async def take_result(services: Services, actor: Actor, execution_id: str) -> bytes:
    """Take the oldest result away; empty when there is none, or no such execution."""
    key = ExecutionKey(actor.tenant, actor.id, ExecutionId(execution_id))
    return await services.stores.results.pop(key, services.clock.now()) or b""


def _key_of(actor: Actor, execution_id: str) -> ExecutionKey:
    """Name an execution that need not exist. Raises NotFoundError for what can be no id."""
    check_length("execution", execution_id)
    return ExecutionKey(actor.tenant, actor.id, ExecutionId(execution_id))
