"""Searching in SQLite, on a lane of its own and for a limited time."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from abaco.domain.cron import is_interval, slot_text
from abaco.domain.log import shown_log
from abaco.domain.search import Query, SearchScope, accepts, value_at
from abaco.domain.search.patterns import is_found
from abaco.domain.search.text import grade_text, texts_in
from abaco.errors import StoreUnavailableError
from abaco.ports.clock import Clock
from abaco.ports.search import Item, SearchPage, SearchStore
from backends.stores import search_rules
from backends.stores.rules import from_micros
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.rows import to_actor, to_execution, to_worker
from backends.stores.sqlite.search_fields import Form, Source
from backends.stores.sqlite.search_sql import Statement, compile_query

#: steps of SQLite's machine between two looks at the clock: some tens of microseconds
_STEPS = 1000

_READERS: dict[str, Callable[[sqlite3.Row], Item]] = {
    "actors": to_actor,
    "executions": to_execution,
    "workers": to_worker,
}


class SqliteSearch(SearchStore):
    """Walks over the rows a user may see, as few of them as indexes allow."""

    def __init__(self, database: Database, clock: Clock, timeout_s: float) -> None:
        self._database = database
        self._clock = clock
        self._timeout_s = timeout_s

    async def search(self, scope: SearchScope, query: Query) -> SearchPage:
        """Return one page of what a query finds."""
        statement = compile_query(scope, query, self._clock.now())
        return await self._database.search(self._search, statement, query)

    def _search(
        self, connection: sqlite3.Connection, statement: Statement, query: Query
    ) -> SearchPage:
        _teach(connection, statement.source, query)
        with self._limited(connection):
            find = _find_best if query.has_text else _find_oldest
            return find(connection, statement, query)

    @contextmanager
    def _limited(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Give a search up when its time is over, or the store is closed."""
        give_up_at_s = self._clock.monotonic() + self._timeout_s

        def is_over() -> bool:
            return self._database.is_closing or self._clock.monotonic() > give_up_at_s

        connection.set_progress_handler(is_over, _STEPS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            if self._database.is_closing:
                raise StoreUnavailableError("the store is closed") from error
            raise search_rules.too_slow(self._timeout_s) from error
        finally:
            connection.set_progress_handler(None, 0)


def _find_oldest(connection: sqlite3.Connection, statement: Statement, query: Query) -> SearchPage:
    place = {"limit": query.limit, "skip": query.skip}
    rows = connection.execute(statement.page(), statement.values | place).fetchall()
    if 0 < len(rows) < query.limit:  # the last page tells how many there are
        total = query.skip + len(rows)
    else:
        ((total,),) = connection.execute(statement.count(), statement.values).fetchall()
    return SearchPage(items=_read(statement, rows), total=total)


def _find_best(connection: sqlite3.Connection, statement: Statement, query: Query) -> SearchPage:
    """Grade every row, and keep no more of them than the page needs."""
    total = 0

    def found() -> Iterator[tuple[Any, ...]]:
        nonlocal total
        for grade, *age, place in connection.execute(statement.grades(), statement.values):
            if grade:
                total += 1
                yield (-grade, *age, place)

    # never none: what nobody takes would not be counted
    best = heapq.nsmallest(max(1, query.skip + query.limit), found())
    rows = [
        row
        for *_, place in best[query.skip : query.skip + query.limit]
        for row in connection.execute(statement.item(), (place,))
    ]
    return SearchPage(items=_read(statement, rows), total=total)


def _read(statement: Statement, rows: Sequence[sqlite3.Row]) -> list[Item]:
    return [_READERS[statement.source.table](row) for row in rows]


class _Join:
    """The pieces of a log, put together in their order."""

    def __init__(self) -> None:
        self._pieces: list[tuple[int, bytes]] = []

    def step(self, start: int, data: bytes) -> None:
        """Take one piece."""
        self._pieces.append((start, data))

    def finalize(self) -> bytes:
        """Return the whole."""
        return b"".join(data for _, data in sorted(self._pieces))


def _teach(connection: sqlite3.Connection, source: Source, query: Query) -> None:
    """Give the connection the functions that statements of this query call."""
    plain_count = sum(each.form is not Form.JSON for each in source.texts)

    def is_like(number: int, value: Any) -> bool:
        return isinstance(value, str) and is_found(query.clauses[number].operands[0], value)

    def does_accept(number: int, text: str) -> bool:
        clause = query.clauses[number]
        path = (*source.fields[clause.path[0]].prefix, *clause.path[1:])
        return accepts(clause, value_at(json.loads(text), path))

    def grade(*values: Any) -> int:
        plain, spelled = values[:plain_count], values[plain_count:]
        texts = texts_in([*plain, *map(json.loads, spelled)])
        return grade_text(texts, query.phrases, query.words)

    for name, arguments, function in (
        ("abaco_like", 2, is_like),
        ("abaco_accepts", 2, does_accept),
        ("abaco_grade", -1, grade),
        ("abaco_log", 3, _log),
        ("abaco_slot", 2, _slot),
    ):
        connection.create_function(name, arguments, function, deterministic=True)
    connection.create_aggregate("abaco_join", 2, _Join)  # type: ignore[arg-type]


def _slot(next_at: int | None, schedule: str) -> str | None:
    if next_at is None:
        return None
    return slot_text(from_micros(next_at), has_minutes=not is_interval(schedule))


def _log(data: bytes | None, is_final: int, is_truncated: int) -> str:
    return shown_log(data or b"", is_final=bool(is_final), is_truncated=bool(is_truncated))
