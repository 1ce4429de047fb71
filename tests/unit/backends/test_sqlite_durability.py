"""What was acknowledged is there after the process was killed, and nothing is half there."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest

from abaco.domain.actor import ActorKey
from abaco.domain.execution import FINAL
from abaco.domain.ids import ActorId, ExecutionId
from tests.support.records import TENANT, SteppedClock
from tests.support.stores import check_conservation, opened, store_settings

ACTOR = ActorKey(TENANT, ActorId("victim"))

_VICTIM = """
import asyncio, os, sys
from pathlib import Path
from abaco.domain.ids import ActorId
from abaco.errors import ConflictError
from abaco.ports.store import Claim
from tests.support.records import (
    NOON, SteppedClock, a_message, an_actor, an_execution, an_outcome, at,
)
from tests.support.stores import add_worker, enqueue, opened

def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())

async def submit(stores, actor, prefix):
    number = 0
    while True:
        execution = an_execution(
            actor, id=f"{prefix}-{number}", message_received_time=at(number)
        )
        await enqueue(stores, execution, a_message(execution, body="x" * 300))
        say("accepted", execution.id)
        number += 1

async def work(stores, actor, name):
    worker = await add_worker(stores, actor, id=name)
    while True:
        taken = await stores.mailbox.claim(worker.key, 1, NOON)
        if not isinstance(taken, Claim):
            await asyncio.sleep(0.001)
            continue
        key, attempt = taken.execution.key, taken.execution.attempt
        say("claimed", key.id)
        await stores.logs.append(key, 0, b"output", max_bytes=99, expires_at=None)
        say("logged", key.id)
        await stores.mailbox.finalize(key, attempt, an_outcome(), now=NOON)
        say("ended", key.id)

async def main(directory, run):
    async with opened("sqlite", directory, SteppedClock()) as stores:
        actor = an_actor(id=ActorId("victim"))
        try:
            await stores.actors.insert(actor)
        except ConflictError:
            pass
        say("ready")
        await asyncio.gather(
            *(submit(stores, actor, f"{run}-{n}") for n in range(6)),
            *(work(stores, actor, f"{run}-{n}") for n in range(3)),
        )

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def _run_and_kill(directory: Path, run: str, after_s: float) -> list[list[str]]:
    """Let a process use the store, kill it, and return what it said."""
    with subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(directory), run],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after_s)  # the moment of death must not depend on what the process does
        process.kill()
        said = process.stdout.read()
        assert process.wait() == -signal.SIGKILL
    lines = said.splitlines(keepends=True)
    return [line.split() for line in lines if line.endswith("\n")]


def _check_rows(path: Path) -> None:
    """Hold the rows against each other, beneath the store."""
    with closing(sqlite3.connect(path)) as connection:

        def one(sql: str) -> int:
            return int(connection.execute(sql).fetchone()[0])

        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        executions = one("SELECT count(*) FROM executions")
        live = one("SELECT count(*) FROM executions WHERE finish_time IS NULL")
        leased = one("SELECT count(*) FROM messages WHERE state = 'leased'")
        assert one("SELECT count(*) FROM messages") == live
        assert (
            one(
                "SELECT count(*) FROM messages AS m JOIN executions AS e ON e.tenant = m.tenant"
                " AND e.actor_id = m.actor_id AND e.id = m.execution_id AND e.message_seq = m.seq"
                " AND (e.worker_id IS NOT NULL) = (m.state = 'leased')"
            )
            == live
        )
        assert connection.execute(
            "SELECT accepted, queued, leased, final FROM counters"
        ).fetchall() == [(executions, live - leased, leased, executions - live)]
        assert connection.execute(
            "SELECT executions, queued, leased, last_seq FROM mailboxes"
        ).fetchall() == [(executions, live - leased, leased, executions)]
        assert one("SELECT count(*) FROM log_chunks") == one("SELECT count(*) FROM logs")


async def _check_words(directory: Path, said: list[list[str]]) -> None:
    """Hold the store against what the dead process was told."""
    told: defaultdict[str, set[ExecutionId]] = defaultdict(set)
    for word, name in said:
        told[word].add(ExecutionId(name))
    async with opened("sqlite", directory, SteppedClock()) as stores:
        stored = {
            each.id: each for each in await stores.executions.list_executions(ACTOR, limit=10**6)
        }
        assert told["accepted"] <= set(stored)
        assert all(stored[each].attempt == 1 for each in told["claimed"])
        assert all(stored[each].status in FINAL for each in told["ended"])
        for each in told["logged"]:
            assert (await stores.logs.read(stored[each].key)).data == b"output"
        await check_conservation(stores)


@pytest.mark.timeout(120)
async def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    said: list[list[str]] = []
    for run in range(5):
        said += _run_and_kill(tmp_path, str(run), random.uniform(0.05, 0.5))
        _check_rows(store_settings(tmp_path).database_path)
        await _check_words(tmp_path, said)
    assert sum(word == "accepted" for word, _ in said) > 100
    assert sum(word == "ended" for word, _ in said) > 20
