"""A flood of output, and the server's memory and other requests beside it.

Run: ``python -m tests.benchmarks.bench_flood [--engine docker|podman] [--megabytes 1000]
[--lines 1000000]``, as root. Private engines, network none. Prints; asserts nothing, and is no
test.
"""

# ruff: noqa: T201 - a report on standard output is the point

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

from tests.support.engines import ENGINES, Engine, running_engine, why_not
from tests.support.memory import Memory
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

SHELL = "abaco_test_shell"
#: seconds between two requests meanwhile
PAUSE_S = 0.01
#: longest a flood may take
PATIENCE_S = 600.0


def quantile(values: list[float], part: float) -> float:
    """Return the value that so large a part of them is below."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def disk_bytes(directory: Path) -> int:
    """Return what the largest file of an engine's directory takes: its copy of the output."""
    sizes = [0]
    for folder, _, names in os.walk(directory):
        for name in names:
            if "log" in name:
                try:
                    sizes.append((Path(folder) / name).stat().st_size)
                except FileNotFoundError:  # it was turned over meanwhile
                    continue
    return max(sizes)


def flood(engine: Engine, server: Server, what: str, script: str) -> None:
    """Let a program write, and ask for something else all the time."""
    actor = server.register(SHELL)
    server.ready(actor)
    waits_s: list[float] = []
    memory = Memory(server.pid)
    largest = 0
    with memory.watched():
        began = looked = time.monotonic()
        execution = server.send(actor, script)
        while True:
            asked = time.monotonic()
            status = server.execution(actor, execution)["status"]
            waits_s.append(time.monotonic() - asked)
            if status in {"COMPLETE", "ERROR"} or asked - began > PATIENCE_S:
                break
            if asked - looked > 1.0:
                looked, largest = asked, max(largest, disk_bytes(engine.directory))
            time.sleep(PAUSE_S)
        took_s = time.monotonic() - began
    milliseconds = [1000 * quantile(waits_s, part) for part in (0.5, 0.95, 0.99)]
    print(
        f"{what}: {status} after {took_s:.1f} s, {len(server.logs(actor, execution))} stored;"
        f" GET p50 {milliseconds[0]:.1f} p95 {milliseconds[1]:.1f} p99 {milliseconds[2]:.1f} ms"
        f" (n={len(waits_s)}); memory {memory.before_kb / 1024:.0f} MB, grew by"
        f" {memory.grown_mb:.1f} MB; engine's copy at most {largest / 1e6:.0f} MB"
    )
    server.call("DELETE", f"/actors/{actor}")


def main() -> None:
    """Measure every engine that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(ENGINES))
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs")
    for name in [options.engine] if options.engine else ENGINES:
        if reason := why_not(name):
            print(f"{name}: {reason}")
            continue
        with running_engine(name) as engine, tempfile.TemporaryDirectory() as directory:
            settings = settings_for(engine) | {"engine.network": "none"}
            with a_server(Path(directory), settings) as server:
                size = options.megabytes * 1_000_000
                bytes_script = f"yes {'x' * 99} | head -c {size}"
                flood(engine, server, f"{name}, {options.megabytes} MB", bytes_script)
                lines_script = f"seq {options.lines}"
                flood(engine, server, f"{name}, {options.lines} lines", lines_script)


if __name__ == "__main__":
    main()
