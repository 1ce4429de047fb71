"""Search actors, executions, workers and logs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from abaco.domain.actor import Actor
from abaco.domain.caller import Caller
from abaco.domain.execution import Execution
from abaco.domain.search import Query, SearchKind, SearchScope
from abaco.domain.worker import Worker
from abaco.operations import executions
from abaco.operations.logs import stored_text
from abaco.operations.services import Services
from abaco.ports.search import SearchPage


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLog:
    """A log that was found, with the owner of its actor."""

    execution: Execution
    owner: str
    text: str


Found = Actor | Execution | Worker | FoundLog


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """One page of what was found, and how many there are in all.

    Invariant: the pages hold ``count`` items.
    """

    query: Query
    total: int
    count: int
    pages: AsyncGenerator[list[Found], None]


async def search(
    services: Services,
    caller: Caller,
    kind: SearchKind,
    query: Query,
    *,
    actor: Actor | None = None,
    execution_id: str | None = None,
) -> SearchResult:
    """Find what the caller may read by an entry of its actor; the admin role adds nothing.

    Args:
        services: Ports and settings.
        caller: Who asks.
        kind: What for.
        query: What for, more closely.
        actor: Only what belongs to it.
        execution_id: Only what belongs to this execution of it.

    Raises:
        NotFoundError: The actor has no such execution.
        LimitExceededError: It took too long.

    """
    execution: Execution | None = None
    if actor is not None and execution_id is not None:
        execution = await executions.get(services, actor, execution_id)
    scope = SearchScope(
        kind=kind,
        tenant=caller.tenant,
        user=caller.user,
        actor_id=None if actor is None else actor.id,
        execution_id=None if execution is None else execution.id,
    )
    page = await services.stores.search.search(scope, query)
    pages = _iter_logs(services, page) if kind is SearchKind.LOGS else _iter_once(page)
    return SearchResult(query=query, total=page.total, count=len(page.items), pages=pages)


async def _iter_once(page: SearchPage) -> AsyncGenerator[list[Found], None]:
    yield list(page.items)


async def _iter_logs(services: Services, page: SearchPage) -> AsyncGenerator[list[Found], None]:
    """Read one log after the other: each may be long."""
    found = [item for item in page.items if isinstance(item, Execution)]
    actors = await services.stores.actors.get_many({each.key.actor for each in found})
    owners = {actor.key: actor.owner for actor in actors}
    for execution in found:
        text = await stored_text(services, execution)
        # An actor that was deleted meanwhile has no owner to tell.
        owner = owners.get(execution.key.actor, execution.executor)
        yield [FoundLog(execution=execution, owner=owner, text=text)]
