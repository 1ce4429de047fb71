"""Typical searches among many actors and executions, and intake beside a slow one.

Run: ``python -m tests.benchmarks.bench_search [--actors 10000] [--executions 100000]``. Everything
belongs to one user, who sees all of it: the dearest case. Prints; asserts nothing, and is no test.
"""

# ruff: noqa: T201 - a report on standard output is the point

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from abaco.domain.actor import Actor
from abaco.domain.search import SearchKind, SearchScope, parse_query
from abaco.ports.store import Stores
from backends.registry import find_stores
from backends.system import SystemClock
from tests.support.records import OWNER, TENANT, a_message, an_actor, an_execution, an_outcome, at
from tests.support.stores import enqueue, store_settings

#: what is asked, in one actor or (False) in all that can be seen
QUESTIONS: tuple[tuple[SearchKind, bool, Mapping[str, str]], ...] = (
    (SearchKind.ACTORS, False, {}),
    (SearchKind.ACTORS, False, {"name": "actor 77"}),
    (SearchKind.ACTORS, False, {"default_environment.NUMBER": "77"}),
    (SearchKind.ACTORS, False, {"image.like": "image/[0-9]7$"}),
    (SearchKind.ACTORS, False, {"search": "seventy image"}),
    (SearchKind.EXECUTIONS, True, {"limit": "100"}),
    (SearchKind.EXECUTIONS, True, {"status": "COMPLETE", "limit": "10"}),
    (SearchKind.EXECUTIONS, True, {"final_state.StartedAt.gt": "2024"}),
    (SearchKind.EXECUTIONS, False, {"limit": "100"}),
    (SearchKind.EXECUTIONS, False, {"status": "ERROR"}),
    (SearchKind.EXECUTIONS, False, {"message_received_time.between": "2024-02-29,2024-02-29T13"}),
    (SearchKind.EXECUTIONS, False, {"final_state.ExitCode": "0"}),
    (SearchKind.EXECUTIONS, False, {"exactsearch": "unheard of"}),
    (SearchKind.LOGS, True, {"exactsearch": "line 7"}),
    (SearchKind.LOGS, False, {"exactsearch": "line 7"}),
)


async def fill(stores: Stores, actor_count: int, execution_count: int) -> list[Actor]:
    """Register actors and run messages; each hundredth execution has a log."""
    actors = [
        an_actor(
            name=f"actor {number}",
            image=f"image/{number % 100}",
            description="seventy seven" if number % 77 == 0 else "some words that describe it",
            default_environment={"NUMBER": str(number)},
            create_time=at(number),
        )
        for number in range(actor_count)
    ]
    for start in range(0, actor_count, 1000):
        await asyncio.gather(*map(stores.actors.insert, actors[start : start + 1000]))

    async def run(number: int) -> None:
        # half of all executions are the first actor's
        actor = actors[0 if number % 2 else number % actor_count]
        execution = an_execution(actor, message_received_time=at(number))
        await enqueue(stores, execution, a_message(execution))
        if number % 100 == 0:
            text = b"".join(b"line %d of the output\n" % line for line in range(50))
            await stores.logs.append(execution.key, 0, text, max_bytes=10**6, expires_at=None)

    for start in range(0, execution_count, 1000):
        await asyncio.gather(*map(run, range(start, min(start + 1000, execution_count))))
    outcome = an_outcome(
        final_state={"Status": "exited", "ExitCode": 0, "StartedAt": "2024-02-29T12:00:00.000Z"}
    )
    for start in range(0, actor_count, 1000):
        some = actors[start : start + 1000]
        await asyncio.gather(*(stores.mailbox.purge(actor.key, outcome) for actor in some))
    return actors


async def measure(stores: Stores, actor: Actor, rounds: int) -> None:
    for kind, is_below, parameters in QUESTIONS:
        scope = SearchScope(
            kind=kind, tenant=TENANT, user=OWNER, actor_id=actor.id if is_below else None
        )
        query = parse_query({key: [text] for key, text in parameters.items()})
        samples_ms = []
        for _ in range(rounds):
            begin = time.perf_counter()
            page = await stores.search.search(scope, query)
            samples_ms.append((time.perf_counter() - begin) * 1e3)
        asked = "&".join(f"{key}={text}" for key, text in parameters.items())
        place = f"{kind}{' of one' if is_below else ''}"
        print(
            f"{place:<18} {asked:<58} found {page.total:>6}"
            f"   median {statistics.median(samples_ms):8.1f} ms   max {max(samples_ms):8.1f} ms"
        )


async def intake(stores: Stores, actor: Actor, seconds: float, *, beside: str) -> None:
    """Submit one message after the other, with a slow search going on or not."""
    scope = SearchScope(kind=SearchKind.EXECUTIONS, tenant=TENANT, user=OWNER)
    slow = parse_query({"exactsearch": ["unheard of"]})
    end = time.perf_counter() + seconds
    samples_ms = []

    async def search() -> None:
        while beside and time.perf_counter() < end:
            await stores.search.search(scope, slow)

    async def submit() -> None:
        while (begin := time.perf_counter()) < end:
            execution = an_execution(actor, message_received_time=at(10**6))
            await enqueue(stores, execution, a_message(execution))
            samples_ms.append((time.perf_counter() - begin) * 1e3)

    await asyncio.gather(search(), submit())
    p95 = statistics.quantiles(samples_ms, n=20)[-1]
    print(
        f"submit, one caller, {beside or 'nothing'} beside it: n={len(samples_ms)}"
        f" median {statistics.median(samples_ms):.2f} ms, p95 {p95:.2f} ms"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=10_000)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--store", default="sqlite")
    options = parser.parse_args()
    print(
        f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, google-re2 {version('google-re2')},"
        f" store {options.store}, {options.actors} actors, {options.executions} executions"
    )
    with tempfile.TemporaryDirectory() as directory:
        clock = SystemClock()
        settings = store_settings(
            Path(directory), backend=options.store, timeout_s=300, search_timeout_s=300
        )
        async with find_stores(options.store)(settings, clock) as stores:
            actors = await fill(stores, options.actors, options.executions)
            await measure(stores, actors[0], options.rounds)
            await intake(stores, actors[1], options.seconds, beside="")
            await intake(stores, actors[1], options.seconds, beside="a slow search")


if __name__ == "__main__":
    asyncio.run(main())
