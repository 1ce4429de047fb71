"""The embedded Podman service: started, restarted, replaced; containers outlive it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from abaco.errors import ConfigError, EngineUnavailableError
from backends.drivers import podman
from backends.drivers.engine import EngineDriver
from backends.drivers.engine_http import EngineHttp
from backends.drivers.host import engine_needs, look
from backends.drivers.podman_service import PodmanService
from tests.support.drivers import Lab, first_words, read_all, settings
from tests.support.engines import Engine, EnginePool, PrivatePodman

pytestmark = pytest.mark.podman


@pytest.fixture
def store(engine_pool: EnginePool, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A private Podman, whose storage with the actor images the service uses too."""
    with engine_pool.lend("podman", request.session) as engine:
        yield engine


@asynccontextmanager
async def serving(store: PrivatePodman, directory: Path) -> AsyncIterator[PodmanService]:
    """Run a service on the private storage, supervised as the server would."""
    service = PodmanService(directory / "podman.sock", engine_needs(look()), store.options)
    async with service:
        agent = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            agent.cancel()
            await asyncio.gather(agent, return_exceptions=True)


def driver_on(service: PodmanService) -> EngineDriver:
    http = EngineHttp(service.endpoint, timeout_s=20)
    return podman.build_driver(http, settings(), "mine", engine_needs(look()))


def process_of(directory: Path) -> int:
    return int((directory / "podman.pid").read_text())


def contents(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def start(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def until(holds: Callable[[], bool]) -> None:
    """Look until it holds; nothing tells the moment to somebody outside."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


async def test_first_call_is_answered_without_waiting_for_the_start(
    store: PrivatePodman, tmp_path: Path
) -> None:
    async with serving(store, tmp_path) as service:
        driver = driver_on(service)
        assert (await driver.info()).endpoint == f"unix://{tmp_path}/podman.sock"
        output, end = await Lab(driver).run("echo embedded; exit 3")
        assert (output, end.exit_code) == (b"embedded\n", 3)
        await driver.close()


async def test_socket_is_for_its_owner_only(store: PrivatePodman, tmp_path: Path) -> None:
    async with serving(store, tmp_path):
        assert (tmp_path / "podman.sock").stat().st_mode & 0o777 == 0o600


async def test_nothing_is_left_after_the_end(store: PrivatePodman, tmp_path: Path) -> None:
    async with serving(store, tmp_path) as service:
        pid = process_of(tmp_path)
        assert is_alive(pid)
    assert not is_alive(pid)
    assert contents(tmp_path) == []
    with pytest.raises(EngineUnavailableError):
        await driver_on(service).info()


async def test_killed_service_is_started_again_and_containers_live_on(
    store: PrivatePodman, tmp_path: Path
) -> None:
    async with serving(store, tmp_path) as service:
        driver = driver_on(service)
        running = await Lab(driver).start("echo one; sleep 10; echo two; exit 4")
        waiting = asyncio.ensure_future(running.wait())
        await first_words(running)
        first = process_of(tmp_path)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(EngineUnavailableError):
            await waiting
        await until(lambda: process_of(tmp_path) != first)
        adopted = await driver.adopt(running.container_id)
        output, end = await asyncio.gather(read_all(adopted), adopted.wait())
        assert (output, end.exit_code) == (b"one\ntwo\n", 4)
        await driver.close()


async def test_containers_survive_the_end_of_the_server(
    store: PrivatePodman, tmp_path: Path
) -> None:
    async with serving(store, tmp_path) as service:
        first = driver_on(service)
        running = await Lab(first).start("sleep 1.5; echo still here; exit 6")
        await first.close()
    async with serving(store, tmp_path) as service:
        second = driver_on(service)
        adopted = await second.adopt(running.container_id)
        output, end = await asyncio.gather(read_all(adopted), adopted.wait())
        assert (output, end.exit_code) == (b"still here\n", 6)
        await second.close()


async def test_service_of_a_killed_server_is_replaced(store: PrivatePodman, tmp_path: Path) -> None:
    socket_path = tmp_path / "podman.sock"
    old_socket = f"unix://{tmp_path}/old.sock"
    left = start("podman", *store.options, "system", "service", "--time", "0", old_socket)
    await until(lambda: "old.sock" in contents(tmp_path))
    (tmp_path / "podman.pid").write_text(f"{left.pid}\n")
    socket_path.touch()
    async with serving(store, tmp_path) as service:
        assert await asyncio.to_thread(left.wait, 10) is not None
        assert process_of(tmp_path) != left.pid
        driver = driver_on(service)
        assert (await driver.info()).driver == "podman"
        await driver.close()


async def test_number_that_belongs_to_somebody_else_is_left_alone(
    store: PrivatePodman, tmp_path: Path
) -> None:
    with start("sleep", "60") as stranger:
        (tmp_path / "podman.pid").write_text(f"{stranger.pid}\n")
        async with serving(store, tmp_path):
            assert stranger.poll() is None
        stranger.kill()


async def test_service_that_cannot_start_fails_calls_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = PodmanService(tmp_path / "s.sock", engine_needs(look()), ["--no-such-option"])
    async with service:
        agent = asyncio.create_task(service.run())
        await until(lambda: caplog.text.count("podman service ended with") >= 2)
        with pytest.raises(EngineUnavailableError):
            await driver_on(service).info()
        agent.cancel()
        await asyncio.gather(agent, return_exceptions=True)


async def test_path_too_long_for_a_socket_names_the_key(tmp_path: Path) -> None:
    service = PodmanService(tmp_path / ("x" * 120) / "podman.sock", engine_needs(look()))
    with pytest.raises(ConfigError, match="data_dir"):
        await service.__aenter__()
