"""A flood of output or of results, and the server's memory and other requests beside it.

Run: ``python -m tests.benchmarks.bench_flood [--engine docker|podman] [--megabytes 1000]
[--lines 1000000] [--results 100000]``, as root. Private engines, network none. Prints; asserts
nothing, and is no test.
"""

# ruff: noqa: T201 - a report on standard output is the point

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

from tests.support.beside import asked_meanwhile
from tests.support.engines import ENGINES, Engine, running_engine, why_not
from tests.support.memory import Memory
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

SHELL = "abaco_test_shell"
PYTHON = "abaco_test_python"
#: what sends results that nobody reads
SEND = """
import socket
results = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
results.connect("/_abaco_results.sock")
for number in range({count}):
    results.send(b"%d" % number)
"""
#: longest a flood may take
PATIENCE_S = 600.0
FINAL = {"COMPLETE", "ERROR"}


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


def flood(engine: Engine, server: Server, what: str, actor: str, script: str) -> None:
    """Let a program write, and ask for something else all the time."""
    server.ready(actor)
    memory = Memory(server.pid)
    largest = 0
    with memory.watched(), asked_meanwhile(server, f"/actors/{actor}") as waits:
        began = time.monotonic()
        execution = server.send(actor, script)
        while (status := server.execution(actor, execution)["status"]) not in FINAL:
            if time.monotonic() - began > PATIENCE_S:
                break
            largest = max(largest, disk_bytes(engine.directory))
            time.sleep(1.0)
        took_s = time.monotonic() - began
    print(
        f"{what}: {status} after {took_s:.1f} s, {len(server.logs(actor, execution))} stored;"
        f" {waits}; memory {memory.before_kb / 1024:.0f} MB, grew by {memory.grown_mb:.1f} MB;"
        f" engine's copy at most {largest / 1e6:.0f} MB"
    )
    server.call("DELETE", f"/actors/{actor}")


def main() -> None:
    """Measure every engine that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(ENGINES))
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--results", type=int, default=100_000)
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
                for what, script in (
                    (f"{options.megabytes} MB", f"yes {'x' * 99} | head -c {size}"),
                    (f"{options.lines} lines", f"seq {options.lines}"),
                ):
                    flood(engine, server, f"{name}, {what}", server.register(SHELL), script)
                environment = {"SCRIPT": SEND.format(count=options.results)}
                sender = server.register(PYTHON, default_environment=environment)
                flood(engine, server, f"{name}, {options.results} results", sender, "x")


if __name__ == "__main__":
    main()
