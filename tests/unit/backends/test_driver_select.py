"""Which backend a name, or the lack of one, leads to."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler

from abaco.config import Settings
from abaco.errors import ConfigError, DriverError
from backends import registry
from backends.drivers import auto, docker, podman, podman_containers
from backends.drivers.engine_http import EngineHttp
from backends.drivers.probe import answers
from backends.drivers.scripted import ScriptedDriver
from backends.drivers.select import open_driver

DOCKER = {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}
PODMAN = {"Version": "4.3.1", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]}


@asynccontextmanager
async def engine(
    path: Path, version: dict[str, Any], *, libpod: bool = False
) -> AsyncIterator[str]:
    """Serve what engines say of themselves, on a unix socket."""

    class Version(RequestHandler):
        def get(self) -> None:
            self.finish(version)

    routes = [("/version", Version)]
    if libpod:
        routes.append((f"{podman_containers.BASE}/version", Version))
    server = HTTPServer(Application(routes, log_function=lambda handler: None))
    server.add_socket(bind_unix_socket(str(path)))
    try:
        yield f"unix://{path}"
    finally:
        server.stop()
        await server.close_all_connections()


def settings(tmp_path: Path, **sockets: str) -> Settings:
    nowhere = {
        "docker_socket": f"unix://{tmp_path}/no-docker",
        "podman_socket": f"unix://{tmp_path}/no-podman",
    }
    return Settings.model_validate(
        {"engine": nowhere | sockets, "general": {"data_dir": str(tmp_path)}}
    )


async def test_reachable_docker_comes_first(tmp_path: Path) -> None:
    async with (
        engine(tmp_path / "d", DOCKER) as dockers,
        engine(tmp_path / "p", PODMAN, libpod=True) as podmans,
    ):
        found = await auto.choose(settings(tmp_path, docker_socket=dockers, podman_socket=podmans))
    assert found == ("docker", docker.open_driver)


async def test_then_reachable_podman(tmp_path: Path) -> None:
    async with engine(tmp_path / "p", PODMAN, libpod=True) as podmans:
        found = await auto.choose(settings(tmp_path, podman_socket=podmans))
        assert found == ("podman", podman.open_service)


async def test_podman_on_dockers_socket_is_not_docker(tmp_path: Path) -> None:
    async with engine(tmp_path / "p", PODMAN, libpod=True) as podmans:
        chosen = settings(tmp_path, docker_socket=podmans, podman_socket=podmans)
        assert await auto.choose(chosen) == ("podman", podman.open_service)


async def test_docker_on_podmans_socket_is_not_podman(tmp_path: Path) -> None:
    async with engine(tmp_path / "d", DOCKER) as dockers:
        assert not await answers("Podman", dockers, podman.ask_info)
        http = EngineHttp(dockers, timeout_s=5)
        with pytest.raises(DriverError, match="not Podman"):
            await podman.ask_info(http)
        http.close()


@pytest.mark.parametrize(
    ("oldest", "newest"), [("1.12", "1.40"), ("1.44", "1.50"), ("1.12", "1.9")]
)
async def test_docker_that_is_too_old_or_too_new_is_refused(
    tmp_path: Path, oldest: str, newest: str
) -> None:
    version = DOCKER | {"MinAPIVersion": oldest, "ApiVersion": newest}
    async with engine(tmp_path / "d", version) as dockers:
        http = EngineHttp(dockers, timeout_s=5)
        with pytest.raises(DriverError, match=f"{oldest} to {newest}"):
            await docker.ask_info(http)
        http.close()


async def test_without_any_engine_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.drivers.host._PROGRAM_DIRS", str(tmp_path))
    with pytest.raises(ConfigError, match="apt install podman") as caught:
        await auto.choose(settings(tmp_path))
    assert "no-docker" in caught.value.message
    assert "no-podman" in caught.value.message


async def test_installed_podman_is_started_as_a_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "podman").write_text("#!/bin/sh\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setattr("backends.drivers.host._PROGRAM_DIRS", str(tmp_path))
    assert await auto.choose(settings(tmp_path)) == ("embedded podman", podman.open_embedded)


async def test_named_driver_is_opened_though_its_engine_is_away(tmp_path: Path) -> None:
    for name in ("docker", "podman"):
        chosen = settings(tmp_path)
        chosen = chosen.model_copy(
            update={"engine": chosen.engine.model_copy(update={"driver": name})}
        )
        async with open_driver(chosen, "mine") as opened:
            with pytest.raises(DriverError, match="cannot connect"):
                await opened.driver.info()


async def test_scripted_is_opened_by_name() -> None:
    chosen = Settings.model_validate({"engine": {"driver": "scripted"}})
    async with open_driver(chosen, "mine") as opened:
        assert isinstance(opened.driver, ScriptedDriver)
    await asyncio.sleep(0)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"engine\.driver.*'rkt'.*auto, docker, podman, scripted"):
        registry.find_driver("rkt")
    with pytest.raises(ConfigError, match=r"store\.backend.*memory.*sqlite"):
        registry.find_stores("papyrus")


def test_every_registered_name_leads_somewhere() -> None:
    for table in (registry.STORES, registry.DRIVERS):
        for target in table.values():
            module, _, attribute = target.partition(":")
            assert callable(getattr(importlib.import_module(module), attribute))


def test_registered_names_are_those_the_settings_allow() -> None:
    for section, key, table in (
        ("engine", "driver", registry.DRIVERS),
        ("store", "backend", registry.STORES),
    ):
        for name in table:
            assert Settings.model_validate({section: {key: name}})


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import a_library_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="a_library_nobody_has"):
        registry.load("store.backend", {"x": "needs_more:open_stores"}, "x")


@pytest.mark.parametrize(
    "endpoint", ["", "/var/run/docker.sock", "tcp://host", "ssh://a:1", "unix://"]
)
def test_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="neither unix"):
        EngineHttp(endpoint, timeout_s=1)


def test_two_slashes_mean_the_same_as_three() -> None:
    assert EngineHttp("unix://var/run/x.sock", timeout_s=1).socket_path == "/var/run/x.sock"
    assert EngineHttp("unix:///var/run/x.sock", timeout_s=1).socket_path == "/var/run/x.sock"
    assert EngineHttp("tcp://127.0.0.1:2375", timeout_s=1).socket_path is None
