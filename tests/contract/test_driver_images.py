"""Images: what is on the host, what is pulled, and when; from a registry over plain HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from abaco.errors import EngineTimeoutError, ImageMissingError
from abaco.ports.driver import ImageInfo
from tests.support.drivers import Lab, settings
from tests.support.engines import Engine
from tests.support.images import rootfs_tar, shell
from tests.support.records import new_id
from tests.support.registry import Registry, running_registry


@pytest.fixture
async def lab(engine: Engine) -> AsyncIterator[Lab]:
    driver = engine.driver(settings(), "mine")
    yield Lab(driver)
    await driver.close()


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with running_registry() as registry:
        yield registry


def name() -> str:
    """A name no earlier test has put on the host."""
    return f"image{new_id().lower()}"


async def pull(
    lab: Lab, reference: str, *, may_keep: bool = True, timeout_s: float = 30
) -> ImageInfo:
    return await lab.driver.pull_image(reference, timeout_s=timeout_s, may_keep=may_keep)


async def run(lab: Lab, reference: str) -> bytes:
    output, _ = await lab.run(image=reference)
    return output


async def test_image_is_pulled(lab: Lab, registry: Registry) -> None:
    reference = registry.put(name(), rootfs_tar(), shell("echo pulled"))
    lines: list[str] = []
    assert await lab.driver.find_image(reference) is None
    image = await lab.driver.pull_image(
        reference, timeout_s=30, may_keep=False, progress=lines.append
    )
    assert image.is_pulled
    assert image.reference == reference
    assert image.id.startswith("sha256:")
    assert len(lines) > 1
    assert all(line.strip() for line in lines)
    assert await run(lab, reference) == b"pulled\n"


async def test_looking_asks_no_registry(lab: Lab, registry: Registry) -> None:
    reference = registry.put(name(), rootfs_tar(), shell("echo first"))
    assert await lab.driver.find_image(reference) is None
    assert registry.requests == []
    image = await pull(lab, reference)
    registry.requests.clear()
    found = await lab.driver.find_image(reference)
    assert found is not None
    assert found.id == image.id
    assert not found.is_pulled
    assert registry.requests == []


async def test_a_pull_brings_the_new_image(lab: Lab, registry: Registry) -> None:
    repository = name()
    reference = registry.put(repository, rootfs_tar(), shell("echo first"))
    first = await pull(lab, reference)
    registry.put(repository, rootfs_tar(), shell("echo second"))
    second = await pull(lab, reference)
    assert first.id != second.id
    assert await run(lab, reference) == b"second\n"


async def test_untagged_name_means_latest(lab: Lab, registry: Registry) -> None:
    repository = name()
    registry.put(repository, rootfs_tar(), shell("echo latest"))
    registry.put(repository, rootfs_tar(), shell("echo other"), tag="other")
    untagged = f"{registry.address}/{repository}"
    await pull(lab, untagged)
    assert await run(lab, untagged) == b"latest\n"
    assert not [line for line in registry.requests if line.endswith("/other")]


async def test_digest_is_pulled(lab: Lab, registry: Registry) -> None:
    repository = name()
    registry.put(repository, rootfs_tar(), shell("echo exact"))
    digest = next(key for image, key in registry.manifests if image == repository and ":" in key)
    reference = f"{registry.address}/{repository}@{digest}"
    await pull(lab, reference)
    assert await run(lab, reference) == b"exact\n"


@pytest.mark.parametrize("may_keep", [True, False])
async def test_image_the_registry_does_not_know_is_missing(
    lab: Lab, registry: Registry, may_keep: bool
) -> None:
    reference = f"{registry.address}/{name()}"
    with pytest.raises(ImageMissingError, match="could not be pulled") as caught:
        await pull(lab, reference, may_keep=may_keep)
    assert reference in caught.value.message
    assert registry.requests


async def test_unreachable_registry_is_named(lab: Lab) -> None:
    with pytest.raises(ImageMissingError, match=r"127\.0\.0\.1:9.*(refused|connect)"):
        await pull(lab, "127.0.0.1:9/none")


async def test_an_image_built_on_the_host_is_kept(lab: Lab) -> None:
    lines: list[str] = []
    image = await lab.driver.pull_image(
        "abaco_test_echo", timeout_s=30, may_keep=True, progress=lines.append
    )
    assert image == await lab.driver.find_image("abaco_test_echo")
    assert "as it is on the host" in lines[-1]


async def test_what_was_pulled_is_kept_when_the_registry_is_away(lab: Lab) -> None:
    async with running_registry() as registry:
        reference = registry.put(name(), rootfs_tar(), shell("echo kept"))
        image = await pull(lab, reference)
    assert await pull(lab, reference) == replace(image, is_pulled=False)
    with pytest.raises(ImageMissingError, match=r"refused|connect"):
        await pull(lab, reference, may_keep=False)
    assert await run(lab, reference) == b"kept\n"


async def test_ten_at_once_bring_the_layer_once(lab: Lab, registry: Registry) -> None:
    # no other image has this layer
    reference = registry.put(name(), rootfs_tar() + new_id().encode(), shell("echo x"))
    images = await asyncio.gather(*(pull(lab, reference) for _ in range(10)))
    assert len({image.id for image in images}) == 1
    layer = max(registry.blobs.values(), key=lambda blob: len(blob.data)).digest
    fetches = [line for line in registry.requests if line.startswith("GET") and layer in line]
    assert len(fetches) == 1


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Accept connections, and never answer."""
    writers: list[asyncio.StreamWriter] = []

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.read()

    async with await asyncio.start_server(ignore, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_registry_that_does_not_answer_times_out(lab: Lab) -> None:
    async with silent_server() as address:
        with pytest.raises(EngineTimeoutError, match="longer than 1 s"):
            await pull(lab, f"{address}/none", timeout_s=1)
    assert (await lab.driver.info()).version
