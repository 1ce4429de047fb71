"""Durable intake and turn-over of the stores, on an empty and on a full queue.

Run: ``python -m tests.benchmarks.bench_store [--store sqlite|memory] [--seconds 3]``. Prints;
asserts nothing, and is no test.
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
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from abaco.domain.actor import Actor
from abaco.domain.worker import Worker, WorkerStatus
from abaco.ports.store import Claim, Stores
from backends.system import SystemClock
from tests.support.records import NOON, a_message, a_worker, an_actor, an_execution, an_outcome
from tests.support.stores import enqueue, opened

Call = Callable[[], Coroutine[Any, Any, bool]]

CALLERS = (1, 8, 64)
BACKLOGS = (0, 100_000)


async def submit(stores: Stores, actor: Actor) -> bool:
    execution = an_execution(actor)
    await enqueue(stores, execution, a_message(execution))
    return True


async def turn_over(stores: Stores, worker: Worker) -> bool:
    """Claim, mark running and finalize one message: the three writes of a run.

    False when there is none left.
    """
    claim = await stores.mailbox.claim(worker.key, worker.revision, NOON)
    if not isinstance(claim, Claim):
        return False
    key, attempt = claim.execution.key, claim.execution.attempt
    await stores.mailbox.mark_running(key, attempt, "c" * 64, NOON)
    await stores.mailbox.finalize(key, attempt, an_outcome(), now=NOON)
    return True


async def measure(name: str, calls: list[Call], seconds: float) -> None:
    """Run every call in a loop of its own until the time is over, or it has nothing to do."""
    samples_ms: list[float] = []
    end = time.perf_counter() + seconds

    async def repeat(call: Call) -> None:
        while (begin := time.perf_counter()) < end:
            if not await call():
                return
            samples_ms.append((time.perf_counter() - begin) * 1e3)

    begin = time.perf_counter()
    await asyncio.gather(*map(repeat, calls))
    took = time.perf_counter() - begin
    p95 = statistics.quantiles(samples_ms, n=20)[-1]
    print(
        f"{name:<46} {len(samples_ms) / took:>9.0f}/s   n={len(samples_ms):<7}"
        f" median {statistics.median(samples_ms):7.2f} ms   p95 {p95:7.2f} ms"
    )


async def fill(stores: Stores, actor: Actor, count: int) -> None:
    """Queue messages, many at a time."""
    for start in range(0, count, 1000):
        await asyncio.gather(*(submit(stores, actor) for _ in range(min(1000, count - start))))


async def ready_workers(stores: Stores, actor: Actor, count: int) -> list[Worker]:
    workers = [a_worker(actor, status=WorkerStatus.READY) for _ in range(count)]
    for worker in workers:
        await stores.workers.request(worker, limit=count)
    return workers


async def bench(stores: Stores, backlog: int, seconds: float) -> None:
    actor = an_actor()
    await stores.actors.insert(actor)
    await fill(stores, actor, backlog)
    for callers in CALLERS:
        calls: list[Call] = [partial(submit, stores, actor)] * callers
        await measure(f"submit, {callers} callers, {backlog} queued", calls, seconds)
    for callers in CALLERS:
        other = an_actor()
        await stores.actors.insert(other)
        await fill(stores, other, max(backlog, int(10_000 * seconds)))
        workers = await ready_workers(stores, other, callers)
        runs: list[Call] = [partial(turn_over, stores, worker) for worker in workers]
        await measure(f"claim+running+finalize, {callers} workers, {backlog} queued", runs, seconds)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--dir", type=Path, help="where the database goes; the disk matters")
    options = parser.parse_args()
    print(
        f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, store {options.store}"
    )
    for backlog in BACKLOGS:
        with tempfile.TemporaryDirectory(dir=options.dir) as directory:
            async with opened(options.store, Path(directory), SystemClock()) as stores:
                await bench(stores, backlog, options.seconds)


if __name__ == "__main__":
    asyncio.run(main())
