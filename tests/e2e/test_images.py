"""Images from a real registry over real engines: accounts, tenants, pins, eviction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.debian_registry import DebianRegistry, a_registry
from tests.support.engines import Engine
from tests.support.images import rootfs_tar, shell
from tests.support.records import new_id
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

PASSWORD = "correct-horse-battery"
WRONG = "incorrect-staple-mare"

Serve = Callable[..., Server]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DebianRegistry]:
    (tmp_path / "registry").mkdir()
    with a_registry(tmp_path / "registry", jane=PASSWORD) as registry:
        yield registry


@pytest.fixture
def serve(engine: Engine, registry: DebianRegistry, tmp_path: Path) -> Iterator[Serve]:
    """Start a server of one tenant; all of them share their records."""
    with ExitStack() as stack:

        def serve(tenant: str = "one", *, accounts: str | None = None, **more: str) -> Server:
            if accounts is None:
                accounts = f"one_username: jane\none_password: {PASSWORD}\n"
            (tmp_path / "server").mkdir(exist_ok=True)
            settings = settings_for(engine) | {
                "web.tenant_name": tenant,
                "engine.network": "none",
                "runtime.idle_grace": "0.2",
                "runtime.start_backoff": "0.1",
                "runtime.max_start_failures": "1",
                **{name.replace("__", "."): value for name, value in more.items()},
            }
            config = f"[registry:{registry.address}]\n{accounts}" if accounts else ""
            server = a_server(tmp_path / "server", settings, config)
            return stack.enter_context(server)

        yield serve


def put(registry: DebianRegistry, says: str, name: str | None = None) -> str:
    return registry.put(name or f"team/{new_id().lower()}", rootfs_tar(), shell(f"echo {says}"))


def run(server: Server, actor: str) -> str:
    execution = server.send(actor, "go")
    assert server.until_final(actor, execution)["status"] == "COMPLETE"
    return server.logs(actor, execution).strip()


def failed(server: Server, actor: str) -> str:
    """Wait until the actor is in ERROR, and return what it says."""

    def is_broken() -> dict[str, Any] | None:
        found = server.actor(actor)
        return found if found["status"] == "ERROR" else None

    return str(server.until(is_broken, "the actor to be in ERROR")["status_message"])


def metric(server: Server, name: str) -> float:
    text = server.raw("GET", "/metrics").data.decode()
    return next((float(x.split()[-1]) for x in text.splitlines() if x.startswith(name)), 0.0)


def until_idle(server: Server, *actors: str) -> None:
    """Wait until the actors have no workers."""
    server.until(
        lambda: not any(server.call("GET", f"/actors/{actor}/workers") for actor in actors),
        "the workers to leave",
    )


def force(server: Server, actor: str, image: str) -> None:
    server.call("PUT", f"/actors/{actor}", {"image": image, "force": True})


def test_a_tenants_account_brings_its_image(serve: Serve, registry: DebianRegistry) -> None:
    server = serve()
    actor = server.register(put(registry, "private"))
    assert run(server, actor) == "private"
    pulled = 'abaco_image_pull_seconds_count{outcome="pulled"}'
    assert metric(server, pulled) == 1
    for text in (server.log(), server.raw("GET", "/metrics").data.decode()):
        assert PASSWORD not in text


def test_a_wrong_password_is_told_and_can_be_mended(
    serve: Serve, registry: DebianRegistry, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(WRONG)
    server = serve(accounts=f"one_username: jane\none_password_file: {secret}\n")
    image = put(registry, "mended")
    actor = server.register(image)
    text = failed(server, actor)
    assert image in text
    assert "auth" in text
    assert WRONG not in text + server.log()
    secret.write_text(PASSWORD)
    force(server, actor, image)
    assert run(server, actor) == "mended"
    assert PASSWORD not in server.log()


def test_another_tenant_gets_nothing_of_it(serve: Serve, registry: DebianRegistry) -> None:
    image = put(registry, "private")
    one = serve()
    assert run(one, one.register(image)) == "private"
    one.kill()
    two = serve("two")
    assert "auth" in failed(two, two.register(image))
    two.kill()
    again = serve()
    assert run(again, again.register(image)) == "private"


def test_an_account_for_all_is_for_all(serve: Serve, registry: DebianRegistry) -> None:
    image, accounts = put(registry, "shared"), f"username: jane\npassword: {PASSWORD}\n"
    one = serve(accounts=accounts)
    assert run(one, one.register(image)) == "shared"
    one.kill()
    registry.stop()
    two = serve("two", accounts=accounts)
    assert run(two, two.register(image)) == "shared"


def test_a_revision_runs_one_image_though_its_tag_moves(
    serve: Serve, registry: DebianRegistry
) -> None:
    server, name = serve(runtime__pull_policy="always"), f"team/{new_id().lower()}"
    image = put(registry, "first", name)
    actor = server.register(image)
    assert run(server, actor) == "first"
    until_idle(server, actor)
    put(registry, "second", name)
    other = server.register(image)
    assert run(server, other) == "second"
    assert run(server, actor) == "first"
    server.kill()
    server.start()
    assert run(server, actor) == "first"
    force(server, actor, image)
    assert run(server, actor) == "second"


def test_force_pulls_what_is_here_already(serve: Serve, registry: DebianRegistry) -> None:
    server, name = serve(), f"team/{new_id().lower()}"
    image = put(registry, "first", name)
    actor = server.register(image)
    assert run(server, actor) == "first"
    put(registry, "second", name)
    other = server.register(image)
    assert run(server, other) == "first"  # it is here
    force(server, actor, image)
    assert run(server, actor) == "second"
    assert run(server, other) == "first"


def test_an_image_that_was_removed_comes_back(
    serve: Serve, registry: DebianRegistry, engine: Engine
) -> None:
    server, name = serve(), f"team/{new_id().lower()}"
    image = put(registry, "kept", name)
    actor = server.register(image)
    assert run(server, actor) == "kept"
    until_idle(server, actor)
    remove(engine, image)
    put(registry, "new", name)
    assert run(server, actor) == "kept"
    until_idle(server, actor)
    engine.remove_all()
    for reference in digests(engine, image):
        remove(engine, reference)
    registry.forget(name)
    server.send(actor, "go")
    text = failed(server, actor)
    assert "gone" in text
    assert "force" in text


def test_images_nobody_needs_make_room(serve: Serve, registry: DebianRegistry) -> None:
    images = [put(registry, f"number {number}") for number in range(3)]
    server = serve(engine__image_disk_budget="3m")  # one of them is 2 MB or so
    actors = [server.register(image) for image in images]
    for number, actor in enumerate(actors):
        assert run(server, actor) == f"number {number}"
        until_idle(server, actor)
    removed = 'abaco_image_evictions_total{outcome="removed"}'
    server.until(lambda: metric(server, removed) >= 2, "two images to be removed")
    server.until(lambda: 0 < metric(server, "abaco_image_bytes ") < 3_145_728, "room")
    assert run(server, actors[0]) == "number 0"
    assert "is removed: unused since" in server.log()


def test_images_whose_name_has_moved_on_make_room_too(
    serve: Serve, registry: DebianRegistry
) -> None:
    image = put(registry, "version 0")
    server = serve(engine__image_disk_budget="3m")
    actor = server.register(image)
    assert run(server, actor) == "version 0"
    for number in (1, 2):
        put(registry, f"version {number}", image.partition("/")[2].partition(":")[0])
        force(server, actor, image)
        assert run(server, actor) == f"version {number}"
        until_idle(server, actor)
    removed = 'abaco_image_evictions_total{outcome="removed"}'
    server.until(lambda: metric(server, removed) >= 2, "two images to be removed")


def test_killed_in_mid_pull(serve: Serve, registry: DebianRegistry) -> None:
    server, image = serve(engine__image_disk_budget="1g"), put(registry, "after all")
    registry.pause()
    actor = server.register(image)
    server.until(lambda: "pulling" in server.actor(actor)["status_message"], "the pull to begin")
    server.kill()
    registry.go_on()
    server.start()
    assert run(server, actor) == "after all"
    server.until(lambda: metric(server, "abaco_image_bytes ") > 0, "the image to be ours")


def digests(engine: Engine, image: str) -> list[str]:
    """Names by digest of all images of the repository."""
    repository = image.rpartition(":")[0]
    found = engine.request("GET", f"{engine.base}/images/json")
    names = [name for item in found for name in item.get("RepoDigests") or ()]
    return [name for name in names if name.startswith(f"{repository}@")]


def remove(engine: Engine, reference: str) -> None:
    engine.remove_all()
    engine.request("DELETE", f"{engine.base}/images/{reference}", query={"force": "true"})
