"""The name of this run of the tests, by which it is found what the run has left."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

#: of no other run; short, because paths of sockets must be
NAME = secrets.token_hex(3)
#: the variable that every process a test starts has
VARIABLE = "ABACO_TEST_SESSION"
#: where engines are; their sockets' paths must be short, so it is not below anything
ENGINES = Path(tempfile.gettempdir())
#: control group above all containers of the run, where the engine can be told one
GROUP = f"/abaco-test-{NAME}"


def engine_directory(kind: str) -> Path:
    """Make a directory of a private engine."""
    directory = ENGINES / f"ab-{kind[:1]}-{NAME}{secrets.token_hex(2)}"
    directory.mkdir(mode=0o700)
    return directory


def is_engines(text: str) -> bool:
    """Tell whether a text names the directory of an engine of this run."""
    return any(f"{ENGINES}/ab-{kind}-{NAME}" in text for kind in "dp")


def is_tied(process: Path, is_place: Callable[[str], bool]) -> bool:
    """Tell whether a process (in /proc) has a place in its command, or in mounts of its own."""
    if is_place((process / "cmdline").read_text(errors="replace")):
        return True
    ours, its = (path / "ns" / "mnt" for path in (Path("/proc/self"), process))
    return ours.stat().st_ino != its.stat().st_ino and is_place((process / "mountinfo").read_text())


def mark_children() -> None:
    """Let every process that is started from now on carry the name."""
    os.environ[VARIABLE] = NAME
