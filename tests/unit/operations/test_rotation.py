"""Replacing the key of secrets: whatever happens in between, every secret can be read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from abaco.config import Settings
from abaco.domain.actor import Actor
from abaco.domain.ids import Tenant
from abaco.errors import StoreError, StoreUnavailableError, VaultError
from abaco.operations import rotation as rotations
from abaco.operations.rotation import Rotation, RotationReport
from abaco.ports.store import Stores
from abaco.ports.vault import KeyRing, Sealed
from backends.vault import FernetVault, ephemeral_vault, open_vault
from tests.support.faults import Fault, When, faulty_stores
from tests.support.records import SteppedClock, a_config
from tests.support.stores import BACKENDS, insert_actor, insert_config, opened

SETTLE_S = 0.05
#: longest a rotation may take before it counts as stuck
PATIENCE_S = 10.0


@pytest.fixture(params=BACKENDS)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    async with opened(request.param, tmp_path, SteppedClock()) as stores:
        yield stores


@pytest.fixture
async def actor(stores: Stores) -> Actor:
    return await insert_actor(stores)


async def add_secrets(stores: Stores, actor: Actor, vault: KeyRing, count: int) -> None:
    for n in range(count):
        await add_secret(stores, actor, vault, f"c{n:03}")


async def add_secret(stores: Stores, actor: Actor, vault: KeyRing, name: str) -> None:
    value = vault.encrypt(f"value of {name}")
    await insert_config(stores, actor.id, name, value=value, is_secret=True, tenant=actor.tenant)


async def check_all(
    stores: Stores, vault: KeyRing, count: int, *, current: bool, tenant: str = "DEV"
) -> None:
    """See that every secret can be read and, if so wanted, only with the present key."""
    names = await stores.configs.list_names(Tenant(tenant))
    found = await stores.configs.get_many(Tenant(tenant), names)
    assert len(found) == count
    for config in found:
        assert vault.decrypt(config.value) == f"value of {config.name}"
        assert vault.is_current(config.value) or not current


@asynccontextmanager
async def running(rotation: Rotation) -> AsyncIterator[Rotation]:
    task = asyncio.create_task(rotation.run())
    try:
        yield rotation
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def finished(rotation: Rotation) -> RotationReport:
    await until(lambda: not rotation.report().is_running)
    return rotation.report()


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():  # noqa: ASYNC110 - from outside there is no event
            await asyncio.sleep(0.002)


async def test_everything_is_encrypted_anew_and_the_old_key_dropped(
    stores: Stores, actor: Actor
) -> None:
    vault = ephemeral_vault()
    await add_secrets(stores, actor, vault, 120)
    other = await insert_actor(stores, tenant=Tenant("OTHER"))
    await add_secret(stores, other, vault, "elsewhere")
    public = await insert_config(stores, actor.id, "public", value="clear")
    old = vault.encrypt("x")
    async with running(Rotation(stores, vault, settle_s=SETTLE_S)) as rotation:
        assert rotation.report() == RotationReport()
        await rotation.begin()
        assert rotation.report().is_running
        assert rotation.report().old_keys == 1
        report = await finished(rotation)
    assert report == RotationReport(reencrypted=121)
    assert await stores.configs.get(public.key) == public
    await stores.configs.delete(public.key)
    await check_all(stores, vault, 120, current=True)
    await check_all(stores, vault, 1, current=True, tenant="OTHER")
    with pytest.raises(VaultError):
        vault.decrypt(old)


async def test_secrets_of_webhooks_are_encrypted_anew_too(stores: Stores) -> None:
    vault = ephemeral_vault()
    await insert_actor(stores, webhook="https://x.org/", webhook_secret=vault.encrypt("whsec"))
    async with running(Rotation(stores, vault, settle_s=SETTLE_S)) as rotation:
        await rotation.begin()
        assert await finished(rotation) == RotationReport(reencrypted=1)
    (sealed,) = await stores.webhook_secrets.list_sealed()
    assert vault.is_current(sealed.ciphertext)
    assert vault.decrypt(sealed.ciphertext) == "whsec"


def test_whatever_keeps_ciphertexts_is_looked_through(stores: Stores) -> None:
    ports = [getattr(stores, field.name) for field in fields(stores)]
    keepers = [port for port in ports if hasattr(port, "reseal")]
    assert len(keepers) >= 2
    assert list(stores.sealed) == keepers


async def test_a_second_one_begins_anew_and_one_under_way_is_joined(
    stores: Stores, actor: Actor
) -> None:
    vault = ephemeral_vault()
    await add_secrets(stores, actor, vault, 5)
    async with running(Rotation(stores, vault, settle_s=SETTLE_S)) as rotation:
        for _ in range(2):
            await asyncio.gather(*(rotation.begin() for _ in range(4)))
            assert vault.count_old_keys() == 1
            await rotation.begin()
            assert vault.count_old_keys() == 1
            assert (await finished(rotation)).reencrypted == 5
    await check_all(stores, vault, 5, current=True)


async def test_a_secret_that_is_stored_late_is_encrypted_anew_too(
    stores: Stores, actor: Actor
) -> None:
    """Its ciphertext was made before the new key came, and is stored after the first look."""
    vault = ephemeral_vault()
    await add_secrets(stores, actor, vault, 1)
    late = vault.encrypt("value of late")
    async with running(Rotation(stores, vault, settle_s=2)) as rotation:
        await rotation.begin()
        await until(lambda: rotation.report().reencrypted == 1)
        await asyncio.sleep(0.02)
        await insert_config(stores, actor.id, "late", value=late, is_secret=True)
        assert (await finished(rotation)).reencrypted == 2
    await check_all(stores, vault, 2, current=True)


async def test_changes_while_it_runs_are_kept(stores: Stores, actor: Actor) -> None:
    vault = ephemeral_vault()
    await add_secrets(stores, actor, vault, 60)

    async def change() -> None:
        for n in range(0, 60, 2):
            key = a_config(actor.id, f"c{n:03}").key
            value = vault.encrypt(f"value of {key.name}")
            await stores.configs.replace(key, value=value, is_secret=True, actors=actor.id)
            await asyncio.sleep(0)
        for n in range(1, 60, 6):
            await stores.configs.delete(a_config(actor.id, f"c{n:03}").key)
        for n in range(60, 80):
            await add_secret(stores, actor, vault, f"c{n:03}")

    async with running(Rotation(stores, vault, settle_s=SETTLE_S)) as rotation:
        changing = asyncio.create_task(change())
        await rotation.begin()
        await changing
        assert (await finished(rotation)).unreadable == 0
    await check_all(stores, vault, 70, current=True)


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_what_is_cut_off_anywhere_is_finished_after_the_next_start(
    stores: Stores, actor: Actor, tmp_path: Path, steps: int
) -> None:
    settings = Settings.model_validate({"general": {"data_dir": tmp_path}})
    vault = open_vault(settings)
    await add_secrets(stores, actor, vault, 10)
    rotation = Rotation(stores, vault, settle_s=0)
    task = asyncio.create_task(rotation.run())
    await rotation.begin()
    for _ in range(steps):
        await asyncio.sleep(0.0005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    after = open_vault(settings)
    await check_all(stores, after, 10, current=False)
    async with running(Rotation(stores, after, settle_s=0)) as again:
        await until(lambda: after.count_old_keys() == 0 and not again.report().is_running)
    await check_all(stores, after, 10, current=True)
    assert len((tmp_path / "encryption.keys").read_text().split()) == 1


async def test_without_other_keys_a_start_reads_no_secret(stores: Stores) -> None:
    fault = Fault("list_sealed", When.BEFORE, lambda: StoreError("read"))
    async with running(
        Rotation(faulty_stores(fault)(stores), ephemeral_vault(), settle_s=0)
    ) as rotation:
        await asyncio.sleep(0.02)
        assert not rotation.report().is_running
    assert fault.struck == 0


async def test_an_inline_key_is_needed_no_more_and_never_dropped(
    stores: Stores, actor: Actor, tmp_path: Path
) -> None:
    inline = Fernet.generate_key().decode()
    web = {"encryption_key": inline}
    settings = Settings.model_validate({"general": {"data_dir": tmp_path}, "web": web})
    vault = open_vault(settings)
    await add_secrets(stores, actor, vault, 3)
    async with running(Rotation(stores, vault, settle_s=0)) as rotation:
        await rotation.begin()
        assert await finished(rotation) == RotationReport(reencrypted=3)
    without = open_vault(Settings.model_validate({"general": {"data_dir": tmp_path}}))
    await check_all(stores, without, 3, current=True)
    # what slipped by is found at each start, as long as the key is there
    await stores.configs.insert(
        a_config(
            actor.id,
            "slipped",
            value=Fernet(inline).encrypt(b"value of slipped").decode(),
            is_secret=True,
        )
    )
    async with running(Rotation(stores, open_vault(settings), settle_s=0)) as rotation:
        await until(lambda: rotation.report().reencrypted == 1)
    await check_all(stores, without, 4, current=True)


async def test_what_no_key_opens_is_counted_and_left(stores: Stores, actor: Actor) -> None:
    vault = ephemeral_vault()
    await add_secrets(stores, actor, vault, 2)
    foreign = ephemeral_vault().encrypt("x")
    lost = await insert_config(stores, actor.id, "lost", value=foreign, is_secret=True)
    async with running(Rotation(stores, vault, settle_s=0)) as rotation:
        await rotation.begin()
        assert await finished(rotation) == RotationReport(reencrypted=2, unreadable=1)
    assert await stores.configs.get(lost.key) == lost


class TestFaults:
    @pytest.mark.parametrize("when", When)
    @pytest.mark.parametrize("method", ["list_sealed", "reseal"])
    async def test_a_store_that_is_away_is_waited_for(
        self,
        stores: Stores,
        actor: Actor,
        method: str,
        when: When,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(rotations, "RETRY_S", 0.01)
        vault = ephemeral_vault()
        await add_secrets(stores, actor, vault, 4)
        fault = Fault(method, when, lambda: StoreUnavailableError("away"), times=3)
        async with running(Rotation(faulty_stores(fault)(stores), vault, settle_s=0)) as rotation:
            await rotation.begin()
            assert (await finished(rotation)).failure == ""
        assert fault.struck == 3
        await check_all(stores, vault, 4, current=True)
        assert vault.count_old_keys() == 0

    async def test_a_store_that_is_broken_ends_it_and_old_keys_stay(
        self, stores: Stores, actor: Actor, caplog: pytest.LogCaptureFixture
    ) -> None:
        vault = ephemeral_vault()
        await add_secrets(stores, actor, vault, 4)
        fault = Fault("reseal", When.BEFORE, lambda: StoreError("broken"))
        async with running(Rotation(faulty_stores(fault)(stores), vault, settle_s=0)) as rotation:
            await rotation.begin()
            report = await finished(rotation)
            assert (report.failure, report.old_keys) == ("broken", 1)
            await check_all(stores, vault, 4, current=False)
            await rotation.begin()
            assert await finished(rotation) == RotationReport(reencrypted=4)
        await check_all(stores, vault, 4, current=True)
        assert "old keys stay" in caplog.text

    async def test_a_file_that_cannot_be_written_is_told_before_anything_changes(
        self, stores: Stores, actor: Actor, tmp_path: Path
    ) -> None:
        settings = Settings.model_validate({"general": {"data_dir": tmp_path}})
        vault = open_vault(settings)
        await add_secrets(stores, actor, vault, 2)
        (tmp_path / "encryption.keys").chmod(0o644)
        async with running(Rotation(stores, vault, settle_s=0)) as rotation:
            with pytest.raises(VaultError, match="chmod 600"):
                await rotation.begin()
            assert rotation.report() == RotationReport()
            (tmp_path / "encryption.keys").chmod(0o600)
            await rotation.begin()
            await until(lambda: rotation.report().reencrypted == 2)
            (tmp_path / "encryption.keys").chmod(0o600)
            await finished(rotation)
        await check_all(stores, vault, 2, current=True)

    async def test_a_file_that_cannot_be_written_at_the_end_keeps_the_old_key(
        self, stores: Stores, actor: Actor, tmp_path: Path
    ) -> None:
        settings = Settings.model_validate({"general": {"data_dir": tmp_path}})
        vault = open_vault(settings)
        await add_secrets(stores, actor, vault, 2)
        async with running(Rotation(stores, vault, settle_s=0.1)) as rotation:
            await rotation.begin()
            await until(lambda: rotation.report().reencrypted == 2)
            (tmp_path / "encryption.keys").chmod(0o644)
            report = await finished(rotation)
        assert "chmod 600" in report.failure
        assert report.old_keys == 1
        await check_all(stores, vault, 2, current=True)


async def test_nothing_secret_is_logged(
    stores: Stores, actor: Actor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vault = open_vault(Settings.model_validate({"general": {"data_dir": tmp_path}}))
    keys = (tmp_path / "encryption.keys").read_text().split()
    await add_secrets(stores, actor, vault, 3)
    before = [each.ciphertext for each in await stores.configs.list_sealed()]
    async with running(Rotation(stores, vault, settle_s=0)) as rotation:
        await rotation.begin()
        keys += (tmp_path / "encryption.keys").read_text().split()
        await finished(rotation)
    after: list[Sealed] = await stores.configs.list_sealed()
    assert "dropped 1 old keys" in caplog.text
    for text in (*keys, *before, *(each.ciphertext for each in after), "value of"):
        assert text not in caplog.text
    assert isinstance(vault, FernetVault)
