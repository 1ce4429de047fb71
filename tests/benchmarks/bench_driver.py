"""Containers through the driver beside the bare engine: its command line, and its plain API.

Run: ``python -m tests.benchmarks.bench_driver [--engine docker|podman] [--rounds 30]``, as root.
Private engines, network none. Prints; asserts nothing, and is no test.
"""

# ruff: noqa: T201 - a report on standard output is the point

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

from backends.drivers.engine import EngineDriver
from tests.support.drivers import Lab, read_all, settings
from tests.support.engines import ENGINES, Engine, PrivatePodman, running_engine, why_not

IMAGE = "abaco_test_shell"
#: prints the seconds since boot as its last act, with nothing after it but its exit
LAST_WORDS = "read up rest </proc/uptime; echo $up"

Samples = dict[str, list[float]]


def boot_ms() -> float:
    """Milliseconds since boot, on the clock of /proc/uptime (which tells hundredths)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


async def by_driver(driver: EngineDriver, rounds: int) -> Samples:
    """Measure the parts of a run through the driver, one after the other."""
    lab = Lab(driver)
    spec = await lab.spec()
    samples: Samples = {}

    def note(name: str, began: float) -> float:
        now = time.perf_counter()
        samples.setdefault(name, []).append((now - began) * 1000)
        return now

    for _ in range(rounds):
        began = at = time.perf_counter()
        slot = await driver.prepare(spec)
        at = note("prepare (look at the image)", at)
        running = await driver.dispatch(slot, lab.context("sleep 0.2; " + LAST_WORDS))
        note("dispatch (create and start)", at)
        output = asyncio.ensure_future(read_all(running))
        await running.wait()
        known_ms = boot_ms()
        at = time.perf_counter()
        said_ms = float(await output) * 1000
        samples.setdefault("exit known after the last words", []).append(known_ms - said_ms)
        at = note("rest of the output after the exit", at)
        await driver.remove(running.container_id)
        note("remove", at)
        samples.setdefault("whole run of a no-op", []).append(
            (time.perf_counter() - began) * 1000 - 200
        )
    return samples


async def at_once(driver: EngineDriver, rounds: int, width: int) -> float:
    """Return containers per second, create to remove, with so many at once."""
    lab = Lab(driver)

    async def lane(count: int) -> None:
        for _ in range(count):
            running = await lab.start("true")
            await running.wait()
            await driver.remove(running.container_id)

    began = time.perf_counter()
    await asyncio.gather(*(lane(rounds // width) for _ in range(width)))
    return rounds // width * width / (time.perf_counter() - began)


def command_line(engine: Engine) -> list[str]:
    """Return the engine's own ``run`` of a no-op."""
    run = ["run", "--rm", "--init", "--network=none", "--entrypoint=true"]
    if isinstance(engine, PrivatePodman):
        limits = [f"--ulimit={item.name}={item.soft}:{item.hard}" for item in engine.ulimits]
        return ["podman", *engine.options, *run, *limits, IMAGE]
    return ["docker", f"--host={engine.endpoint}", *run, IMAGE]


def by_command_line(engine: Engine) -> None:
    subprocess.run(command_line(engine), check=True, capture_output=True, env=engine.environment())


def by_plain_api(engine: Engine, body: dict[str, Any]) -> None:
    """Create, start, wait and remove with a new connection for each call."""
    made = engine.request(
        "POST", f"{engine.base}/containers/create", body=json.dumps(body).encode()
    )
    path = f"{engine.base}/containers/{made['Id']}"
    engine.request("POST", f"{path}/start")
    engine.request("POST", f"{path}/wait")
    engine.request("DELETE", path, query={"force": "true"})


def plain_body(engine: Engine) -> dict[str, Any]:
    if isinstance(engine, PrivatePodman):
        return {
            "image": IMAGE,
            "command": ["true"],
            "init": True,
            "netns": {"nsmode": "none"},
            "r_limits": [
                {"type": item.name, "soft": item.soft, "hard": item.hard} for item in engine.ulimits
            ],
        }
    return {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "Init": True}}


def timed(rounds: int, call: Callable[[], None]) -> list[float]:
    samples = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        samples.append((time.perf_counter() - began) * 1000)
    return samples


def line(name: str, samples: list[float], base_ms: float | None = None) -> None:
    """Print median and 95 %, and the ratio to another median."""
    median = statistics.median(samples)
    high = sorted(samples)[max(0, round(len(samples) * 0.95) - 1)]
    ratio = f"  {median / base_ms:5.2f}x" if base_ms else ""
    print(f"  {name:44} {median:8.1f} ms  p95 {high:8.1f} ms{ratio}")


async def measure(engine: Engine, rounds: int) -> None:
    driver = engine.driver(settings(), "bench")
    info = await driver.info()
    print(f"{info.driver} {info.version}, {rounds} rounds")
    parts = await by_driver(driver, rounds)
    run = await asyncio.to_thread(timed, rounds, lambda: by_command_line(engine))
    body = plain_body(engine)
    api = await asyncio.to_thread(timed, rounds, lambda: by_plain_api(engine, body))
    base_ms = statistics.median(run)
    line(f"bare: {info.driver} run", run)
    line("bare: plain API, create start wait remove", api, base_ms)
    for name, samples in parts.items():
        line(name, samples, base_ms if name.startswith(("whole", "dispatch")) else None)
    for width in (1, 4, 8):
        rate = await at_once(driver, rounds, width)
        print(f"  {width} at once through the driver: {rate:.1f} containers/s")
    await driver.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(ENGINES), action="append")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for kind in arguments.engine or sorted(ENGINES):
        if reason := why_not(kind):
            print(f"{kind}: {reason}")
            continue
        with running_engine(kind) as engine:
            asyncio.run(measure(engine, arguments.rounds))


if __name__ == "__main__":
    main()
