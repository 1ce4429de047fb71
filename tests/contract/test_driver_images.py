"""Images: what is on the host, what is pulled, and when; from a registry over plain HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from abaco.errors import EngineTimeoutError, ImageMissingError
from abaco.ports.driver import PullPolicy
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


async def run(lab: Lab, reference: str) -> bytes:
    output, _ = await lab.run(image=reference)
    return output


async def test_image_is_pulled_when_it_is_not_there(lab: Lab, registry: Registry) -> None:
    reference = registry.put(name(), rootfs_tar(), shell("echo pulled"))
    lines: list[str] = []
    image = await lab.driver.ensure_image(
        reference, PullPolicy.IF_NOT_PRESENT, timeout_s=30, progress=lines.append
    )
    assert image.reference == reference
    assert image.id.startswith("sha256:")
    assert len(lines) > 1
    assert all(line.strip() for line in lines)
    assert await run(lab, reference) == b"pulled\n"


async def test_if_not_present_does_not_ask_again(lab: Lab, registry: Registry) -> None:
    reference = registry.put(name(), rootfs_tar(), shell("echo first"))
    await lab.driver.ensure_image(reference, PullPolicy.IF_NOT_PRESENT, timeout_s=30)
    registry.requests.clear()
    await lab.driver.ensure_image(reference, PullPolicy.IF_NOT_PRESENT, timeout_s=30)
    assert registry.requests == []


async def test_always_brings_the_new_image(lab: Lab, registry: Registry) -> None:
    repository = name()
    reference = registry.put(repository, rootfs_tar(), shell("echo first"))
    first = await lab.driver.ensure_image(reference, PullPolicy.ALWAYS, timeout_s=30)
    registry.put(repository, rootfs_tar(), shell("echo second"))
    second = await lab.driver.ensure_image(reference, PullPolicy.ALWAYS, timeout_s=30)
    assert first.id != second.id
    assert await run(lab, reference) == b"second\n"


async def test_untagged_name_means_latest(lab: Lab, registry: Registry) -> None:
    repository = name()
    registry.put(repository, rootfs_tar(), shell("echo latest"))
    registry.put(repository, rootfs_tar(), shell("echo other"), tag="other")
    untagged = f"{registry.address}/{repository}"
    await lab.driver.ensure_image(untagged, PullPolicy.IF_NOT_PRESENT, timeout_s=30)
    assert await run(lab, untagged) == b"latest\n"
    assert not [line for line in registry.requests if line.endswith("/other")]


async def test_digest_is_pulled(lab: Lab, registry: Registry) -> None:
    repository = name()
    registry.put(repository, rootfs_tar(), shell("echo exact"))
    digest = next(key for image, key in registry.manifests if image == repository and ":" in key)
    reference = f"{registry.address}/{repository}@{digest}"
    await lab.driver.ensure_image(reference, PullPolicy.IF_NOT_PRESENT, timeout_s=30)
    assert await run(lab, reference) == b"exact\n"


@pytest.mark.parametrize("policy", [PullPolicy.IF_NOT_PRESENT, PullPolicy.ALWAYS])
async def test_image_the_registry_does_not_know_is_missing(
    lab: Lab, registry: Registry, policy: PullPolicy
) -> None:
    reference = f"{registry.address}/{name()}"
    with pytest.raises(ImageMissingError, match="could not be pulled") as caught:
        await lab.driver.ensure_image(reference, policy, timeout_s=30)
    assert reference in caught.value.message
    assert registry.requests


async def test_unreachable_registry_is_named(lab: Lab) -> None:
    with pytest.raises(ImageMissingError, match=r"127\.0\.0\.1:9.*(refused|connect)"):
        await lab.driver.ensure_image("127.0.0.1:9/none", PullPolicy.IF_NOT_PRESENT, timeout_s=30)


async def test_never_does_not_pull(lab: Lab, registry: Registry) -> None:
    reference = registry.put(name(), rootfs_tar(), shell("echo x"))
    with pytest.raises(ImageMissingError, match="never"):
        await lab.driver.ensure_image(reference, PullPolicy.NEVER, timeout_s=30)
    assert registry.requests == []


async def test_always_keeps_an_image_built_on_the_host(lab: Lab) -> None:
    lines: list[str] = []
    image = await lab.driver.ensure_image(
        "abaco_test_echo", PullPolicy.ALWAYS, timeout_s=30, progress=lines.append
    )
    assert image == await lab.driver.ensure_image("abaco_test_echo", PullPolicy.NEVER, timeout_s=30)
    assert "as it is on the host" in lines[-1]


async def test_always_keeps_what_was_pulled_when_the_registry_is_away(lab: Lab) -> None:
    async with running_registry() as registry:
        reference = registry.put(name(), rootfs_tar(), shell("echo kept"))
        image = await lab.driver.ensure_image(reference, PullPolicy.ALWAYS, timeout_s=30)
    assert image == await lab.driver.ensure_image(reference, PullPolicy.ALWAYS, timeout_s=30)
    assert await run(lab, reference) == b"kept\n"


async def test_ten_at_once_pull_once(lab: Lab, registry: Registry) -> None:
    reference = registry.put(name(), rootfs_tar(), shell("echo x"))
    images = await asyncio.gather(
        *(
            lab.driver.ensure_image(reference, PullPolicy.IF_NOT_PRESENT, timeout_s=30)
            for _ in range(10)
        )
    )
    assert len({image.id for image in images}) == 1
    layers = [line for line in registry.requests if line.startswith("GET") and "/blobs/" in line]
    assert len(layers) == len(set(layers))


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
            await lab.driver.ensure_image(f"{address}/none", PullPolicy.IF_NOT_PRESENT, timeout_s=1)
    assert (await lab.driver.info()).version
