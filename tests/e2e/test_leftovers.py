"""The look for what a run of the tests has left: finds each kind, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.engines import Engine
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
BEGIN = """
import pathlib, sqlite3, subprocess, tempfile
from tests.support import leftovers, session
leftovers.PATIENCE_S = 0.3

def test_it(tmp_path):
    data = tmp_path / "data"
    (data / "ipc" / "worker" / "execution.1").mkdir(parents=True)
    (data / "blobs").mkdir()
    (data / "blobs" / "message").touch()
    with sqlite3.connect(data / "abaco.db") as database:
        database.executescript('''
            CREATE TABLE executions (tenant, actor_id, id, status);
            CREATE TABLE messages (tenant, actor_id, execution_id);
            INSERT INTO executions VALUES ('DEV', 'a', 'waits', 'SUBMITTED');
            INSERT INTO messages VALUES ('DEV', 'a', 'waits');
            INSERT INTO executions VALUES ('DEV', 'a', 'ended', 'COMPLETE');
        ''')
    database.close()
"""
#: what a test leaves, as the program does it, by the kind it is found as
LEAKS = {
    "process": 'global process; process = subprocess.Popen(["sleep", "20"])',
    "directory of an engine": 'session.engine_directory("docker")',
    "mount": 'data = tmp_path / "disk"; data.mkdir();'
    ' subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(data)], check=True)',
    "network": 'subprocess.run(["ip", "link", "add", f"ab{session.NAME}x", "type", "bridge"],'
    " check=True)",
    "control group": "top = leftovers._TREES / 'pids';"
    " top = top if top.is_dir() else leftovers._TREES;"
    ' inner = top / session.GROUP[1:] / "inner"; inner.mkdir(parents=True);'
    ' global process; process = subprocess.Popen(["sleep", "20"]);'
    ' (inner / "cgroup.procs").write_text(str(process.pid))',
    "temporary file": "tempfile.mkdtemp()",
    "run without an end": 'database = sqlite3.connect(data / "abaco.db");'
    " database.execute(\"INSERT INTO executions VALUES ('DEV', 'a', 'stuck', 'RUNNING')\");"
    " database.commit(); database.close()",
    "file no sweep finds": '(data / "ipc" / "worker" / "stray").touch()',
}


@contextmanager
def ran(directory: Path, leak: str) -> Iterator[tuple[int, str]]:
    """Run a test apart that leaves something, and take it away afterwards."""
    module = directory / "e2e" / "test_nested.py"
    module.parent.mkdir()
    module.write_text(f"{BEGIN}    {leak}\n")
    (directory / "tmp").mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.leftovers", str(module)]
    done = subprocess.run(
        [*command, "-c", os.devnull, f"--rootdir={directory}", f"--basetemp={directory / 'base'}"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(directory / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        yield done.returncode, done.stdout
    finally:
        # processes come first
        told = re.findall(r"^(?:E +)?([a-z ]+): (\S+)", done.stdout, re.MULTILINE)
        for kind, what in dict.fromkeys(told):  # a summary may say it again
            take_away(kind, what)
        for name in ("base", "tmp"):
            shutil.rmtree(directory / name)


def take_away(kind: str, what: str) -> None:
    if kind == "process":
        subprocess.run(["kill", what], check=False)
    elif kind == "mount":
        subprocess.run(["umount", what], check=True)
    elif kind == "network":
        subprocess.run(["ip", "link", "delete", what], check=True)
    elif kind == "control group":
        for _ in range(50):  # the process in it has been told to end
            try:
                Path(what).rmdir()
                return
            except OSError:
                time.sleep(0.1)
    elif kind == "directory of an engine":
        shutil.rmtree(what)


@pytest.mark.parametrize("kind", LEAKS)
def test_what_is_left_fails_the_run(tmp_path: Path, kind: str) -> None:
    if os.geteuid() != 0 and kind in {"mount", "network", "control group"}:
        pytest.skip(f"a {kind} needs root")
    with ran(tmp_path, LEAKS[kind]) as (code, told):
        assert code == 1, told
        assert "1 passed, 1 error" in told
        assert "this run of the tests has left" in told
        assert f"{kind}: " in told


def test_what_is_needed_is_not_left(tmp_path: Path) -> None:
    """Waiting messages, and files that a start of the server would find."""
    with ran(tmp_path, "pass") as (code, told):
        assert code == 0, told
        assert "1 passed" in told


def test_every_kind_is_tried() -> None:
    assert {*LEAKS, "container"} == set(leftovers.KINDS)


def test_a_container_in_an_engine_of_the_host(
    server: Server, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The private engine plays the host's; Podman's command must be told that there is one."""
    for kind, variable, option in (
        ("docker", "DOCKER_HOST", ""),
        ("podman", "CONTAINER_HOST", "--remote"),
    ):
        monkeypatch.setenv(variable, engine.endpoint if kind == engine.kind else "unix:///nowhere")
        program = tmp_path / kind
        program.write_text(f'#!/bin/sh\nexec {shutil.which(kind)} {option} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    below = server.directory.parent
    assert leftovers.containers(below) == []
    actor = server.register("abaco_test_sleeper")
    execution = server.send(actor, "600")
    server.until_status(actor, execution, "RUNNING")
    (found,) = leftovers.containers(below)
    assert found.startswith(f"{engine.kind}: ")
    server.call("DELETE", f"/actors/{actor}/executions/{execution}")
    server.until_final(actor, execution)
    server.until(lambda: leftovers.containers(below) == [], "the container to be gone")
