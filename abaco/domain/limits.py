"""Limits of containers: as clients write them, and what becomes of several."""

from __future__ import annotations

import re
from decimal import Decimal

from abaco.errors import InvalidInputError

#: written for "no limit"
UNLIMITED = "-1"

#: largest limit that engines can hold (signed 64 bit)
MAX_BYTES = 2**63 - 1

#: engines start no container with less. Source: Docker 20.10 and Podman 4 with runc
MIN_MEMORY_BYTES = 6 * 1024**2

#: the kernel's smallest share, 1 ms of each 100. Source: sched-bwc.rst of the kernel
MIN_NANO_CPUS = 10_000_000

#: the network of a container that is cut off
NO_NETWORK = "none"

#: in the kernel's order, those that every kernel has that can run an engine
#: Source: capabilities(7)
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
)  # fmt: skip

_MEMORY = re.compile(
    r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,9})?) ?(?:(?P<unit>[kmgtp])(?:i?b)?|b)?", re.IGNORECASE
)
_FACTOR = {unit: 1024**power for power, unit in enumerate("kmgtp", start=1)}


def parse_memory(text: str) -> int | None:
    """Read engine memory syntax: ``512m``, ``3g``, ``1.5GiB``, bytes without a unit.

    Returns:
        Bytes, or None for no limit (``-1``).

    Raises:
        InvalidInputError: Names the field ``mem_limit``.

    """
    if text.strip() == UNLIMITED:
        return None
    match = _MEMORY.fullmatch(text.strip())
    if match is not None:
        factor = _FACTOR[match["unit"].lower()] if match["unit"] else 1
        value = int(Decimal(match["number"]) * factor)
        if 0 < value <= MAX_BYTES:
            return value
    raise InvalidInputError(
        f"{text[:80]!r} is no memory limit; write for example 512m or 3g, or -1 for no limit",
        field="mem_limit",
    )


def check_memory(text: str) -> None:
    """Refuse a memory limit that no container could have.

    Raises:
        InvalidInputError: Names the field ``mem_limit``.

    """
    size = parse_memory(text)
    if size is not None and size < MIN_MEMORY_BYTES:
        raise InvalidInputError(
            "less memory than engines give a container; the least is 6m", field="mem_limit"
        )


def run_time_limit_s(wanted_s: int | None, cap_s: int) -> int | None:
    """Return the seconds a run may last; None for no limit.

    Args:
        wanted_s: The actor's own limit; None, or not above 0, for none.
        cap_s: The limit of all; not above 0 for none.

    """
    limits = [limit_s for limit_s in (wanted_s, cap_s) if limit_s is not None and limit_s > 0]
    return min(limits, default=None)


def check_run_time(wanted_s: int | None, cap_s: int) -> None:
    """Refuse an actor's own limit that the limit of all makes untrue.

    Raises:
        InvalidInputError: Names the field ``max_run_time``.

    """
    if wanted_s is None or cap_s <= 0:
        return
    if wanted_s < 0 or wanted_s > cap_s:
        raise InvalidInputError(f"runs end after {cap_s} seconds here", field="max_run_time")
