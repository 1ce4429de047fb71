"""Draw the lifecycle machines as they are.

Usage: python scripts/draw_lifecycle.py > docs/lifecycle.rst

Every stimulus is fed to every reachable machine, so what is written is what the tables do.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol

from abaco.domain.execution import Exit, HaltReason
from abaco.domain.worker import WorkerStatus
from abaco.lifecycle import execution, worker
from abaco.lifecycle.retry import RetryPolicy

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
#: steps from the beginning after which nothing new is found
DEPTH = 7

HEAD = """\
Lifecycles
==========

Drawn from the tables in ``abaco/lifecycle`` by ``scripts/draw_lifecycle.py``; a test compares. A
stimulus that is not listed for a status is a bug of ours, and raises with the last steps.
"""


class Machine(Protocol):
    """What both machines share."""

    def handle(self, stimulus: Any) -> list[Any]:
        """Take a stimulus."""
        ...


def ended(code: int) -> execution.Exited:
    """Build the stimulus of an ended container."""
    return execution.Exited(
        Exit(exit_code=code, oom_killed=False, started_at=NOON, finished_at=NOON, state={})
    )


ATTEMPT_STIMULI = (
    execution.Started("c", NOON),
    execution.StartFailed("reason"),
    execution.ContextRefused("reason"),
    execution.EngineLost(),
    execution.ContainerLost(),
    execution.HaltRequested(HaltReason.FORCE_QUIT),
    ended(0),
    ended(137),
    execution.StopFailed("reason"),
    execution.LogCompleted(),
    execution.Settled(),
)

WORKER_STIMULI = (
    worker.Spawned(),
    worker.ActorChecked(),
    worker.ImageReady(),
    worker.Prepared(),
    worker.ActorAnnounced(),
    worker.StartFailed("reason"),
    worker.Claimed(),
    worker.RunSettled(),
    worker.DrainRequested(),
    worker.Retired(),
    worker.CalledBack(),
    worker.Overruled(),
    worker.RecordDeleted(),
)


def explore(
    machines: Iterable[Machine],
    stimuli: Sequence[object],
    known: Iterable[tuple[Enum, type]],
    status: Callable[[Any], Enum],
) -> dict[tuple[Enum, str, str], set[str]]:
    """Return (status, stimulus, next status) -> instructions, of all that can happen."""
    pairs = set(known)
    found: dict[tuple[Enum, str, str], set[str]] = {}
    front = list(machines)
    for _ in range(DEPTH):
        following: dict[str, Machine] = {}
        for machine in front:
            before = status(machine)
            for stimulus in stimuli:
                if (before, type(stimulus)) not in pairs:
                    continue
                after = copy.deepcopy(machine)
                done = [type(one).__name__ for one in after.handle(stimulus)]
                key = (before, type(stimulus).__name__, str(status(after).value))
                found.setdefault(key, set()).update(done or ["nothing"])
                state = {
                    name: value for name, value in vars(after).items() if "journal" not in name
                }
                following[repr(state)] = after
        front = list(following.values())
    return found


def render(title: str, order: Sequence[Enum], found: dict[tuple[Enum, str, str], set[str]]) -> str:
    """Write one machine as a table."""
    rows = [("status", "stimulus", "next", "asks for")]
    rows += [
        (str(before.value), stimulus, after, ", ".join(sorted(found[before, stimulus, after])))
        for before, stimulus, after in sorted(
            found, key=lambda key: (order.index(key[0]), key[1], key[2])
        )
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    rule = " ".join("=" * width for width in widths)
    lines = [
        " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    body = [rule, lines[0], rule, *lines[1:], rule]
    return "\n".join(["", title, "-" * len(title), "", *body, ""])


def draw() -> str:
    """Return the whole page."""
    policy = RetryPolicy(max_start_failures=1, start_backoff_s=1, max_attempts=2)
    attempts = [
        execution.AttemptMachine(policy, start_failures=failures, losses=losses)
        for failures in (0, 1)
        for losses in (0, 1)
    ]
    workers = [worker.WorkerMachine(), worker.WorkerMachine(WorkerStatus.BUSY)]
    return (
        HEAD
        + render(
            "An attempt to run a message",
            list(execution.Phase),
            explore(attempts, ATTEMPT_STIMULI, execution.TABLE, lambda machine: machine.phase),
        )
        + render(
            "A worker",
            list(WorkerStatus),
            explore(workers, WORKER_STIMULI, worker.TABLE, lambda machine: machine.status),
        )
    )


if __name__ == "__main__":
    sys.stdout.write(draw())
