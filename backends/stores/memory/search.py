"""Searching in memory: every document is held against the query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

from abaco.domain.actor import Actor
from abaco.domain.execution import FINAL, Execution
from abaco.domain.log import shown_log
from abaco.domain.permission import Level, effective_level
from abaco.domain.search import Query, SearchKind, SearchScope, grade
from abaco.domain.search.documents import (
    Document,
    actor_document,
    execution_document,
    log_document,
    worker_document,
)
from abaco.domain.worker import Worker
from abaco.ports.search import Item, SearchPage, SearchStore
from backends.stores import search_rules
from backends.stores.memory.state import Log, State, copy_actor, copy_execution

#: documents graded before others get their turn
_SLICE = 100

#: an item, and what makes its document
_Candidate = tuple[Item, Callable[[], Document]]


class MemorySearch(SearchStore):
    """Walks over everything of a tenant."""

    def __init__(self, state: State, timeout_s: float) -> None:
        self._state = state
        self._timeout_s = timeout_s

    async def search(self, scope: SearchScope, query: Query) -> SearchPage:
        """Return one page of what a query finds."""
        clock = self._state.clock
        give_up_at_s = clock.monotonic() + self._timeout_s
        # records are frozen, so this is the one moment
        candidates = list(self._candidates(scope))
        graded: list[tuple[int, Item]] = []
        for number, (item, describe) in enumerate(candidates):
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            if clock.monotonic() > give_up_at_s:
                raise search_rules.too_slow(self._timeout_s)
            if value := grade(query, describe()):
                graded.append((value, item))
        graded.sort(key=lambda pair: (-pair[0], *_age(pair[1])))
        page = graded[query.skip : query.skip + query.limit]
        return SearchPage(items=[_copy(item) for _, item in page], total=len(graded))

    def _candidates(self, scope: SearchScope) -> Iterator[_Candidate]:
        for actor in self._state.actors.values():
            if not self._is_visible(actor, scope):
                continue
            match scope.kind:
                case SearchKind.ACTORS:
                    yield actor, partial(actor_document, actor)
                case SearchKind.WORKERS:
                    for worker in self._state.workers.get(actor.key, {}).values():
                        yield worker, partial(worker_document, worker)
                case SearchKind.EXECUTIONS:
                    for execution in self._executions(actor, scope):
                        yield execution, partial(execution_document, execution)
                case SearchKind.LOGS:
                    for execution in self._executions(actor, scope):
                        yield from self._logs(execution)

    def _is_visible(self, actor: Actor, scope: SearchScope) -> bool:
        if actor.tenant != scope.tenant or scope.actor_id not in (None, actor.id):
            return False
        levels = self._state.permissions.get(actor.key.shared, {})
        return effective_level(levels, scope.user) >= Level.READ

    def _executions(self, actor: Actor, scope: SearchScope) -> Iterator[Execution]:
        for execution in self._state.executions.get(actor.key, {}).values():
            if scope.execution_id in (None, execution.id):
                yield execution

    def _logs(self, execution: Execution) -> Iterator[_Candidate]:
        log = self._state.logs.get(execution.key, Log())
        now = self._state.clock.now()
        if search_rules.has_log(
            execution,
            bytes_seen=log.bytes_seen,
            bytes_kept=len(log.data),
            is_expired=log.expires_at is not None and log.expires_at <= now,
        ):
            is_final = execution.status in FINAL
            text = shown_log(log.data, is_final=is_final, is_truncated=log.is_truncated)
            yield execution, partial(log_document, execution, text)


def _age(item: Item) -> tuple[object, ...]:
    if isinstance(item, Execution):
        return item.message_received_time, item.id, item.actor_id
    actor_id = item.actor_id if isinstance(item, Worker) else ""
    return item.create_time, item.id, actor_id


def _copy(item: Item) -> Item:
    match item:
        case Actor():
            return copy_actor(item)
        case Execution():
            return copy_execution(item)
    return item
