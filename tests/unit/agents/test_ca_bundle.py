"""Containers are given the certificates they are to trust, where the engine can be given files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from abaco.config import Settings
from abaco.ports.driver import Bind
from backends.drivers.scripted import Act, ScriptedEngine
from tests.support.house import QUICK, House, a_house, an_engine

NAMES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
PLACE = "/_abaco_ca_bundle.pem"


async def run(house: House) -> tuple[tuple[Bind, ...], list[str | None]]:
    """Run a message; return the binds of its spec and what its variables say."""
    key = await house.post(await house.register())
    await house.running(key)
    (container,) = house.engine.of_execution(key.id)
    environment = container.context.environment
    return container.slot.spec.binds, [environment.get(name) for name in NAMES]


def busy() -> ScriptedEngine:
    return an_engine(Act(until_stopped=True))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "ours.pem"
    path.write_text("certificates")
    return path


def settings(bundle: Path | None) -> Settings:
    runtime = QUICK.runtime.model_copy(update={"actor_ca_bundle": bundle})
    return QUICK.model_copy(update={"runtime": runtime})


async def test_without_one() -> None:
    async with a_house(busy(), settings(None)) as house:
        assert await run(house) == ((), [None, None])


async def test_read_only_and_by_name(bundle: Path) -> None:
    async with a_house(busy(), settings(bundle)) as house:
        binds, names = await run(house)
    assert binds == (Bind(host_path=str(bundle), container_path=PLACE, is_read_only=True),)
    assert names == [PLACE, PLACE]


async def test_not_where_the_engine_is_elsewhere(bundle: Path) -> None:
    async with a_house(busy(), settings(bundle)) as house:
        watch = house.crew.kit.engine
        await watch.wait_until_up()
        assert watch.info is not None
        watch.info = replace(watch.info, sees_our_files=False)
        assert await run(house) == ((), [None, None])
