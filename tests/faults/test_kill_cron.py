"""The server killed while it fires schedules: every slot fires once all the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from abaco.domain.actor import Actor
from abaco.domain.cron import Cron
from abaco.domain.ids import Tenant
from abaco.ports.store import Stores
from backends.stores.sqlite.database import connect
from backends.system import SystemClock
from tests.support.records import an_actor
from tests.support.server import Server, a_server
from tests.support.stores import check_conservation, opened, store_settings

T = TypeVar("T")

#: enough that kills strike in their middle
COUNT = 600
#: after so many the server is left in peace
KILLS = 6
STEP = timedelta(hours=1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = {"engine.driver": "scripted", "spawner.max_workers_per_host": "1"}
    with a_server(tmp_path, settings) as server:
        yield server


def with_stores(server: Server, work: Callable[[Stores], Awaitable[T]]) -> T:
    """Do something in the stores of a server that is not running."""
    assert not server.is_running

    async def run() -> T:
        async with opened("sqlite", server.directory / "data", SystemClock()) as stores:
            return await work(stores)

    return asyncio.run(run())


def fired(server: Server) -> dict[str, int]:
    """How often each schedule fired, read while the server may run."""
    path = store_settings(server.directory / "data").database_path
    with closing(connect(path, 10.0, can_write=False)) as connection:
        rows = connection.execute(
            "SELECT actor_id, count(*) FROM executions WHERE executor = 'cron' GROUP BY actor_id"
        )
        return {row[0]: row[1] for row in rows}


def overdue_actors(image: str, late: timedelta) -> list[Actor]:
    """Actors whose hourly schedule has not been served for long."""
    # the next one after all of them is half an hour from now
    slot = (datetime.now(UTC) - late - timedelta(minutes=30)).replace(second=0, microsecond=0)
    cron = Cron(schedule="now + 1 hour", is_on=True, given_at=slot, next_at=slot)
    return [an_actor(tenant=Tenant("DEV"), image=image, cron=cron) for _ in range(COUNT)]


def test_kills_among_overdue_slots_lose_and_double_none(server: Server) -> None:
    server.stop()
    actors = overdue_actors("abaco_test", timedelta(days=3))

    async def insert(stores: Stores) -> None:
        await asyncio.gather(*(stores.actors.insert(actor) for actor in actors))

    with_stores(server, insert)
    seen: list[int] = []
    for number in range(KILLS):
        server.start()
        time.sleep(0.02 * number)
        server.kill()
        counts = fired(server)
        assert set(counts.values()) <= {1}
        seen.append(len(counts))
        assert seen == sorted(seen), "a slot that had fired is gone"
    assert any(0 < count < COUNT for count in seen), f"no kill struck among the slots: {seen}"
    server.start()
    server.until(lambda: len(fired(server)) == COUNT, "every slot")
    server.kill()
    assert fired(server) == {actor.id: 1 for actor in actors}

    async def check(stores: Stores) -> None:
        now = datetime.now(UTC)
        for actor in actors:
            cron = (await stores.actors.get(actor.key)).cron
            assert cron is not None
            assert cron.next_at is not None
            assert now - timedelta(minutes=5) < cron.next_at <= now + STEP
            (execution,) = await stores.executions.list_executions(actor.key)
            assert cron.last_execution == execution.id
        await check_conservation(stores)

    with_stores(server, check)


def test_a_slot_that_comes_while_the_server_is_dead_is_served_at_its_start(server: Server) -> None:
    actor = server.register("abaco_test", cron_schedule="now + 1 hour")
    server.until(lambda: len(server.executions(actor)) == 1, "the first slot")
    server.until_final(actor, server.executions(actor)[0]["id"])
    server.kill()

    async def move_back(stores: Stores) -> Any:
        """Make the last five hours ones in which nobody served."""
        (present,) = await stores.actors.list_actors()
        assert present.cron is not None
        assert present.cron.next_at is not None
        moved = present.cron.next_at - 6 * STEP
        return await stores.cron.advance(
            present.key, expect_next=present.cron.next_at, new_next=moved
        )

    assert with_stores(server, move_back)
    server.start()
    server.until(lambda: len(server.executions(actor)) == 2, "the slots that were missed")
    shown = server.actor(actor)["cron_next_ex"]
    server.kill()
    server.start()
    assert server.actor(actor)["cron_next_ex"] == shown
    for execution in server.executions(actor):
        done = server.until_final(actor, execution["id"])
        assert (done["status"], done["executor"]) == ("COMPLETE", "cron")
    assert len(server.executions(actor)) == 2
    text = server.raw("GET", "/metrics").data.decode()
    assert "abaco_cron_lag_seconds_bucket" in text
