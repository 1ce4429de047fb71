"""Disks that are full: the server's own, and the one containers write to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.engines import ENGINE_PARAMS, ENGINES, Engine, why_not
from tests.support.images import ACTORS, rootfs_tar
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

SHELL = "abaco_test_shell"
MIB = 1024**2


@contextmanager
def small_disk(place: Path, size_mib: int) -> Iterator[None]:
    """Put a disk of its own at a directory."""
    options = ["-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs"]
    subprocess.run(["mount", *options, str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65_536)
        except OSError:
            return


def readiness(server: Server) -> tuple[int, dict[str, bool]]:
    answer = server.raw("GET", "/ready")
    checks = json.loads(answer.data)["result"]["checks"]
    return answer.status, {check["name"]: check["ok"] for check in checks}


def test_a_full_disk_refuses_messages_and_loses_none(engine: Engine, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    settings = settings_for(engine) | {"general.min_free_disk": "24m"}
    with small_disk(data, 64), a_server(tmp_path, settings) as server:
        actor = server.register(SHELL)
        running = server.send(actor, "echo begun; until test -e /tmp/go; do sleep 0.2; done")
        short = server.register(SHELL)
        server.until_status(actor, running, "RUNNING")
        execution = server.send(short, "sleep 4; echo ended")
        server.until_status(short, execution, "RUNNING")
        nearly = data / "nearly"
        nearly.write_bytes(bytes(44 * MIB))

        server.until(lambda: readiness(server)[0] == 503, "the server to notice")
        assert readiness(server)[1] == {"store": True, "engine": True, "disk": False}
        for send in (
            lambda: server.raw("POST", f"/actors/{actor}/messages", {"message": "x"}),
            lambda: server.raw_upload(actor, b"x"),
            lambda: server.raw("POST", f"/actors/{actor}/messages/batch", {"messages": ["x"]}),
        ):
            answer = send()
            assert answer.status == 503
            assert "nearly full" in json.loads(answer.data)["message"]
            assert answer.headers["Retry-After"]
        assert server.until_final(short, execution)["exit_code"] == 0
        assert server.logs(short, execution) == "ended\n"

        fill(data / "rest")  # now not even an end can be recorded
        assert server.request("GET", f"/actors/{actor}")[0] == 200
        assert server.execution(actor, running)["status"] == "RUNNING"
        assert server.is_running
        nearly.unlink()
        (data / "rest").unlink()
        server.until(lambda: readiness(server)[0] == 200, "room to be noticed")
        execution = server.send(short, "echo again")
        assert server.until_final(short, execution)["exit_code"] == 0
        server.call("DELETE", f"/actors/{actor}/executions/{running}")
        assert server.until_final(actor, running)["status"] == "COMPLETE"


@pytest.fixture(params=ENGINE_PARAMS)
def small_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine whose images, containers and logs are on a small disk."""
    if reason := why_not(request.param):
        pytest.skip(reason)
    engine = ENGINES[request.param]()
    kept = {path.name: path.read_bytes() for path in engine.directory.iterdir()}
    with small_disk(engine.directory, 64):
        for name, data in kept.items():
            (engine.directory / name).write_bytes(data)
        engine.start()
        try:
            engine.import_image(SHELL, rootfs_tar(), ACTORS[SHELL])
            yield engine
        finally:
            engine.remove_all()
            engine.stop()
            engine.clean_up()
    engine._delete()


def test_a_container_that_fills_its_disk_ends_itself_only(
    small_engine: Engine, tmp_path: Path
) -> None:
    with a_server(tmp_path, settings_for(small_engine)) as server:
        actor = server.register(SHELL)
        # said when there is room again: the log is on the same disk
        script = 'said=$(dd if=/dev/zero of=/x bs=65536 2>&1); rm /x; echo "$said"; exit 5'
        execution = server.send(actor, script)
        done = server.until_final(actor, execution)
        assert (done["status"], done["exit_code"]) == ("COMPLETE", 5)
        assert "No space left on device" in server.logs(actor, execution)

        server.until(lambda: not small_engine.containers(), "the first container to be gone")
        left = server.send(actor, "dd if=/dev/zero of=/x bs=65536; exit 6")
        done = server.until_final(actor, left)
        if small_engine.kind == "docker":
            assert (done["status"], done["exit_code"]) == ("COMPLETE", 6)
        else:  # Podman has no room left to note that it ended
            assert (done["status"], done["exit_code"]) == ("ERROR", "undetermined")
            assert done["final_state"]["AbacoEndUnseen"] is True
        execution = server.send(actor, "echo after it")
        assert server.until_final(actor, execution)["exit_code"] == 0
        assert server.logs(actor, execution) == "after it\n"
        assert server.actor(actor)["status"] == "READY"
