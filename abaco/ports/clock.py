"""Time and fresh identifiers, from outside, so that tests can decide both."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for records, one for durations."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the wall time, aware, UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never goes back."""


class IdSource(Protocol):
    """Makes identifiers."""

    @abstractmethod
    def new_id(self) -> str:
        """Return an identifier of 63 bits from a cryptographic source."""

    @abstractmethod
    def is_id(self, text: str) -> bool:
        """Tell whether ``text`` has the form of an identifier of this instance."""
