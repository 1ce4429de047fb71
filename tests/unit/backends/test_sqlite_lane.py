from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from abaco.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StoreError,
    StoreUnavailableError,
)
from backends.stores.sqlite.database import connect
from backends.stores.sqlite.lane import Lane

SCHEMA = """
    CREATE TABLE parents (id INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE items (
        name TEXT PRIMARY KEY,
        parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED
    ) STRICT;
"""


class Bench:
    """A lane over a real file, the statements it ran, and a hold on its thread."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.statements: list[str] = []
        self.connections = 0
        options = {"begin": "BEGIN IMMEDIATE", "timeout_s": 10.0, **options}
        self.lane = Lane("lane-under-test", self._connect, **options)
        self._held = asyncio.Event()
        self._gate = threading.Event()
        self._loop = asyncio.get_running_loop()

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path, timeout_s=0.2)
        connection.set_trace_callback(self.statements.append)
        self.connections += 1
        return connection

    def _wait_at_gate(self, connection: sqlite3.Connection) -> None:
        self._loop.call_soon_threadsafe(self._held.set)
        self._gate.wait(30)

    async def hold(self) -> asyncio.Task[None]:
        """Occupy the thread until ``let_go``."""
        task = asyncio.create_task(self.lane.run(self._wait_at_gate))
        await self._held.wait()
        return task

    def let_go(self) -> None:
        self._gate.set()

    @property
    def commits(self) -> int:
        return self.statements.count("COMMIT")

    def stored(self) -> set[str]:
        """What another connection sees."""
        with closing(sqlite3.connect(self.path)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM items")}


@asynccontextmanager
async def benched(path: Path, **options: Any) -> AsyncIterator[Bench]:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    bench = Bench(path, **options)
    bench.lane.start()
    try:
        yield bench
    finally:
        bench.let_go()
        await bench.lane.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with benched(tmp_path / "lane.db") as bench:
        yield bench


def put(name: str, then: Callable[[], object] | None = None) -> Callable[[Any], str]:
    """Insert an item, then perhaps do something that fails."""

    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO items (name) VALUES (?)", (name,))
        if then is not None:
            then()
        return name

    return work


def raising(error: Exception) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


def put_orphan(connection: sqlite3.Connection) -> None:
    """Insert what only the commit refuses."""
    connection.execute("INSERT INTO items (name, parent) VALUES ('orphan', 1)")


def put_or_roll_back(connection: sqlite3.Connection) -> None:
    """Make SQLite itself take the whole transaction back."""
    connection.execute("INSERT OR ROLLBACK INTO items (name) VALUES ('twice')")
    connection.execute("INSERT OR ROLLBACK INTO items (name) VALUES ('twice')")


async def test_calls_that_wait_together_share_one_commit(bench: Bench) -> None:
    held = await bench.hold()
    calls = [asyncio.create_task(bench.lane.run(put(str(n)))) for n in range(50)]
    await asyncio.sleep(0)
    bench.let_go()
    assert await asyncio.gather(*calls) == [str(n) for n in range(50)]
    await held
    assert bench.commits == 2
    assert bench.stored() == {str(n) for n in range(50)}


async def test_a_batch_is_bounded(tmp_path: Path) -> None:
    async with benched(tmp_path / "lane.db", max_batch=4) as bench:
        await bench.hold()
        calls = [asyncio.create_task(bench.lane.run(put(str(n)))) for n in range(10)]
        await asyncio.sleep(0)
        bench.let_go()
        await asyncio.gather(*calls)
        assert bench.commits == 1 + 3


async def test_nobody_is_answered_before_the_commit(bench: Bench) -> None:
    for n in range(20):
        name = await bench.lane.run(put(str(n)))
        assert name in bench.stored()


async def test_one_failure_takes_nothing_along(bench: Bench) -> None:
    await bench.hold()
    calls = [
        asyncio.create_task(bench.lane.run(work))
        for work in (
            put("a"),
            put("b", raising(NotFoundError("not here"))),
            put("a"),  # taken by now
            put("c"),
            put("d", raising(KeyError("a bug"))),
        )
    ]
    await asyncio.sleep(0)
    bench.let_go()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers[0] == "a"
    assert isinstance(answers[1], NotFoundError)
    assert isinstance(answers[2], StoreError)
    assert isinstance(answers[2].__cause__, sqlite3.IntegrityError)
    assert answers[3] == "c"
    assert isinstance(answers[4], KeyError)
    assert bench.stored() == {"a", "c"}
    assert bench.connections == 1


@pytest.mark.parametrize("spoiler", [put_orphan, put_or_roll_back])
async def test_a_lost_transaction_fails_all_its_calls_and_the_next_works(
    bench: Bench, spoiler: Callable[[sqlite3.Connection], None]
) -> None:
    await bench.hold()
    works: list[Callable[[sqlite3.Connection], Any]] = [
        put("before"),
        spoiler,
        put("after", raising(ConflictError("mine"))),
    ]
    calls = [asyncio.create_task(bench.lane.run(work)) for work in works]
    await asyncio.sleep(0)
    bench.let_go()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreError] * 3
    assert len({id(answer) for answer in answers}) == 3
    assert bench.stored() == set()
    assert await bench.lane.run(put("again")) == "again"
    assert bench.stored() == {"again"}
    assert bench.connections == 2


async def test_a_database_held_by_another_is_unavailable_then_works(bench: Bench) -> None:
    await bench.lane.run(put("before"))
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailableError, match="another process") as caught:
            await bench.lane.run(put("refused"))
        assert caught.value.retryable
        other.execute("ROLLBACK")
    assert await bench.lane.run(put("after")) == "after"
    assert bench.stored() == {"before", "after"}


async def test_a_vanished_database_is_not_replaced_by_an_empty_one(bench: Bench) -> None:
    await bench.lane.run(put("before"))
    with pytest.raises(StoreError):
        await bench.lane.run(put_or_roll_back)  # the next call opens the file anew
    moved = bench.path.with_name("moved.db")
    bench.path.rename(moved)
    with pytest.raises(StoreUnavailableError, match="cannot be opened"):
        await bench.lane.run(put("lost"))
    assert not bench.path.exists()
    moved.rename(bench.path)
    assert await bench.lane.run(put("found")) == "found"
    assert bench.stored() == {"before", "found"}


async def test_a_call_given_up_while_it_waits_is_not_made(tmp_path: Path) -> None:
    async with benched(tmp_path / "lane.db", timeout_s=0.5) as bench:
        held = await bench.hold()
        with pytest.raises(StoreUnavailableError, match=r"0\.5 s"):
            await bench.lane.run(put("late"))
        bench.let_go()
        with pytest.raises(StoreUnavailableError):
            await held
        bench.lane._timeout_s = 30
        await bench.lane.run(put("next"))
        assert bench.stored() == {"next"}


async def test_a_call_cancelled_while_it_waits_is_not_made(bench: Bench) -> None:
    await bench.hold()
    call = asyncio.create_task(bench.lane.run(put("cancelled")))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    bench.let_go()
    await bench.lane.run(put("next"))
    assert bench.stored() == {"next"}


async def test_a_call_cancelled_in_its_middle_is_applied_whole(bench: Bench) -> None:
    gate, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(connection: sqlite3.Connection) -> None:
        put("one")(connection)
        loop.call_soon_threadsafe(entered.set)
        gate.wait(30)
        put("two")(connection)

    call = asyncio.create_task(bench.lane.run(work))
    await entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.set()
    await bench.lane.run(put("next"))
    assert bench.stored() == {"one", "two", "next"}


async def test_the_loop_runs_on_while_the_store_is_busy(bench: Bench) -> None:
    held = await bench.hold()
    turns = 0
    for _ in range(100):
        await asyncio.sleep(0)
        turns += 1
    assert turns == 100
    assert not held.done()
    bench.let_go()
    await held


async def test_too_many_waiting_calls_are_refused_at_once(tmp_path: Path) -> None:
    async with benched(tmp_path / "lane.db", max_waiting=3) as bench:
        held = await bench.hold()
        calls = [asyncio.create_task(bench.lane.run(put(str(n)))) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailableError, match="overloaded"):
            await bench.lane.run(put("refused"))
        bench.let_go()
        await asyncio.gather(held, *calls)
        await bench.lane.run(put("after"))
        assert bench.stored() == {"0", "1", "after"}


async def test_given_up_calls_make_room_only_when_they_are_gone(tmp_path: Path) -> None:
    async with benched(tmp_path / "lane.db", max_waiting=2, timeout_s=0.05) as bench:
        held = await bench.hold()
        with pytest.raises(StoreUnavailableError, match=r"0\.05 s"):
            await bench.lane.run(put("late"))
        with pytest.raises(StoreUnavailableError, match="overloaded"):
            await bench.lane.run(put("refused"))
        bench.let_go()
        await asyncio.gather(held, return_exceptions=True)
        await bench.lane.close()
        assert bench.stored() == set()


async def test_close_serves_what_waits_and_refuses_the_rest(bench: Bench) -> None:
    await bench.hold()
    calls = [asyncio.create_task(bench.lane.run(put(str(n)))) for n in range(5)]
    await asyncio.sleep(0)
    closing_lane = asyncio.create_task(bench.lane.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailableError, match="closed"):
        await bench.lane.run(put("too late"))
    bench.let_go()
    await closing_lane
    assert len(await asyncio.gather(*calls)) == 5
    assert bench.stored() == {str(n) for n in range(5)}
    assert "lane-under-test" not in {thread.name for thread in threading.enumerate()}
    await bench.lane.close()


async def test_a_lane_that_was_never_started_closes(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "lane.db")
    await bench.lane.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await bench.lane.run(put("x"))


@pytest.mark.parametrize(
    ("value", "text"), [("\ud800", "a text"), (2**63, "a number"), (-(2**63) - 1, "a number")]
)
async def test_a_value_no_column_holds_is_the_callers_fault(
    bench: Bench, value: object, text: str
) -> None:
    with pytest.raises(InvalidInputError, match=text):
        await bench.lane.run(lambda db: db.execute("SELECT ?", (value,)).fetchall())
    assert await bench.lane.run(put("next")) == "next"


def test_a_loop_that_ends_first_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave_in_the_middle() -> Bench:
        bench = Bench(tmp_path / "lane.db")
        bench.lane.start()
        task = await bench.hold()
        task.cancel()
        return bench

    with closing(sqlite3.connect(tmp_path / "lane.db")) as connection:
        connection.executescript(SCHEMA)
    with caplog.at_level(logging.WARNING):
        bench = asyncio.run(leave_in_the_middle())
        thread = next(each for each in threading.enumerate() if each.name == "lane-under-test")
        bench.let_go()
        bench.lane._jobs.put(None)
        thread.join(30)
    assert not thread.is_alive()
    assert "nobody is left" in caplog.text
