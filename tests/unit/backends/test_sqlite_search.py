"""Searching in SQLite: what its statements read, and that nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from abaco.domain.search import SearchKind, SearchScope, parse_query
from abaco.errors import LimitExceededError, StoreUnavailableError
from abaco.ports.store import Stores
from backends.stores.sqlite.database import MAX_SEARCHES, Database, connect, open_database
from backends.stores.sqlite.search import SqliteSearch, _teach
from backends.stores.sqlite.search_sql import compile_query
from backends.system import SystemClock
from tests.support.records import NOON, OWNER, TENANT
from tests.support.stores import insert_actor, opened, submit

#: many patterns, each of which has to read everything to its end
SLOW = parse_query({"state.nlike": [f"(a?){{{number}}}b" for number in range(30, 60)]})


def scope(kind: SearchKind = SearchKind.ACTORS, actor_id: str | None = None) -> SearchScope:
    return SearchScope(kind=kind, tenant=TENANT, user=OWNER, actor_id=actor_id)


def query(**parameters: str):
    return parse_query({key.replace("__", "."): [text] for key, text in parameters.items()})


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "abaco.db", 10.0) as database:
        yield database


async def plan(database: Database, directory: Path, sql: str, values: dict) -> list[str]:
    with closing(connect(directory / "abaco.db", 5.0)) as connection:
        asked = query(search="x")
        for kind in SearchKind:
            _teach(connection, compile_query(scope(kind), asked, NOON).source, asked)
        # functions that nobody teaches twice: the last one's arguments do for a plan
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        return [row["detail"] for row in rows]


class TestPlans:
    async def test_one_actors_executions_are_read_in_the_order_of_their_index(
        self, database: Database, tmp_path: Path
    ) -> None:
        asked = query(status="COMPLETE")
        statement = compile_query(scope(SearchKind.EXECUTIONS, "a"), asked, NOON)
        values = statement.values | {"limit": 100, "skip": 0}
        steps = await plan(database, tmp_path, statement.page(), values)
        assert any("executions USING INDEX executions_of_actor (tenant=? AND" in s for s in steps)
        assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN exec")]
        steps = await plan(database, tmp_path, statement.count(), statement.values)
        assert not [step for step in steps if step.startswith("SCAN exec")]

    @pytest.mark.parametrize("kind", SearchKind)
    @pytest.mark.parametrize("actor_id", [None, "a"])
    @pytest.mark.parametrize("text", [{}, {"search": "x"}])
    async def test_no_search_walks_over_what_others_own(
        self, database: Database, tmp_path: Path, kind: SearchKind, actor_id, text
    ) -> None:
        statement = compile_query(scope(kind, actor_id), query(**text), NOON)
        values = statement.values | {"limit": 100, "skip": 0}
        for sql in (statement.page(), statement.count(), statement.grades()):
            steps = await plan(database, tmp_path, sql, values)
            assert [step for step in steps if "permissions" in step]
            assert not [step for step in steps if step.startswith("SCAN") and "(" not in step]


class TestBounds:
    async def test_nothing_a_client_writes_is_part_of_a_statement(self) -> None:
        asked = parse_query({"image'; --.like": ["x"], "image": ["quoted'"], "state.a'b": ["'"]})
        statement = compile_query(scope(), asked, NOON)
        assert "--" not in statement.where
        assert "quoted" not in statement.where
        assert "a'b" not in statement.where

    async def test_as_many_conditions_and_values_as_are_allowed(self, tmp_path: Path) -> None:
        async with opened("sqlite", tmp_path, SystemClock()) as stores:
            await insert_actor(stores)
            ten = "[" + ",".join(map(str, range(10))) + "]"
            many = parse_query({f"name.{each}": [ten] * 50 for each in ("in", "nin")})
            began = time.perf_counter()
            assert (await stores.search.search(scope(), many)).total == 0
            assert time.perf_counter() - began < 20


async def filled(stores: Stores) -> None:
    """Make actors that take SLOW some tens of milliseconds each."""
    for _ in range(40):
        await insert_actor(stores, state="a" * 400_000)


class TestLanes:
    async def test_a_slow_search_delays_nobody_else(self, tmp_path: Path) -> None:
        async with opened("sqlite", tmp_path, SystemClock()) as stores:
            await filled(stores)
            actor = await insert_actor(stores)
            searching = asyncio.create_task(stores.search.search(scope(), SLOW))
            await asyncio.sleep(0.05)
            took: list[float] = []
            while len(took) < 5 and not searching.done():
                began = time.perf_counter()
                await submit(stores, actor)
                await stores.executions.totals(actor.key)
                took.append(time.perf_counter() - began)
            assert len(took) == 5, "the search was over too soon to tell"
            searching.cancel()
            assert sorted(took)[2] < 0.5

    async def test_its_time_is_limited(self, tmp_path: Path) -> None:
        async with opened("sqlite", tmp_path, SystemClock()) as stores:
            await filled(stores)
        async with open_database(tmp_path / "abaco.db", 10.0) as database:
            search = SqliteSearch(database, SystemClock(), 0.05)
            began = time.perf_counter()
            with pytest.raises(LimitExceededError, match=r"longer than 0\.05 s"):
                await search.search(scope(), SLOW)
            assert time.perf_counter() - began < 20

    async def test_closing_the_store_ends_it(self, tmp_path: Path) -> None:
        async with opened("sqlite", tmp_path, SystemClock()) as stores:
            await filled(stores)
            searching = asyncio.create_task(stores.search.search(scope(), SLOW))
            await asyncio.sleep(0.05)
            began = time.perf_counter()
        assert time.perf_counter() - began < 20
        with pytest.raises(StoreUnavailableError, match="closed"):
            await searching

    async def test_those_that_wait_are_bounded(self, tmp_path: Path) -> None:
        async with opened("sqlite", tmp_path, SystemClock()) as stores:
            await insert_actor(stores)
            calls = [stores.search.search(scope(), query()) for _ in range(MAX_SEARCHES + 5)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            refused = [each for each in answers if isinstance(each, StoreUnavailableError)]
            assert 1 <= len(refused) <= 5
            assert "overloaded" in refused[0].message

    async def test_other_faults_of_sqlite_stay_what_they_are(self, database: Database) -> None:
        search = SqliteSearch(database, SystemClock(), 5.0)
        await database.write(lambda connection: connection.execute("DROP TABLE permissions"))
        with pytest.raises(Exception, match="store failed") as raised:
            await search.search(scope(), query())
        assert isinstance(raised.value.__cause__, sqlite3.OperationalError)
