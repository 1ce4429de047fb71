"""Looks, when a run of the tests is over, for what it has left on the machine.

Found by the name of the run: processes with it in their environment, their command or their
mounts; directories, mounts, bridges and control groups of engines; temporary files. Found by
path, below the directories of the tests: records of runs that nobody will ever end, and files of
attempts and messages that no record needs and that a start of the server would not remove.
Found by label: containers of these servers in the host's own engines. To add a kind: a function
that lists, and its entry in ``KINDS``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import session

#: seconds that what has ended may take to be gone
PATIENCE_S = 10.0
PAUSE_S = 0.2
_TREES = Path("/sys/fs/cgroup")
#: folders of tests after which to look
_REAL = {"contract", "e2e", "faults"}
#: files of a data directory that belong to attempts and messages
_PASSING = ("ipc", "blobs")

#: executions that are not final and that no message would ever run again
_STUCK = """
    SELECT e.id FROM executions e WHERE e.status NOT IN ('COMPLETE', 'ERROR')
    AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.tenant = e.tenant
        AND m.actor_id = e.actor_id AND m.execution_id = e.id)
"""


def processes(_: Path) -> list[str]:
    """Return those that a test has started, and those in containers of its engines."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if _is_ours(directory):
                    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{directory.name} {command.decode(errors='replace')[:200]}")
    return found


def _is_ours(process: Path) -> bool:
    if (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
        return False
    variable = f"{session.VARIABLE}={session.NAME}".encode()
    if variable in (process / "environ").read_bytes().split(b"\0"):
        return True
    return session.is_tied(process, session.is_engines)


def engines(_: Path) -> list[str]:
    """Return the directories of engines, in which their containers, volumes and images are."""
    return [str(path) for path in session.ENGINES.glob(f"ab-?-{session.NAME}*")]


def mounts(below: Path) -> list[str]:
    """Return mounts of engines, and below the directories of the tests."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if session.is_engines(point) or point.startswith(f"{below}/")]


def bridges(_: Path) -> list[str]:
    """Return the networks of engines."""
    return [path.name for path in Path("/sys/class/net").glob(f"ab{session.NAME}*")]


def groups(_: Path) -> list[str]:
    """Return control groups in which there is somebody; a start would remove the empty ones."""
    found = []
    for top in (*_TREES.glob(session.GROUP[1:]), *_TREES.glob(f"*{session.GROUP}")):
        for path, _folders, _files in os.walk(top, topdown=False):
            try:
                Path(path).rmdir()
            except OSError:
                found.append(path)
    return found


def temporary(_: Path) -> list[str]:
    """Return what stands where temporary files do."""
    return [str(path) for path in Path(tempfile.gettempdir()).iterdir()]


def _databases(below: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    # pytest keeps links to the newest directories beside them
    for path in {path.resolve() for path in below.glob("*/**/abaco.db")}:
        with contextlib.closing(sqlite3.connect(path)) as database:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_schema")}
            if {"executions", "messages"} <= tables:
                yield path.parent, database


def stuck(below: Path) -> list[str]:
    """Return executions that nobody will end, and whose tokens nobody will end either."""
    return [
        f"{data}: {row[0]}"
        for data, database in _databases(below)
        for row in database.execute(_STUCK)
    ]


def files(below: Path) -> list[str]:
    """Return files that a start of the server would not find: neither an attempt's nor a blob's."""
    return [
        str(path)
        for data, _ in _databases(below)
        for name in _PASSING
        for path in (data / name).glob("*")
        if not _is_swept(name, path)
    ]


def _is_swept(name: str, path: Path) -> bool:
    """Tell whether a sweep would look at it: ``<worker>/<execution>.<attempt>``, or a blob."""
    if name == "blobs":
        return path.is_file()
    return path.is_dir() and all(place.is_dir() and "." in place.name for place in path.iterdir())


def containers(below: Path) -> list[str]:
    """Return containers of servers of this run in the engines of the host."""
    instances = {path.read_text().strip() for path in below.glob("*/**/instance") if path.is_file()}
    shown = '{{.Id}} {{index .Config.Labels "abaco.instance"}}'
    found = []
    for program in ("docker", "podman"):
        if shutil.which(program) is None:
            continue
        ids = _told([program, "ps", "--all", "--quiet", "--filter", "label=abaco.instance"])
        for each in ids:  # one that goes meanwhile must not hide the others
            lines = _told([program, "container", "inspect", "--format", shown, each])
            found += [f"{program}: {line}" for line in lines]
    return [line for line in found if line.rpartition(" ")[2] in instances]


def _told(command: list[str]) -> list[str]:
    """Return the lines a command prints; none without an engine, in which there is nothing."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


KINDS: Mapping[str, Callable[[Path], list[str]]] = {
    "process": processes,
    "directory of an engine": engines,
    "mount": mounts,
    "network": bridges,
    "control group": groups,
    "temporary file": temporary,
    "run without an end": stuck,
    "file no sweep finds": files,
    "container": containers,
}


def find(below: Path) -> list[str]:
    """Return all that is left, each with its kind, once it has had time to go."""
    end = time.monotonic() + PATIENCE_S
    while True:
        left = [f"{kind}: {each}" for kind, look in KINDS.items() for each in look(below)]
        if not left or time.monotonic() > end:
            return left
        time.sleep(PAUSE_S)


def _is_real(session: pytest.Session) -> bool:
    """Tell whether there are tests in which processes and engines are started and killed."""
    return any(not _REAL.isdisjoint(item.path.parts) for item in session.items)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail a run that leaves something. The first fixture there is, so the last to end."""
    if not _is_real(request.session):
        yield
        return
    below = tmp_path_factory.getbasetemp()
    session.mark_children()
    before, scratch = tempfile.tempdir, tempfile.mkdtemp(prefix=f"abt-{session.NAME}-")
    Path(scratch).chmod(0o755)
    tempfile.tempdir = os.environ["TMPDIR"] = scratch
    try:
        yield
        if left := find(below):
            pytest.fail("this run of the tests has left\n" + "\n".join(left), pytrace=False)
        Path(scratch).rmdir()
    finally:
        tempfile.tempdir = before
        os.environ.pop("TMPDIR", None)
