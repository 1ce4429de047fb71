from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from abaco.errors import ConfigError, StoreError, StoreUnavailableError
from backends.stores.sqlite.database import OLDEST_SQLITE, Database, open_database, prepare
from tests.support.records import NOON, SteppedClock, a_retry_key, an_actor, at
from tests.support.stores import (
    a_batch,
    add_worker,
    check_conservation,
    claim,
    insert_actor,
    opened,
    store_settings,
    submit,
)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "abaco.db", 5.0) as database:
        yield database


def _one(connection: sqlite3.Connection, sql: str) -> object:
    return connection.execute(sql).fetchone()[0]


def _epoch(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT epoch FROM instance").fetchone()[0])


def _raise_epoch(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE instance SET epoch = epoch + 1")
    return _epoch(connection)


async def test_directory_and_file_are_made_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "data" / "abaco.db"
    async with open_database(path, 5.0) as database:
        await database.write(_raise_epoch)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        files = list(path.parent.iterdir())
        assert len(files) == 3  # the database, its WAL and the WAL's index
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert list(path.parent.iterdir()) == [path]  # a clean end leaves one file


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    prepare(tmp_path / "abaco.db", 5.0)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("pragma", "writing", "reading"),
    [
        ("journal_mode", "wal", "wal"),
        ("synchronous", 2, 2),
        ("foreign_keys", 1, 1),
        ("busy_timeout", 5000, 5000),
        ("query_only", 0, 1),
    ],
)
async def test_connections_are_set_up_for_durability(
    database: Database, pragma: str, writing: object, reading: object
) -> None:
    assert await database.write(_one, f"PRAGMA {pragma}") == writing
    assert await database.read(_one, f"PRAGMA {pragma}") == reading


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(StoreError):
        await database.read(_raise_epoch)
    assert await database.read(_epoch) == 0


async def test_a_read_sees_every_write_that_returned(database: Database) -> None:
    async def write_and_read() -> None:
        for _ in range(30):
            written = await database.write(_raise_epoch)
            assert await database.read(_epoch) >= written

    await asyncio.gather(*(write_and_read() for _ in range(4)))
    assert await database.read(_epoch) == 120


async def test_a_read_sees_one_moment(database: Database) -> None:
    gate, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def read_twice(connection: sqlite3.Connection) -> tuple[int, int]:
        first = _epoch(connection)
        loop.call_soon_threadsafe(entered.set)
        gate.wait(30)
        return first, _epoch(connection)

    reading = asyncio.create_task(database.read(read_twice))
    await entered.wait()
    assert await database.write(_raise_epoch) == 1  # a reader holds up no writer
    gate.set()
    assert await reading == (0, 0)


async def test_a_long_write_holds_up_no_reader(database: Database) -> None:
    gate, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def write_slowly(connection: sqlite3.Connection) -> None:
        _raise_epoch(connection)
        loop.call_soon_threadsafe(entered.set)
        gate.wait(30)

    writing = asyncio.create_task(database.write(write_slowly))
    await entered.wait()
    assert await database.read(_epoch) == 0
    gate.set()
    await writing


async def test_the_threads_end_with_the_context(tmp_path: Path) -> None:
    def ours() -> set[str]:
        return {each.name for each in threading.enumerate() if each.name.startswith("abaco-store")}

    async with open_database(tmp_path / "abaco.db", 5.0) as database:
        assert ours() == {f"abaco-store-{name}" for name in ("writer", "reader", "search")}
    assert ours() == set()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await database.read(_epoch)


def _plain_file_as_directory(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("x")
    return tmp_path / "file" / "abaco.db"


def _directory_as_file(tmp_path: Path) -> Path:
    return tmp_path


def _not_a_database(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and no database at all\n" * 100)
    return path


def _where_nothing_can_be_made(tmp_path: Path) -> Path:
    return Path("/proc/abaco/abaco.db")


@pytest.mark.parametrize(
    "make_path",
    [_plain_file_as_directory, _directory_as_file, _not_a_database, _where_nothing_can_be_made],
)
async def test_a_place_that_cannot_be_used_stops_the_start(
    make_path: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make_path(tmp_path)
    with pytest.raises(ConfigError) as caught:
        async with open_database(path, 5.0):
            pass
    assert "[store] path" in caught.value.message
    assert "data_dir" in caught.value.message
    assert str(path) in caught.value.message
    assert "writ" in caught.value.message


async def test_a_file_of_notes_is_left_alone(tmp_path: Path) -> None:
    path = _not_a_database(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not a database"):
        async with open_database(path, 5.0):
            pass
    assert path.read_bytes() == before


def test_an_old_sqlite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 7, 17))
    oldest = ".".join(map(str, OLDEST_SQLITE))
    with pytest.raises(ConfigError, match=oldest):
        prepare(tmp_path / "abaco.db", 5.0)
    assert list(tmp_path.iterdir()) == []


async def test_everything_survives_a_stop(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with opened("sqlite", tmp_path, clock) as stores:
        actor = await insert_actor(stores, state={"n": [1, 2.5]})
        worker = await add_worker(stores, actor)
        await submit(stores, actor, 3)
        taken = await claim(stores, worker)
        key = taken.execution.key
        await stores.logs.append(key, 0, b"text", max_bytes=9, expires_at=None)
        await stores.results.push(key, 0, [b"result"], expires_at=at(60))
        assert await stores.instance.acquire("one", NOON, 10) == 1
        busy = await stores.workers.get(worker.key)
    async with opened("sqlite", tmp_path, clock) as stores:
        assert await stores.actors.get(actor.key) == actor
        assert await stores.workers.list_workers() == [busy]
        assert await stores.executions.list_leased() == [taken.execution]
        assert await stores.mailbox.count(actor.key) == 2
        assert (await stores.logs.read(key)).data == b"text"
        assert await stores.results.pop(key, NOON) == b"result"
        assert await stores.instance.acquire("one", NOON, 10) == 2
        await check_conservation(stores)


async def test_delete_leaves_no_row_behind_but_the_accounts(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        actor = await insert_actor(stores)
        await add_worker(stores, actor)
        key = (await submit(stores, actor))[0].key
        await stores.intake.submit(a_batch(actor), now=NOON, key=a_retry_key())
        await stores.logs.append(key, 0, b"text", max_bytes=9, expires_at=None)
        await stores.results.push(key, 0, [b"result"], expires_at=at(60))
        await stores.actors.delete(actor.key)
    with closing(sqlite3.connect(store_settings(tmp_path).database_path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM pragma_table_list")]
        rows = {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in tables
            if not name.startswith("sqlite_")
        }
    assert {name: count for name, count in rows.items() if count} == {
        "executions": 2,
        "mailboxes": 1,
        "tenant_mailboxes": 1,
        "counters": 1,
        "instance": 1,
        "usage": 2,
        "usage_days": 1,
        "worker_counts": 1,
    }


async def test_two_processes_share_a_file_without_harm(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with opened("sqlite", tmp_path, clock) as one, opened("sqlite", tmp_path, clock) as two:
        actor = await insert_actor(one)
        await asyncio.gather(*(submit(stores, actor, 20) for stores in (one, two)))
        workers = [await add_worker(stores, actor) for stores in (one, two) for _ in range(10)]
        taken = await asyncio.gather(
            *(claim(one if n < 10 else two, worker) for n, worker in enumerate(workers))
        )
        assert len({each.message.seq for each in taken}) == 20
        assert (await two.executions.counters()) == (await one.executions.counters())
        await check_conservation(one)


async def test_a_full_database_is_unavailable_until_there_is_room(tmp_path: Path) -> None:
    path = store_settings(tmp_path).database_path
    async with open_database(path, 5.0) as database:
        pages = await database.write(_one, "PRAGMA page_count")
        await database.write(_one, f"PRAGMA max_page_count = {pages}")

        def fill(connection: sqlite3.Connection, size_bytes: int) -> None:
            _raise_epoch(connection)
            connection.execute(
                "INSERT INTO results (tenant, actor_id, execution_id, data, expires_at)"
                " VALUES ('t', 'a', 'e', zeroblob(?), 0)",
                (size_bytes,),
            )

        with pytest.raises(StoreUnavailableError, match="disk is full"):
            await database.write(fill, 1_000_000)
        assert await database.read(_epoch) == 0
        assert await database.write(_raise_epoch) == 1  # what needs no room still works
        await database.write(_one, f"PRAGMA max_page_count = {10**6}")
        await database.write(fill, 1_000_000)
        assert await database.read(_epoch) == 2


_LIMITED = """
import asyncio, json, resource, sys
from pathlib import Path
from abaco.errors import StoreUnavailableError
from tests.support.records import SteppedClock, a_message, an_actor, an_execution
from tests.support.stores import check_conservation, enqueue, opened

async def main(directory):
    accepted, refused = [], []
    async with opened("sqlite", directory, SteppedClock()) as stores:
        actor = an_actor()
        await stores.actors.insert(actor)

        async def send():
            execution = an_execution(actor)
            try:
                await enqueue(stores, execution, a_message(execution, body="x" * 2000))
                accepted.append(execution.id)
            except StoreUnavailableError as error:
                refused.append(error.message)

        # the WAL may not grow past this: the kernel refuses the write
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        while not refused:
            await asyncio.gather(*(send() for _ in range(5)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await asyncio.gather(*(send() for _ in range(5)))
        await check_conservation(stores)
        stored = [each.id for each in await stores.executions.list_executions(actor.key)]
    print(json.dumps({"accepted": accepted, "refused": refused, "stored": stored}))

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_disk_that_refuses_to_write_loses_nothing_accepted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["refused"]
    assert all("the store does not answer" in text for text in report["refused"])
    assert set(report["stored"]) == set(report["accepted"])
    assert len(report["accepted"]) > 5


def _damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table, or of the file when there is no such table."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((row[0] - 1) * page_bytes if row else 0)
        file.write(b"\xa5" * page_bytes)


async def test_a_damaged_table_is_told_not_hidden(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        actor = await insert_actor(stores)
    _damage(store_settings(tmp_path).database_path, "actors")
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        for call in (stores.actors.get(actor.key), stores.actors.insert(an_actor())):
            with pytest.raises(StoreError, match="damaged") as caught:
                await call
            assert not caught.value.retryable
        await stores.instance.ping()


async def test_a_damaged_schema_stops_the_start(tmp_path: Path) -> None:
    path = store_settings(tmp_path).database_path
    prepare(path, 5.0)
    _damage(path, "none: the schema itself")
    with pytest.raises(ConfigError, match="Restore it"):
        async with open_database(path, 5.0):
            pass
