"""The host's clocks and random numbers."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from abaco.domain.ids import ID_BITS, encode_id, is_id
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
