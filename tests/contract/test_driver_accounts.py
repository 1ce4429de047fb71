"""Images behind accounts, by digests, and out of the way again: real engines, a real registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from abaco.errors import EngineTimeoutError, ImageMissingError
from abaco.ports.driver import Credentials
from tests.support.debian_registry import DebianRegistry, a_registry
from tests.support.drivers import Lab, settings
from tests.support.engines import Engine
from tests.support.images import rootfs_tar, shell
from tests.support.records import new_id
from tests.support.registry import running_registry

JANE = Credentials(username="jane", password="correct-horse")
WRONG = Credentials(username="jane", password="battery-staple")


@pytest.fixture
async def lab(engine: Engine) -> AsyncIterator[Lab]:
    driver = engine.driver(settings(), "mine")
    yield Lab(driver)
    await driver.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DebianRegistry]:
    with a_registry(tmp_path, jane=JANE.password) as registry:
        yield registry


def name() -> str:
    """A name no earlier test has put on the host."""
    return f"team/image{new_id().lower()}"


async def pull(lab: Lab, reference: str, who: Credentials | None = JANE) -> str:
    image = await lab.driver.pull_image(reference, timeout_s=60, may_keep=False, credentials=who)
    assert image.is_pulled
    return image.id


async def run(lab: Lab, reference: str) -> bytes:
    output, _ = await lab.run(image=reference)
    return output


async def clear(lab: Lab) -> None:
    """Remove the containers."""
    for container in await lab.driver.list_owned():
        await lab.driver.remove(container.container_id)


async def test_an_account_opens_the_registry(lab: Lab, registry: DebianRegistry) -> None:
    reference = registry.put(name(), rootfs_tar(), shell(f"echo private # {new_id()}"))
    await pull(lab, reference)
    assert await run(lab, reference) == b"private\n"


@pytest.mark.parametrize("who", [None, WRONG], ids=["nobody", "wrong password"])
async def test_without_it_nothing_comes(
    lab: Lab, registry: DebianRegistry, who: Credentials | None
) -> None:
    reference = registry.put(name(), rootfs_tar(), shell(f"echo {new_id()}"))
    lines: list[str] = []
    with pytest.raises(ImageMissingError, match=r"could not be pulled.*auth") as caught:
        await lab.driver.pull_image(
            reference, timeout_s=60, may_keep=True, credentials=who, progress=lines.append
        )
    assert reference in caught.value.message
    assert await lab.driver.find_image(reference) is None
    for text in (str(caught.value), repr(caught.value.__cause__), *lines):
        assert WRONG.password not in text


async def test_what_is_here_must_be_asked_for(lab: Lab, registry: DebianRegistry) -> None:
    reference = registry.put(name(), rootfs_tar(), shell(f"echo private # {new_id()}"))
    image = await pull(lab, reference)
    with pytest.raises(ImageMissingError):
        await pull(lab, reference, None)
    kept = await lab.driver.pull_image(reference, timeout_s=60, may_keep=True)
    assert (kept.id, kept.is_pulled) == (image, False)
    assert await pull(lab, reference) == image


async def test_a_registry_that_is_away_hands_nothing_out(
    lab: Lab, registry: DebianRegistry
) -> None:
    reference = registry.put(name(), rootfs_tar(), shell(f"echo private # {new_id()}"))
    await pull(lab, reference)
    registry.stop()
    with pytest.raises(ImageMissingError, match=r"refused|connect"):
        await pull(lab, reference)


async def test_a_digest_is_the_same_image_for_ever(lab: Lab, registry: DebianRegistry) -> None:
    repository, one, two = name(), new_id(), new_id()
    reference = registry.put(repository, rootfs_tar(), shell(f"echo {one}"))
    await pull(lab, reference)
    first = await lab.driver.find_image(reference)
    assert first is not None
    assert first.digest.startswith(f"{registry.address}/{repository}@sha256:")
    assert first.tags == (reference,)
    assert f"{registry.address}/{repository}" in first.repositories
    assert first.size_bytes > 1_000_000
    registry.put(repository, rootfs_tar(), shell(f"echo {two}"))
    second = await pull(lab, reference)
    assert second != first.id
    assert await run(lab, first.digest) == f"{one}\n".encode()
    assert await run(lab, reference) == f"{two}\n".encode()
    await clear(lab)
    assert await lab.driver.remove_image(first.id, [reference, first.digest])
    assert await lab.driver.find_image(first.id) is None
    assert await pull(lab, first.digest) == first.id
    both = reference + first.digest[first.digest.index("@") :]
    found = await lab.driver.find_image(both)
    assert found is not None
    assert (found.id, found.digest) == (first.id, first.digest)


async def test_a_container_holds_its_image(lab: Lab, registry: DebianRegistry) -> None:
    reference = registry.put(name(), rootfs_tar(), shell(f"echo used # {new_id()}"))
    image = await pull(lab, reference)
    assert (await lab.driver.list_images())[image] > 1_000_000
    running = await lab.start(image=reference)
    await running.wait()
    assert not await lab.driver.remove_image(image, [reference])
    assert await run(lab, reference) == b"used\n"
    await clear(lab)
    for _ in range(2):
        assert await lab.driver.remove_image(image, [reference])
    assert image not in await lab.driver.list_images()
    assert await lab.driver.find_image(reference) is None


async def test_a_name_that_somebody_gave_it_holds_an_image(
    lab: Lab, registry: DebianRegistry
) -> None:
    repository, layer, config = name(), rootfs_tar(), shell(f"echo {new_id()}")
    one, two = (registry.put(repository, layer, config, tag) for tag in ("one", "two"))
    image = await pull(lab, one)
    assert await pull(lab, two) == image
    assert not await lab.driver.remove_image(image, [one])
    assert await lab.driver.find_image(one) is not None
    assert await lab.driver.remove_image(image, [two, one])
    assert await lab.driver.find_image(image) is None


async def test_a_container_holds_an_image_with_all_its_names(
    lab: Lab, registry: DebianRegistry
) -> None:
    repository, layer, config = name(), rootfs_tar(), shell(f"echo {new_id()}")
    names = [registry.put(repository, layer, config, tag) for tag in ("one", "two")]
    images = {await pull(lab, each) for each in names}
    running = await lab.start(image=names[0])
    await running.wait()
    (image,) = images
    assert not await lab.driver.remove_image(image, names)
    for each in names:
        assert await lab.driver.find_image(each) is not None


async def test_an_image_that_is_gone_shows_when_it_is_to_run(
    lab: Lab, registry: DebianRegistry
) -> None:
    reference = registry.put(name(), rootfs_tar(), shell(f"echo gone # {new_id()}"))
    image = await pull(lab, reference)
    slot = await lab.driver.prepare(await lab.spec(reference))
    assert await lab.driver.remove_image(image, [reference])
    with pytest.raises(ImageMissingError, match="gone"):
        await lab.driver.dispatch(slot, lab.context())
    assert await lab.driver.list_owned() == []


async def test_a_registry_that_dies_in_mid_pull(lab: Lab) -> None:
    async with running_registry() as registry:
        reference = registry.put(name(), rootfs_tar() + new_id().encode(), shell("echo whole"))
        registry.is_breaking = True
        with pytest.raises((ImageMissingError, EngineTimeoutError), match="could not be pulled"):
            await lab.driver.pull_image(reference, timeout_s=4, may_keep=True)
        assert await lab.driver.find_image(reference) is None
        registry.is_breaking = False
        await pull(lab, reference, None)
        assert await run(lab, reference) == b"whole\n"


async def test_images_of_the_host_are_left_alone(lab: Lab) -> None:
    echo = await lab.driver.find_image("abaco_test_echo")
    assert echo is not None
    assert not await lab.driver.remove_image(echo.id, [])
    with suppress(ImageMissingError):
        await lab.driver.pull_image("abaco_test_echo", timeout_s=30, may_keep=True)
    assert await lab.driver.find_image("abaco_test_echo") == echo


async def test_a_name_without_registry_is_not_found_at_another(
    lab: Lab, registry: DebianRegistry
) -> None:
    """Podman would take any image whose name ends like that: somebody else's."""
    repository = name()
    await pull(lab, registry.put(repository, rootfs_tar(), shell(f"echo {new_id()}")))
    for short in (repository, repository.rpartition("/")[2]):
        assert await lab.driver.find_image(short) is None
