"""Keys in a file: what is encrypted today is read tomorrow, whatever happens to the process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from abaco.config import Settings
from abaco.errors import ConfigError, VaultError
from backends import vault as vaults
from backends.vault import FernetVault, ephemeral_vault, open_vault


def a_key() -> str:
    return Fernet.generate_key().decode()


def settings(directory: Path, *, backend: str = "sqlite", **web: Any) -> Settings:
    return Settings.model_validate(
        {"general": {"data_dir": directory}, "store": {"backend": backend}, "web": web}
    )


def key_file(directory: Path, *lines: str, mode: int = 0o600) -> Path:
    path = directory / "encryption.keys"
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(mode)
    return path


@pytest.mark.parametrize("text", ["", "hunter2", "ünï ☃ \n\0", "x" * 200_000])
def test_what_goes_in_comes_out(text: str) -> None:
    vault = ephemeral_vault()
    ciphertext = vault.encrypt(text)
    assert vault.decrypt(ciphertext) == text
    assert ciphertext.isascii()
    assert not text or text not in ciphertext
    assert vault.encrypt(text) != ciphertext


@pytest.mark.parametrize("ciphertext", ["", "hunter2", "☃", ephemeral_vault().encrypt("x")])
def test_what_no_key_opens_is_refused_without_being_repeated(ciphertext: str) -> None:
    with pytest.raises(VaultError) as caught:
        ephemeral_vault().decrypt(ciphertext)
    assert not ciphertext or ciphertext not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert not ephemeral_vault().is_current(ciphertext)


def test_the_first_start_makes_a_key_only_its_user_can_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    before = os.umask(0)
    try:
        ciphertext = open_vault(settings(tmp_path)).encrypt("hunter2")
    finally:
        os.umask(before)
    path = tmp_path / "encryption.keys"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["encryption.keys"]
    assert str(path) in caplog.text
    assert path.read_text().strip() not in caplog.text
    assert open_vault(settings(tmp_path)).decrypt(ciphertext) == "hunter2"


def test_a_store_that_nothing_outlives_needs_no_file(tmp_path: Path) -> None:
    vault = open_vault(settings(tmp_path, backend="memory"))
    assert vault.decrypt(vault.encrypt("x")) == "x"
    assert list(tmp_path.iterdir()) == []
    key = a_key()
    inline = open_vault(settings(tmp_path, backend="memory", encryption_key=key))
    assert Fernet(key).decrypt(inline.encrypt("x").encode()) == b"x"


def test_a_named_file_is_read_and_never_made(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere"
    with pytest.raises(ConfigError, match=r"web\.encryption_key_file: there is no .*elsewhere"):
        open_vault(settings(tmp_path, encryption_key_file=path))
    assert list(tmp_path.iterdir()) == []
    key_file(tmp_path, "# made by hand", "", a_key()).rename(path)
    vault = open_vault(settings(tmp_path, backend="memory", encryption_key_file=path))
    assert Fernet(path.read_text().split()[-1]).decrypt(vault.encrypt("x").encode()) == b"x"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    key_file(tmp_path, a_key(), mode=mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_vault(settings(tmp_path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no key"),
        (b"# nothing\n\n", "has no key"),
        (b"hunter2\n", "line 1 of"),
        (f"{a_key()}\nhunter2\n".encode(), "line 2 of"),
        (b"\xff\xfe", "is no text"),
    ],
)
def test_a_file_that_is_none_is_refused_and_not_repeated(
    tmp_path: Path, content: bytes, words: str
) -> None:
    key_file(tmp_path).write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        open_vault(settings(tmp_path))
    assert "hunter2" not in str(caught.value)
    assert (tmp_path / "encryption.keys").read_bytes() == content


def test_a_path_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "encryption.keys").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"encryption\.keys cannot be used"):
        open_vault(settings(tmp_path))


class TestInlineKey:
    def test_it_encrypts_while_there_is_no_file(self, tmp_path: Path) -> None:
        key = a_key()
        vault = open_vault(settings(tmp_path, encryption_key=key))
        assert Fernet(key).decrypt(vault.encrypt("x").encode()) == b"x"
        assert list(tmp_path.iterdir()) == []
        assert not vault.has_other_keys()

    def test_behind_a_file_it_decrypts_only(self, tmp_path: Path) -> None:
        key, inline = a_key(), a_key()
        key_file(tmp_path, key)
        vault = open_vault(settings(tmp_path, encryption_key=inline))
        assert Fernet(key).decrypt(vault.encrypt("x").encode()) == b"x"
        old = Fernet(inline).encrypt(b"y").decode()
        assert (vault.decrypt(old), vault.is_current(old)) == ("y", False)
        assert (vault.has_other_keys(), vault.count_old_keys()) == (True, 0)

    async def test_replacing_it_makes_the_file(self, tmp_path: Path) -> None:
        vault = open_vault(settings(tmp_path, encryption_key=a_key()))
        old = vault.encrypt("x")
        await vault.add_key()
        assert len((tmp_path / "encryption.keys").read_text().split()) == 1
        assert (vault.decrypt(old), vault.is_current(old)) == ("x", False)
        assert vault.is_current(vault.encrypt("x"))


class TestReplacingKeys:
    async def test_old_keys_read_until_they_are_dropped(self, tmp_path: Path) -> None:
        vault = open_vault(settings(tmp_path))
        old = vault.encrypt("x")
        await vault.add_key()
        new = vault.encrypt("y")
        assert (vault.is_current(old), vault.is_current(new)) == (False, True)
        for each in (vault, open_vault(settings(tmp_path))):
            assert (each.decrypt(old), each.decrypt(new)) == ("x", "y")
            assert each.count_old_keys() == 1
        assert await vault.drop_old_keys() == 1
        for each in (vault, open_vault(settings(tmp_path))):
            assert each.decrypt(new) == "y"
            assert each.count_old_keys() == 0
            with pytest.raises(VaultError):
                each.decrypt(old)
        assert (tmp_path / "encryption.keys").stat().st_mode & 0o777 == 0o600

    async def test_without_a_file(self) -> None:
        vault = ephemeral_vault()
        old = vault.encrypt("x")
        await vault.add_key()
        assert vault.decrypt(old) == "x"
        assert await vault.drop_old_keys() == 1
        with pytest.raises(VaultError):
            vault.decrypt(old)

    async def test_what_somebody_put_into_the_file_is_read_and_kept(self, tmp_path: Path) -> None:
        vault = open_vault(settings(tmp_path))
        (present,) = (tmp_path / "encryption.keys").read_text().split()
        other = a_key()
        key_file(tmp_path, present, other)
        assert not vault.has_other_keys()
        await vault.add_key()
        assert vault.decrypt(Fernet(other).encrypt(b"x").decode()) == "x"
        third = a_key()
        keys = (tmp_path / "encryption.keys").read_text().split()
        key_file(tmp_path, *keys, third)
        assert await vault.drop_old_keys() == 2
        assert (tmp_path / "encryption.keys").read_text().split() == [keys[0], third]

    async def test_a_file_reached_by_a_link_is_replaced_where_it_is(self, tmp_path: Path) -> None:
        real = tmp_path / "real"
        real.mkdir()
        link = tmp_path / "encryption.keys"
        link.symlink_to(key_file(real, a_key()))
        await open_vault(settings(tmp_path)).add_key()
        assert link.is_symlink()
        assert len((real / "encryption.keys").read_text().split()) == 2

    async def test_a_file_that_cannot_be_written_changes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vault = open_vault(settings(tmp_path))
        before = (tmp_path / "encryption.keys").read_text()
        ciphertext = vault.encrypt("x")

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(vaults.os, "fsync", full)
        with pytest.raises(VaultError, match="cannot be replaced: No space left"):
            await vault.add_key()
        monkeypatch.undo()
        assert (tmp_path / "encryption.keys").read_text() == before
        assert vault.is_current(ciphertext)
        await vault.add_key()  # what the failed try left behind is no hindrance
        assert vault.decrypt(ciphertext) == "x"

    async def test_a_file_that_was_spoilt_is_not_replaced(self, tmp_path: Path) -> None:
        vault = open_vault(settings(tmp_path))
        key_file(tmp_path, "hunter2")
        with pytest.raises(VaultError, match="line 1") as caught:
            await vault.add_key()
        assert "hunter2" not in str(caught.value)
        assert (tmp_path / "encryption.keys").read_text() == "hunter2\n"


KILL = """
import asyncio, os, signal, sys
from pathlib import Path
from backends import vault

steps = int(sys.argv[2])
done = 0

def counted(name):
    real = getattr(vault.os, name)
    def call(*args, **named):
        global done
        if done == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return real(*args, **named)
    setattr(vault.os, name, call)

path = Path(sys.argv[1])
ring = vault.FernetVault(vault._read_keys(path), path=path)
for name in ("open", "fsync", "close"):
    counted(name)
asyncio.run(ring.add_key())
"""


def test_a_process_killed_in_mid_write_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    path = key_file(tmp_path, a_key())
    counts = []
    for steps in range(12):
        before = path.read_text().split()
        command = [sys.executable, "-c", KILL, str(path), str(steps)]
        ended = subprocess.run(command, check=False, capture_output=True)
        assert ended.returncode in (0, -9), ended.stderr
        after = path.read_text().split()
        assert after[-len(before) :] == before
        counts.append(len(after) - len(before))
        assert path.stat().st_mode & 0o777 == 0o600
        FernetVault(after, path=path)
        if ended.returncode == 0:
            break
    assert counts[0] == 0
    assert counts[-1] == 1
    assert set(counts) == {0, 1}
