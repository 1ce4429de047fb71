from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from abaco.domain.actor import ActorKey
from abaco.domain.execution import ExecutionStatus, IoDetail
from abaco.domain.host_access import HostAccess
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.permission import Level, ObjectKind
from abaco.errors import ConfigError
from backends.stores.sqlite.database import connect, open_database, prepare
from backends.stores.sqlite.schema import MIGRATIONS, migrate
from backends.stores.sqlite.schema_links import LINKS
from tests.support.records import (
    NOON,
    TENANT,
    SteppedClock,
    a_nonce,
    an_alias,
    an_outcome,
    at,
    execution_key,
)
from tests.support.stores import check_conservation, opened, store_settings

VERSION_1 = Path(__file__).with_name("schema_v1.sql")

#: a step such as a release might add
NEXT_STEP = (
    "ALTER TABLE actors ADD COLUMN cron TEXT",
    "CREATE TABLE badges (id TEXT PRIMARY KEY, uses INTEGER NOT NULL) STRICT",
    "INSERT INTO badges (id, uses) SELECT id, revision FROM actors",
)


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A database as version 1 wrote it."""
    path = store_settings(tmp_path).database_path
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text())
    return path


@pytest.fixture
def old(old_file: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(old_file, 5.0)) as connection:
        yield connection


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def shape(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute(
        "SELECT type || ' ' || name AS name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    )
    return {row[0]: " ".join(row[1].split()) for row in rows}


def test_a_new_file_takes_all_steps(tmp_path: Path) -> None:
    prepare(tmp_path / "abaco.db", 5.0)
    with closing(connect(tmp_path / "abaco.db", 5.0)) as connection:
        assert version(connection) == len(MIGRATIONS)
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_an_upgraded_file_has_the_shape_of_a_new_one(
    old: sqlite3.Connection, tmp_path: Path
) -> None:
    migrate(old)
    prepare(tmp_path / "new.db", 5.0)
    with closing(connect(tmp_path / "new.db", 5.0)) as new:
        assert shape(old) == shape(new)


def test_the_log_says_that_a_file_was_changed_and_is_quiet_else(
    old_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        prepare(old_file, 5.0)
        prepare(old_file, 5.0)
        prepare(old_file.with_name("new.db"), 5.0)
    (told,) = caplog.messages
    assert told.endswith(f"from schema version 1 to {len(MIGRATIONS)}")


async def test_what_version_1_stored_is_all_there(old_file: Path, tmp_path: Path) -> None:
    key = ActorKey(TENANT, ActorId("counter"))
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        actor = await stores.actors.get(key)
        assert actor.definition.hints == ("a", "b")
        assert actor.definition.default_environment == {"K": [1, None]}
        assert (actor.state, actor.state_version) == ({"count": 2}, 2)
        assert actor.host == HostAccess()
        ended, running, waiting = await stores.executions.list_executions(key)
        # version 1 did not know what a run used beyond CPU and io
        assert ended.outcome == an_outcome(io_detail=IoDetail(), memory_peak_bytes=0)
        assert [each.id for each in await stores.executions.list_leased()] == [running.id]
        assert waiting.status is ExecutionStatus.SUBMITTED
        log = await stores.logs.read(execution_key(key, "e1"))
        assert log.data == b"caf\xc3\xa9 \xff\n"
        assert await stores.results.pop(execution_key(key, "e1"), NOON) == b"\0result"
        assert await stores.mailbox.finalize(running.key, 1, an_outcome(), now=at(9))
        assert await stores.instance.acquire("second", at(60), 10) == 2
        await check_conservation(stores)


async def test_actors_of_version_1_belong_to_their_owners(old_file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(old_file)) as connection:
        connection.execute(
            "INSERT INTO actors SELECT 'OTHER', id, 'joe.b', api_server, definition, create_time,"
            " last_update_time, status, status_message, revision, state, state_version FROM actors"
        )
        connection.commit()
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        for tenant, owner in ((TENANT, "jane"), (Tenant("OTHER"), "joe.b")):
            key = ActorKey(tenant, ActorId("counter"))
            assert dict(await stores.permissions.levels(key.shared)) == {owner: Level.UPDATE}
            visible = await stores.permissions.visible(ObjectKind.ACTOR, tenant, owner)
            assert visible == ["counter"]
            await stores.aliases.insert(an_alias(key))
            await stores.nonces.insert(a_nonce(key.shared))
            await stores.actors.delete(key)
            assert await stores.aliases.list_aliases(tenant) == []
            assert await stores.permissions.visible(ObjectKind.ACTOR, tenant, owner) == []


def test_links_by_aliases_that_went_before_are_cleared(old: sqlite3.Connection) -> None:
    migrate(old, MIGRATIONS[: MIGRATIONS.index(LINKS)])
    row = "'{}', owner, api_server, json_set(definition, '$.link', '{}'), create_time"
    columns = ("last_update_time", "status", "status_message", "revision", "state", "state_version")
    names = {"by-id": "counter", "by-alias": "there", "dangling": "gone", "unlinked": ""}
    for name, link in names.items():
        old.execute(
            "INSERT INTO actors (tenant, id, owner, api_server, definition, create_time,"
            f" {', '.join(columns)}, link) SELECT tenant, {row.format(name, link)},"
            f" {', '.join(columns)}, '{link}' FROM actors WHERE id = 'counter'"
        )
    old.execute("INSERT INTO aliases VALUES ('DEV', 'there', 'counter', 'jane', '', 0)")
    old.execute("INSERT INTO aliases VALUES ('OTHER', 'gone', 'counter', 'jane', '', 0)")
    old.commit()
    migrate(old)
    found = old.execute("SELECT id, link, json_extract(definition, '$.link') FROM actors")
    links = {row[0]: row[1:] for row in map(tuple, found) if row[0] in names}
    kept = {name: (link, link) for name, link in names.items()}
    assert links == {**kept, "dangling": ("", "")}


def test_a_step_leads_from_version_to_version_and_keeps_the_data(
    old: sqlite3.Connection,
) -> None:
    steps = (*MIGRATIONS, NEXT_STEP)
    migrate(old, steps)
    assert version(old) == len(steps)
    assert dict(old.execute("SELECT id, uses FROM badges").fetchall()) == {"counter": 1}
    migrate(old, steps)
    assert version(old) == len(steps)
    assert old.execute("SELECT count(*) FROM badges").fetchone()[0] == 1


def test_a_step_that_fails_leaves_the_version_before(old: sqlite3.Connection) -> None:
    migrate(old)
    before = shape(old)
    bad = (*NEXT_STEP, "INSERT INTO nowhere VALUES (1)")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(old, (*MIGRATIONS, bad))
    assert (version(old), shape(old)) == (len(MIGRATIONS), before)
    assert not old.in_transaction
    migrate(old, (*MIGRATIONS, NEXT_STEP))
    assert version(old) == len(MIGRATIONS) + 1


_DIE_IN_THE_MIDDLE = """
import os, signal, sqlite3, sys
from pathlib import Path
from backends.stores.sqlite.database import connect
from backends.stores.sqlite.schema import MIGRATIONS, migrate
from tests.unit.backends.test_sqlite_schema import NEXT_STEP

connection = connect(Path(sys.argv[1]), 5.0)
connection.execute("PRAGMA cache_size = 1")
connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
migrate(connection, (*MIGRATIONS, (*NEXT_STEP, "SELECT die()")))
"""


def test_a_death_between_the_statements_leaves_the_version_before(old_file: Path) -> None:
    died = subprocess.run(
        [sys.executable, "-c", _DIE_IN_THE_MIDDLE, str(old_file)],
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert died.returncode == -signal.SIGKILL
    with closing(connect(old_file, 5.0)) as connection:
        assert version(connection) == len(MIGRATIONS)
        assert "table badges" not in shape(connection)
        migrate(connection, (*MIGRATIONS, NEXT_STEP))
        assert dict(connection.execute("SELECT id, uses FROM badges").fetchall()) == {"counter": 1}


def test_two_that_migrate_at_once_take_turns(old_file: Path) -> None:
    barrier = threading.Barrier(4)

    def run() -> int:
        with closing(connect(old_file, 10.0)) as connection:
            barrier.wait()
            migrate(connection, (*MIGRATIONS, NEXT_STEP))
            return version(connection)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(run) for _ in range(4)]
    assert {future.result() for future in futures} == {len(MIGRATIONS) + 1}
    with closing(connect(old_file, 5.0)) as connection:
        assert connection.execute("SELECT count(*) FROM badges").fetchone()[0] == 1


async def test_a_database_of_a_newer_program_stops_the_start(old_file: Path) -> None:
    with closing(connect(old_file, 5.0)) as connection:
        migrate(connection, (*MIGRATIONS, NEXT_STEP))
        before = shape(connection)
    with pytest.raises(ConfigError, match="newer Abaco") as caught:
        async with open_database(old_file, 5.0):
            pass
    assert f"version {len(MIGRATIONS) + 1}" in caught.value.message
    with closing(connect(old_file, 5.0)) as connection:
        assert shape(connection) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE counters SET accepted = accepted + 1",
        "UPDATE mailboxes SET queued = -1",
        "UPDATE messages SET state = 'queued' WHERE state = 'leased'",
        "UPDATE messages SET state = 'lost'",
        "UPDATE actors SET create_time = 'noon'",
        "INSERT INTO counters VALUES (2, 0, 0, 0, 0)",
        "UPDATE messages SET execution_id = 'nobody'",
        "UPDATE permissions SET level = 4",
        "UPDATE permissions SET level = NULL",
        "INSERT INTO configs VALUES (1, '', 'c', '', 2, '', '', 0)",
        "INSERT INTO config_entries VALUES ('', '', '', 'nothing')",
        "INSERT INTO nonces VALUES ('n', '', '', '', '', '', -1, '', 0, '', 1, 0, 1, NULL, NULL)",
        "INSERT INTO nonces VALUES ('n', '', '', '', '', '', 1, '', 0, '', 1, 0, -2, NULL, NULL)",
    ],
)
def test_the_schema_itself_refuses_what_must_not_be(
    old: sqlite3.Connection, statement: str
) -> None:
    migrate(old)
    with pytest.raises(sqlite3.IntegrityError):
        old.execute(statement)
