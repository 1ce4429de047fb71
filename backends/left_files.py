"""What containers leave in a directory: read without trust, and removed however it is nested.

A container writes there as whatever user it likes. So nothing is followed, waited for, or read
beyond a limit. Everything here runs in a thread.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from abaco.ports.ipc import LeftFile


def list_files(directory: Path) -> list[str]:
    """Return the names of what stands in a directory, sorted, without those with a dot in front."""
    with suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))  # noqa: PTH208 - names only
    return []


def read_file(directory: Path, name: str, max_bytes: int) -> LeftFile:
    """Read a plain file of at most so many bytes."""
    # without waiting for the other end of a pipe, and without following a link
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(directory / name, flags)
    except OSError as error:
        return LeftFile(name, None, f"it cannot be read: {error.strerror}")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return LeftFile(name, None, "it is no plain file")
        if status.st_size > max_bytes:
            return LeftFile(name, None, f"it has {status.st_size} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes)
    finally:
        os.close(descriptor)
    return LeftFile(name, data) if data else LeftFile(name, None, "it is empty")


def remove_tree(directory: Path) -> None:
    """Remove a directory with all that is in it; what cannot be removed stays."""
    try:
        shutil.rmtree(directory, ignore_errors=True)
    except RecursionError:
        _flatten(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _flatten(directory: Path) -> None:
    """Move directories of any depth up, until none is below another."""
    numbers = itertools.count()
    waiting = [directory]
    while waiting:
        parent = waiting.pop()
        with suppress(OSError), os.scandir(parent) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    continue
                raised = directory / f".abaco-{next(numbers)}"
                with suppress(OSError):
                    Path(entry.path).rename(raised)
                    waiting.append(raised)
