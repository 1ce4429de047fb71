"""Large messages in and many results out, with the server's memory beside them.

Run: ``python -m tests.benchmarks.bench_binary [--engine docker|podman] [--megabytes 300]
[--results 5000]``, as root. Private engines, network none. Prints; asserts nothing, and is no
test.
"""

# ruff: noqa: T201 - a report on standard output is the point

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abaco import actors
from tests.support.engines import ENGINES, running_engine, why_not
from tests.support.memory import Memory
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

PYTHON = "abaco_test_python"
RESULT_BYTES = 131_072

READ = """
import hashlib, os, socket
digest = hashlib.sha256()
with open("/_abaco_binary_data", "rb") as message:
    while piece := message.read(1 << 20):
        digest.update(piece)
print(digest.hexdigest())
"""

#: the SDK's own reader, which returns the whole message
READ_WITH_SDK = f"""{Path(actors.__file__).read_text()}
import hashlib
print(hashlib.sha256(get_binary_message()).hexdigest())
"""

SEND = """
import os, socket, time
results = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
results.connect("/_abaco_results.sock")
piece = os.urandom(131068)
began = time.monotonic()
for number in range(int(open("/_abaco_binary_data").read())):
    results.send(number.to_bytes(4, "big") + piece)
print(time.monotonic() - began)
"""


@contextmanager
def told(memory: Memory, what: str) -> Iterator[None]:
    """Tell how the memory grew meanwhile."""
    with memory.watched():
        yield
    before_mb = memory.before_kb / 1024
    print(f"{what}: server's memory {before_mb:.0f} MB, grew by {memory.grown_mb:.1f} MB at most")


def large_message(server: Server, memory: Memory, megabytes: int, script: str = READ) -> None:
    """Post a large message, and let a container read it."""
    block = random.randbytes(1 << 20)
    actor = server.register(PYTHON, default_environment={"SCRIPT": script})
    server.ready(actor)
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as file:
        for number in range(megabytes):
            piece = number.to_bytes(4, "big") + block[4:]
            digest.update(piece)
            file.write(piece)
        file.seek(0)
        with told(memory, f"a message of {megabytes} MB"):
            began = time.monotonic()
            size = str(megabytes << 20)
            execution = server.upload(actor, file, **{"Content-Length": size})["execution_id"]
            seconds = time.monotonic() - began
            done = server.until_final(actor, execution)
    seen = server.logs(actor, execution).strip()
    print(f"  posted in {seconds:.2f} s, {megabytes / seconds:.0f} MB/s")
    is_same = seen == digest.hexdigest()
    print(f"  read in the container, exit {done['exit_code']}, same SHA-256: {is_same}")


def many_results(server: Server, memory: Memory, count: int) -> None:
    """Let a container send many results of the largest size, then read them all."""
    actor = server.register(PYTHON, default_environment={"SCRIPT": SEND})
    server.ready(actor)
    with told(memory, f"{count} results of {RESULT_BYTES} bytes"):
        execution = server.upload(actor, str(count).encode())["execution_id"]
        done = server.until_status(actor, execution, "COMPLETE", "ERROR", patience_s=900)
    seconds = float(server.logs(actor, execution))
    rate = count * RESULT_BYTES / seconds / 1e6
    print(f"  sent in {seconds:.2f} s, {rate:.0f} MB/s, {done['status']}")
    began = time.monotonic()
    numbers = [int.from_bytes(data[:4], "big") for data in server.results(actor, execution)]
    seconds = time.monotonic() - began
    is_whole = numbers == list(range(count))
    print(f"  read in {seconds:.2f} s; all there and in order: {is_whole}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(ENGINES))
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--results", type=int, default=5000)
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} CPUs")
    for name in [options.engine] if options.engine else sorted(ENGINES):
        if reason := why_not(name):
            print(f"{name}: {reason}")
            continue
        print(f"== {name}")
        with (
            running_engine(name) as engine,
            tempfile.TemporaryDirectory() as directory,
            a_server(Path(directory), settings_for(engine)) as server,
        ):
            memory = Memory(server.pid)
            large_message(server, memory, 5)  # brings in what is imported late
            large_message(server, memory, options.megabytes)
            print("the same with get_binary_message of the SDK")
            large_message(server, memory, options.megabytes, READ_WITH_SDK)
            many_results(server, memory, options.results)


if __name__ == "__main__":
    main()
