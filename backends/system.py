"""The host's clocks and random numbers."""

from __future__ import annotations

import secrets
import time
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


class RandomIds(IdSource):
    """Identifiers from the system's cryptographic source."""

    def __init__(self, salt: str) -> None:
        self._salt = salt

    def new_id(self) -> str:
        """Return a fresh identifier."""
        return encode_id(secrets.randbits(ID_BITS), self._salt)

    def is_id(self, text: str) -> bool:
        """Tell whether the text decodes under this instance's salt."""
        return is_id(text, self._salt)


def load_instance_id(data_dir: Path) -> str:
    """Return the name of this installation, made at its first start and kept beside its data.

    Containers are labelled with it, so that two installations can share an engine.

    Raises:
        ConfigError: The directory cannot be made or written.

    """
    path = data_dir / "instance"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(secrets.token_hex(8))
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"general.data_dir: {data_dir} cannot be used ({error.strerror}); name a directory"
            " this user may write"
        ) from error
