"""Many actors: idle cost, a burst that starts a worker each, and turns on a full host.

    python -m tests.benchmarks.bench_scaling [ACTORS]

All agents over the sqlite store and a scripted engine, in one process: what is measured is what
Abaco adds. Processor seconds are those of the whole process, its store's threads included.
"""

from __future__ import annotations

import asyncio
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abaco.config import Settings
from abaco.domain.actor import Actor
from abaco.domain.execution import FINAL
from abaco.ports.notices import Topic
from abaco.settings import RuntimeSettings, SpawnerSettings, WorkersSettings
from backends.drivers.scripted import Act
from backends.registry import find_stores
from backends.system import SystemClock
from tests.support.house import House, an_engine
from tests.support.stores import store_settings

IDLE_S = 10.0
IDLE_GRACE_S = 20.0


@contextmanager
def measured(what: str) -> Iterator[None]:
    began_s, busy_s = time.monotonic(), time.process_time()
    yield
    wall_s, used_s = time.monotonic() - began_s, time.process_time() - busy_s
    percent = 100 * used_s / wall_s
    sys.stdout.write(
        f"{what:52} {wall_s:7.2f} s  {used_s:7.2f} s of processor ({percent:5.1f} %)\n"
    )


async def watch_loop(late_s: list[float]) -> None:
    while True:
        due_s = time.monotonic() + 0.02
        await asyncio.sleep(0.02)
        late_s.append(time.monotonic() - due_s)


async def burst(house: House, actors: list[Actor]) -> None:
    """Send one message to each actor and wait for all ends."""
    with house.services.notices.subscribe(Topic.EXECUTION) as notices:
        waiting = {await house.post(actor) for actor in actors}
        while waiting:
            await notices.wait()
            for key in waiting.intersection(notices.take()):
                if (await house.stores.executions.get(key)).status in FINAL:
                    waiting.discard(key)


async def nobody_left(house: House) -> None:
    """Wait until the last worker has retired."""
    with house.services.notices.subscribe(Topic.POOL) as notices:
        while await house.stores.workers.list_workers():
            await notices.wait()


async def measure(count: int, places: int, directory: Path) -> None:
    settings = Settings.model_validate(
        {
            **dict(store_settings(directory)),
            "spawner": SpawnerSettings(max_workers_per_host=places),
            "workers": WorkersSettings(init_count=0),
            "runtime": RuntimeSettings(idle_grace=IDLE_GRACE_S),
        }
    )
    engine = an_engine(Act(output=[b"hello\n", 0.05]))
    sys.stdout.write(f"\n{count} actors, {places} places\n")
    async with find_stores("sqlite")(settings, SystemClock()) as stores:
        house = House(stores, engine, settings)
        await house.start()
        actors = [await house.register() for _ in range(count)]
        late_s: list[float] = []
        watch = asyncio.create_task(watch_loop(late_s))
        with measured("one message to each, all final"):
            await burst(house, actors)
        with measured("another to each (workers idle where there is room)"):
            await burst(house, actors)
        points = statistics.quantiles(late_s, n=100)
        sys.stdout.write(
            f"loop lag meanwhile: p50 {points[49] * 1000:.1f} ms, p99 {points[98] * 1000:.1f} ms,"
            f" most {max(late_s) * 1000:.0f} ms\n"
        )
        watch.cancel()
        with measured("idle, workers waiting"):
            await asyncio.sleep(IDLE_GRACE_S / 4)
        await nobody_left(house)
        with measured("idle, no workers"):
            await asyncio.sleep(IDLE_S)
        await house.crash()
        with measured("start again, one message to the first actor"):
            await house.start()
            await burst(house, actors[:1])
        await house.crash()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    sys.stdout.write(f"{platform.platform()}, Python {platform.python_version()}\n")
    for places in (20, count):
        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(measure(count, places, Path(directory)))


if __name__ == "__main__":
    main()
