"""Asks a server for something else all the time, while somebody keeps it busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.server import Server

#: seconds between two requests
PAUSE_S = 0.02
#: longest a request may take where others use the machine as well; alone it takes a hundredth
BOUND_S = 5.0


@dataclass
class Waits:
    """How long answers took, in seconds, and what was answered instead of 200."""

    all_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def quantile_ms(self, part: float) -> float:
        """Return the milliseconds that so large a part of the answers took at most."""
        return 1000 * sorted(self.all_s)[min(len(self.all_s) - 1, int(part * len(self.all_s)))]

    def check(self) -> None:
        """See that every request was answered, and soon."""
        assert not self.wrong, self.wrong
        assert self.all_s
        assert self.quantile_ms(0.99) < 1000 * BOUND_S, self

    def __str__(self) -> str:
        middle, most, nearly_all = (self.quantile_ms(part) for part in (0.5, 0.95, 0.99))
        return (
            f"GET p50 {middle:.1f} p95 {most:.1f} p99 {nearly_all:.1f}"
            f" max {self.quantile_ms(1.0):.1f} ms (n={len(self.all_s)})"
        )


@contextmanager
def asked_meanwhile(server: Server, path: str = "/actors?limit=1") -> Iterator[Waits]:
    """Ask again and again, from a thread, until the block is left; what it found is whole then."""
    waits = Waits()
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set() or not waits.all_s:
            began = time.monotonic()
            try:
                status = server.raw("GET", path).status
            except Exception as error:  # noqa: BLE001 - the test is told, whatever it is
                waits.wrong.append(repr(error))
                return
            waits.all_s.append(time.monotonic() - began)
            if status != 200:
                waits.wrong.append(f"{status} after {len(waits.all_s)} answers")
            is_over.wait(PAUSE_S)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield waits
    finally:
        is_over.set()
        asking.join()


@contextmanager
def others_go_on(server: Server, image: str = "abaco_test_echo") -> Iterator[Waits]:
    """Demand that another actor runs its messages, and that the API answers soon, meanwhile."""
    actor = server.register(image)
    server.ready(actor)
    logs: list[str] = []
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.is_set() or not logs:
            execution = server.send(actor, "still here")
            server.until_final(actor, execution)
            logs.append(server.logs(actor, execution))
            is_over.wait(PAUSE_S)

    neighbour = threading.Thread(target=go_on)
    try:
        with asked_meanwhile(server) as waits:
            neighbour.start()
            yield waits
            is_over.set()
            neighbour.join(120)
    finally:
        is_over.set()
    assert logs
    assert all("Contents of MSG: still here\n" in log for log in logs)
    waits.check()
    server.call("DELETE", f"/actors/{actor}")
