"""Scripts for the fake engine: what each container does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from abaco.domain.context import RESULTS_SOCKET
from abaco.domain.execution import IoDetail
from abaco.ports.driver import Context, Slot

SIGTERM_CODE = 143
SIGKILL_CODE = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What one container does, from dispatch to its end.

    Attributes:
        output: Bytes it prints, in order; a number between them is a pause in seconds.
        results: What it sends through its results socket as it starts.
        exit_code: Its exit code when nobody stops it.
        oom_killed: Whether the engine says that memory ran out.
        cpu_ns: What it used, with ``io_detail`` and ``memory_peak_bytes``.
        until_stopped: It runs until stopped, or until ``ScriptedEngine.finish`` is called.
        ignores_term: Only SIGKILL ends it.
        start_delay_s: Seconds dispatch takes.
        start_error: Text of a StartFailedError raised instead of starting.
        reply_lost: It starts, but the engine's answer never comes (EngineUnavailableError).

    """

    output: Sequence[bytes | float] = ()
    results: Sequence[bytes] = ()
    exit_code: int = 0
    oom_killed: bool = False
    cpu_ns: int = 0
    io_detail: IoDetail = field(default_factory=IoDetail)
    memory_peak_bytes: int = 0
    until_stopped: bool = False
    ignores_term: bool = False
    start_delay_s: float = 0.0
    start_error: str | None = None
    reply_lost: bool = False


Play = Act | Callable[[Slot, Context], Act]


def print_message(slot: Slot, context: Context) -> Act:
    """Print the message and the environment, one ``NAME=value`` a line, and end well."""
    lines = [f"Contents of MSG: {context.environment.get('MSG', '')}", "Environment:"]
    lines += [f"{name}={value}" for name, value in sorted(context.environment.items())]
    return Act(output=["\n".join(lines).encode() + b"\n"])


async def send_results(context: Context, results: Sequence[bytes]) -> None:
    """Send results as a program in the container would."""
    (path,) = [bind.host_path for bind in context.binds if bind.container_path == RESULTS_SOCKET]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(path)
        for result in results:
            await asyncio.get_running_loop().sock_sendall(sender, result)


#: by the beginning of the image's last path component; anything else prints its message
DEFAULT_PLAYS: Mapping[str, Play] = {
    "fail": Act(output=[b"failing\n"], exit_code=3),
    "oom": Act(output=[b"eating\n"], exit_code=SIGKILL_CODE, oom_killed=True),
    "sleep": Act(output=[b"sleeping\n"], until_stopped=True),
    "stubborn": Act(output=[b"sleeping\n"], until_stopped=True, ignores_term=True),
    "nostart": Act(start_error="exec format error"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Decides what every container does.

    Attributes:
        plays: By the beginning of the image's last path component, longest first.
        missing: Names that begin so can neither be found nor pulled.
        pull_delay_s: Seconds a pull takes.

    """

    plays: Mapping[str, Play] = field(default_factory=lambda: DEFAULT_PLAYS)
    otherwise: Play = print_message
    missing: tuple[str, ...] = ("missing",)
    pull_delay_s: float = 0.0

    def act(self, slot: Slot, context: Context) -> Act:
        """Return the act of the container that is about to start."""
        name = _last_component(slot.spec.image.reference)
        found = [prefix for prefix in self.plays if name.startswith(prefix)]
        play = self.plays[max(found, key=len)] if found else self.otherwise
        return play if isinstance(play, Act) else play(slot, context)

    def is_missing(self, reference: str) -> bool:
        """Tell whether no registry has the image."""
        return _last_component(reference).startswith(self.missing)


def _last_component(reference: str) -> str:
    return reference.rpartition("/")[2]
