"""What engines say about a container, read into one shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from abaco.domain.execution import IoDetail
from abaco.ports.driver import Exit
from backends.drivers.used import Used

#: engines write nanoseconds, sometimes with an offset instead of Z
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)?")

#: a container that was made but whose program never ran
_NEVER_STARTED = frozenset({"created", "configured", "initialized"})
_RUNNING = frozenset({"running", "paused", "restarting", "stopping"})


def engine_time(moment: datetime) -> str:
    """Spell a moment as ISO-8601 UTC text with milliseconds and ``Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def parse_time(text: str) -> datetime | None:
    """Read an engine's time; None for its zero value (year 1) and for no time at all."""
    match = _TIME.match(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    if int(day[:4]) <= 1:
        return None
    zone = "+00:00" if zone in (None, "Z") else zone
    fraction = (fraction or ".")[:7].ljust(7, "0")
    return datetime.fromisoformat(f"{day}T{clock}{fraction}{zone}").astimezone(UTC)


def is_running(status: str) -> bool:
    """Tell whether a status word means that the program has been started and not ended."""
    return status.lower() in _RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One look at a container. Times are None when the engine has none."""

    container_id: str
    labels: Mapping[str, str]
    #: the engine's state object
    state: Mapping[str, Any]
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def status(self) -> str:
        """The engine's status word."""
        return str(self.state.get("Status", "")).lower()

    @property
    def is_running(self) -> bool:
        """Whether its program runs."""
        return is_running(self.status)

    @property
    def was_started(self) -> bool:
        """Whether its program ever ran."""
        return self.status not in _NEVER_STARTED

    @property
    def pid(self) -> int:
        """Process id of its first process as the engine's host has it; 0 when there is none."""
        return int(self.state.get("Pid") or 0)

    @property
    def exit_code(self) -> int:
        """Exit code of the program; meaningless while it runs."""
        return int(self.state.get("ExitCode") or 0)


def read_inspection(answer: Mapping[str, Any]) -> Inspection:
    """Read an inspect answer; Docker's and Podman's have the same names in it."""
    state = answer.get("State") or {}
    return Inspection(
        container_id=str(answer["Id"]),
        labels=(answer.get("Config") or {}).get("Labels") or {},
        state=state,
        started_at=parse_time(str(state.get("StartedAt", ""))),
        finished_at=parse_time(str(state.get("FinishedAt", ""))),
    )


def read_exit(
    seen: Inspection,
    *,
    started_at: datetime,
    now: datetime,
    oom_killed: bool,
    exit_code: int | None,
    used: Used,
) -> Exit:
    """Describe the end of a container.

    Args:
        seen: The look after the end.
        started_at: For engines that forgot it.
        now: Taken as the end when the engine has no time for it.
        oom_killed: Whether memory ran out, by the engine's word or by ours.
        exit_code: The program's own; None when the engine lost it.
        used: What it used.

    """
    began = seen.started_at or started_at
    ended = max(began, seen.finished_at or now)
    raw = seen.state
    state = {
        # Podman calls it stopped until it has tidied up
        "Status": "dead" if seen.status == "dead" else "exited",
        "Running": False,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": oom_killed,
        "Dead": bool(raw.get("Dead")),
        "Pid": 0,
        "ExitCode": exit_code,
        "Error": str(raw.get("Error") or ""),
        "StartedAt": engine_time(began),
        "FinishedAt": engine_time(ended),
    }
    return Exit(
        exit_code=exit_code,
        oom_killed=oom_killed,
        started_at=began,
        finished_at=ended,
        state=state,
        cpu_ns=used.cpu_ns,
        io_bytes=used.io_bytes,
        io_detail=IoDetail(
            net_rx=used.net_rx_bytes,
            net_tx=used.net_tx_bytes,
            blk_read=used.blk_read_bytes,
            blk_write=used.blk_write_bytes,
        ),
        memory_peak_bytes=used.memory_peak_bytes,
    )
