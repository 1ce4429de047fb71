"""The host's clocks and random numbers."""

from __future__ import annotations

import fcntl
import io
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from abaco.domain.ids import ID_BITS, encode_id, is_id
from abaco.errors import ConfigError
from abaco.ports.clock import Clock, IdSource


class SystemClock(Clock):
    """The host's clocks."""

    def now(self) -> datetime:
        """Return the wall time, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start."""
        return time.monotonic()


#: identifiers' worth of random bytes fetched at once; a system call for each is dear
_IDS_AT_ONCE = 256
_ID_BYTES = 8


class RandomIds(IdSource):
    """Identifiers from the system's cryptographic source."""

    def __init__(self, salt: str) -> None:
        self._salt = salt
        self._random = io.BytesIO()

    def new_id(self) -> str:
        """Return a fresh identifier."""
        drawn = self._random.read(_ID_BYTES)
        if not drawn:
            self._random = io.BytesIO(secrets.token_bytes(_IDS_AT_ONCE * _ID_BYTES))
            drawn = self._random.read(_ID_BYTES)
        return encode_id(int.from_bytes(drawn) >> (_ID_BYTES * 8 - ID_BITS), self._salt)

    def is_id(self, text: str) -> bool:
        """Tell whether the text decodes under this instance's salt."""
        return is_id(text, self._salt)


@contextmanager
def hold_data_dir(data_dir: Path) -> Iterator[str]:
    """Hold the data directory for this process alone and yield the installation's name.

    The name is made at the first start and kept beside the data. Containers are labelled with
    it, so that two installations can share an engine. The hold is the kernel's: it ends with the
    process, however that ends.

    Raises:
        ConfigError: The directory cannot be used, or another process holds it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("a")
        name = _instance_name(data_dir / "instance")
    except OSError as error:
        raise ConfigError(
            f"general.data_dir: {data_dir} cannot be used ({error.strerror}); name a directory"
            " this user may write"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"general.data_dir: {data_dir} is in use by another Abaco process; stop that one"
                " first or name another directory"
            ) from error
        yield name


def is_held(data_dir: Path) -> bool:
    """Tell whether a process holds the data directory.

    For a moment nobody else can take hold of it; one that tries just then is refused.
    """
    try:
        lock = (data_dir / "lock").open()
    except OSError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _instance_name(path: Path) -> str:
    name = path.read_text().strip() if path.exists() else ""
    if not name:
        name = secrets.token_hex(8)
        path.write_text(name)
    return name
