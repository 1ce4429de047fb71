"""What containers leave in a directory: read without trust, and removed however it is nested.

A container writes there as whatever user it likes. So nothing is followed, waited for, or read
beyond a limit, and no device is opened. Everything here runs in a thread.
"""

from __future__ import annotations

import heapq
import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from abaco.ports.ipc import LeftFile, LeftNames


def list_files(directory: Path, limit: int) -> LeftNames:
    """Return the first names of what stands in a directory; those with a dot in front are none."""
    counter = itertools.count()
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        visible = (entry.name for entry in entries if not entry.name.startswith("."))
        # a program may leave more names than fit into memory
        names = heapq.nsmallest(limit, _counted(visible, counter))
        return LeftNames(names, next(counter))
    return LeftNames([], 0)


def _counted(names: Iterator[str], counter: Iterator[int]) -> Iterator[str]:
    for name in names:
        next(counter)
        yield name


def read_file(directory: Path, name: str, max_bytes: int) -> LeftFile:
    """Read a plain file of at most so many bytes."""
    try:
        # only looks: to open a device is to use it, and to open a pipe may be to wait
        found = os.open(directory / name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return _read(found, name, max_bytes)
        finally:
            os.close(found)
    except OSError as error:
        return LeftFile(name, None, f"it cannot be read: {error.strerror}")


def _read(found: int, name: str, max_bytes: int) -> LeftFile:
    status = os.fstat(found)
    if not stat.S_ISREG(status.st_mode):
        return LeftFile(name, None, "it is no plain file")
    if status.st_size == 0:  # to readers an empty result means that there is none
        return LeftFile(name, None, "it is empty")
    if status.st_size > max_bytes:
        return LeftFile(name, None, f"it has {status.st_size} bytes, the limit is {max_bytes}")
    with Path(f"/proc/self/fd/{found}").open("rb") as file:
        return LeftFile(name, file.read(max_bytes))


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
