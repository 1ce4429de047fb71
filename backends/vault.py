"""Secrets at rest: Fernet, with keys in a file.

The file has one key per line. The first encrypts, all decrypt. It is only ever replaced as a
whole, so a crash leaves the old one or the new one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from abaco.config import Settings
from abaco.errors import ConfigError, VaultError
from abaco.ports.vault import KeyRing

_log = logging.getLogger(__name__)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO

#: how somebody without Abaco at hand makes one
_MAKE_KEY = "`(umask 077; openssl rand -base64 32 | tr +/ -_ > FILE)`"


class FernetVault(KeyRing):
    """Keys in a file or, without one, in memory.

    Args:
        keys: The file's, the first of which encrypts.
        path: The file.
        inline: A key that stands elsewhere: after the others, and never dropped here.

    """

    def __init__(
        self, keys: Sequence[str], *, path: Path | None = None, inline: str | None = None
    ) -> None:
        self._path = path
        self._inline = inline
        self._use(keys)

    def _use(self, keys: Sequence[str]) -> None:
        every = [*keys, *([self._inline] if self._inline else [])]
        self._keys = list(keys)
        self._first = Fernet(every[0])
        self._all = MultiFernet([Fernet(key) for key in every])

    def encrypt(self, text: str) -> str:
        """Encrypt with the first key."""
        return self._first.encrypt(text.encode()).decode()

    def decrypt(self, ciphertext: str) -> str:
        """Decrypt with whichever key fits."""
        try:
            return self._all.decrypt(ciphertext.encode()).decode()
        except InvalidToken:
            # without the cause, whose traceback names nothing but the library
            raise VaultError("no encryption key fits this secret") from None

    def is_current(self, ciphertext: str) -> bool:
        """Try the first key alone."""
        try:
            self._first.decrypt(ciphertext.encode())
        except InvalidToken:
            return False
        return True

    def count_old_keys(self) -> int:
        """Count the keys of the file behind the first."""
        return max(0, len(self._keys) - 1)

    def has_other_keys(self) -> bool:
        """Count the inline key too."""
        return len(self._keys) + (self._inline is not None) > 1

    async def add_key(self) -> None:
        """Put a fresh key on top of the file, and read the file again."""
        await self._rewrite(lambda keys: [Fernet.generate_key().decode(), *keys])

    async def drop_old_keys(self) -> int:
        """Leave only what encrypts now, and what somebody put into the file meanwhile."""
        old = set(self._keys[1:])
        await self._rewrite(lambda keys: [key for key in keys if key not in old])
        return len(old)

    async def _rewrite(self, change: Callable[[list[str]], list[str]]) -> None:
        path = self._path
        if path is None:
            self._use(change(self._keys))
            return

        def rewrite() -> list[str]:
            # the file and not memory is what others may have changed
            _write_keys(path, change(_read_keys(path) if path.exists() else []))
            return _read_keys(path)

        loop = asyncio.get_running_loop()
        try:
            with ThreadPoolExecutor(1, "abaco-keys") as pool:
                keys = await loop.run_in_executor(pool, rewrite)
        except (OSError, ConfigError) as error:
            reason = error.message if isinstance(error, ConfigError) else error.strerror
            raise VaultError(f"the keys in {path} cannot be replaced: {reason}") from error
        self._use(keys)


def ephemeral_vault() -> FernetVault:
    """Make a vault whose keys end with the process."""
    return FernetVault([Fernet.generate_key().decode()])


def open_vault(settings: Settings) -> FernetVault:
    """Read the keys that the settings name; at the first start, make one.

    Raises:
        ConfigError: They cannot be read, or others may read them.

    """
    secret = settings.web.encryption_key
    inline = secret.get_secret_value() if secret else None
    named = settings.web.encryption_key_file
    if named is None and settings.store.backend == "memory":  # what nothing outlives
        return FernetVault([], inline=inline) if inline else ephemeral_vault()
    path = (named or settings.general.data_dir / "encryption.keys").resolve()
    try:
        if not path.exists() and inline is None:
            if named is not None:  # a key made here would hide that the right one is missing
                raise ConfigError(
                    f"web.encryption_key_file: there is no {path}; make it with"
                    f" {_MAKE_KEY}, or leave the key out to have one made under general.data_dir"
                )
            _write_keys(path, [Fernet.generate_key().decode()])
            _log.info("made an encryption key in %s", path)
        keys = _read_keys(path) if path.exists() else []
    except OSError as error:
        raise ConfigError(
            f"web.encryption_key_file: {path} cannot be used ({error.strerror})"
        ) from error
    return FernetVault(keys, path=path, inline=inline)


def _read_keys(path: Path) -> list[str]:
    """Read a file of keys; blank lines and comments are passed over."""
    if path.stat().st_mode & _OTHERS:
        raise ConfigError(
            f"web.encryption_key_file: others may read {path}; run `chmod 600 {path}`"
        )
    try:
        lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"web.encryption_key_file: {path} is no text") from error
    keys = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        try:
            Fernet(line)
        except ValueError:
            # the line may be a key with a slip: nobody is shown it
            raise ConfigError(
                f"web.encryption_key_file: line {number} of {path} is no Fernet key (32 bytes in"
                " urlsafe base64)"
            ) from None
        keys.append(line)
    if not keys:
        raise ConfigError(f"web.encryption_key_file: {path} has no key")
    return keys


def _write_keys(path: Path, keys: Sequence[str]) -> None:
    """Replace the file as a whole; it is on disk when this returns."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)  # left by a process that was killed
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.writelines(f"{key}\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
