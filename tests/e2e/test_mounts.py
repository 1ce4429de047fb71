"""Mounts and users over every real engine: what programs can do, seen from the host."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.engines import Engine
from tests.support.server import Server, a_server

SHELL = "abaco_test_shell"

#: whom containers run as; nobody of this host
UID, GID = 41001, 40816

Serve = Callable[..., Server]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """What is mounted: a directory for the one user there is, and data for everybody."""
    tmp_path.chmod(0o755)
    home = tmp_path / "work" / "anonymous"
    home.mkdir(parents=True)
    os.chown(home, UID, GID)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "found").write_text("found\n")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "secret").write_text("secret\n")
    return tmp_path


@pytest.fixture
def serve(engine: Engine, work: Path) -> Iterator[Serve]:
    """Start a server on the engine, with mounts and a user."""
    with ExitStack() as stack:

        def serve(**workers: str) -> Server:
            settings = {
                "engine.driver": engine.kind,
                f"engine.{engine.kind}_socket": engine.endpoint,
                "engine.network": "none",
                "runtime.start_backoff": "0.1",
                "runtime.max_start_failures": "1",
                "workers.actor_uid": str(UID),
                "workers.actor_gid": str(GID),
                "workers.actor_homedir": "/anonymous",
                "workers.global_mounts": f"{work}/work/{{tasdir}}:/work:rw, {work}/data:/data:ro",
                **{f"workers.{name}": value for name, value in workers.items()},
            }
            (work / "server").mkdir()
            return stack.enter_context(a_server(work / "server", settings))

        yield serve


def run(server: Server, script: str, **fields: object) -> str:
    actor = server.register(SHELL, **fields)
    execution = server.send(actor, script)
    assert server.until_final(actor, execution)["status"] == "COMPLETE"
    return server.logs(actor, execution)


def test_files_written_to_a_mount_are_the_users(serve: Serve, work: Path) -> None:
    server = serve()
    log = run(server, "id -u; id -g; umask 022; mkdir /work/new; echo hello > /work/new/file; pwd")
    assert log == f"{UID}\n{GID}\n/\n"
    for path in (work / "work/anonymous/new", work / "work/anonymous/new/file"):
        assert (path.stat().st_uid, path.stat().st_gid) == (UID, GID)
    assert (work / "work/anonymous/new/file").read_text() == "hello\n"


def test_a_read_only_mount_refuses_to_be_written(serve: Serve, work: Path) -> None:
    (work / "data").chmod(0o777)
    script = (
        "exec 2>&1; "  # of two streams, the shell's own complaints come in pieces
        "cat /data/found; echo x > /data/new || echo refused; rm /data/found || echo kept;"
        " chmod 777 /data/found || echo same"
    )
    log = run(serve(), script)
    assert [line for line in log.splitlines() if ":" not in line] == [
        "found",
        "refused",
        "kept",
        "same",
    ]
    assert [path.name for path in (work / "data").iterdir()] == ["found"]


def test_what_the_user_may_not_read_stays_closed(serve: Serve, work: Path) -> None:
    (work / "data" / "found").chmod(0o600)
    lines = run(serve(), "cat /data/found || echo no").splitlines()
    assert "no" in lines
    assert "found" not in lines


def test_mounts_of_another_tenant_are_not_there(serve: Serve, work: Path) -> None:
    server = serve(other_global_mounts=f"{work}/others:/others:ro")
    log = run(server, "ls /others || echo nothing; cat /proc/mounts")
    assert "secret" not in log
    assert "nothing" in log
    assert " /others " not in log
    assert " /data " in log


def test_the_images_user_where_a_privileged_caller_wants_it(serve: Serve) -> None:
    server = serve()
    assert run(server, "id -u; test -e /work || echo no", use_container_uid=True) == "0\nno\n"
    actor = server.register(SHELL, use_container_uid=True)
    shown = server.actor(actor)
    assert (shown["uid"], shown["tasdir"]) == (None, None)
    assert [mount["container_path"] for mount in shown["mounts"]] == ["/data"]


def test_no_way_to_the_engine(serve: Serve, engine: Engine) -> None:
    script = (
        "ls /var/run/docker.sock /run/docker.sock /run/podman 2>/dev/null;"
        " grep -c engine.sock /proc/mounts; grep NoNewPrivs /proc/self/status"
    )
    assert run(serve(), script).split() == ["0", "NoNewPrivs:", "1"]


def test_a_privileged_actor_is_refused_unless_they_are_allowed(serve: Serve) -> None:
    server = serve()
    status, envelope = server.request("POST", "/actors", {"image": SHELL, "privileged": True})
    assert status == 400
    assert "allow_privileged" in envelope["message"]


def test_a_mount_that_is_missing_puts_the_actor_into_error_and_makes_nothing(
    serve: Serve, work: Path
) -> None:
    (work / "work" / "anonymous").rmdir()
    server = serve()
    actor = server.register(SHELL)
    execution = server.send(actor, "true")
    assert server.until_final(actor, execution)["status"] == "ERROR"
    message = server.actor(actor)["status_message"]
    assert f"{work}/work/anonymous: it is not there" in message
    assert list((work / "work").iterdir()) == []


def test_a_mount_that_is_missing_is_left_out_where_that_is_wanted(serve: Serve, work: Path) -> None:
    (work / "work" / "anonymous").rmdir()
    server = serve(mount_missing="skip")
    assert run(server, "test -e /work || echo nothing; cat /data/found") == "nothing\nfound\n"


def test_a_link_a_user_made_is_not_followed(serve: Serve, work: Path) -> None:
    server = serve(global_mounts=f"{work}/work/{{username}}/shared:/shared:rw")
    (work / "work" / "anonymous" / "shared").symlink_to(work / "others")
    actor = server.register(SHELL)
    execution = server.send(actor, "cat /shared/secret")
    assert server.until_final(actor, execution)["status"] == "ERROR"
    assert "shared is a link" in server.actor(actor)["status_message"]


def test_what_was_stored_holds_until_the_next_update(serve: Serve, work: Path) -> None:
    server = serve()
    actor = server.register(SHELL)
    server.stop()
    server._settings["workers.actor_uid"] = str(UID + 1)
    server.start()
    execution = server.send(actor, "id -u")
    server.until_final(actor, execution)
    assert server.logs(actor, execution) == f"{UID}\n"
    server.call("PUT", f"/actors/{actor}", {"image": SHELL})
    execution = server.send(actor, "id -u")
    server.until_final(actor, execution)
    assert server.logs(actor, execution) == f"{UID + 1}\n"
