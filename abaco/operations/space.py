"""Whether there is room on disk for more messages.

A disk that is full keeps executions from being recorded, and a server from starting again. So a
part of it is kept for them: before it is touched, new messages are refused.
"""

from __future__ import annotations

from abaco.domain.health import CheckReport
from abaco.domain.limits import parse_memory
from abaco.errors import StoreUnavailableError

_MIB = 1024**2


class Space:
    """What is known of the room on disk.

    Args:
        least_bytes: Below this nothing more is taken in; None for no limit.

    """

    def __init__(self, least_bytes: int | None = None) -> None:
        self._least_bytes = least_bytes
        #: as found last; None while nobody has looked, or could
        self.free_bytes: int | None = None

    @classmethod
    def of(cls, min_free_disk: str) -> Space:
        """Read the limit as the settings spell it."""
        return cls(parse_memory(min_free_disk))

    def note(self, free_bytes: int | None) -> None:
        """Take in what somebody found."""
        self.free_bytes = free_bytes

    def has_room(self, more_bytes: int = 0) -> bool:
        """Tell whether so much may be written for a client; what is not known counts as room."""
        if self._least_bytes is None or self.free_bytes is None:
            return True
        return self.free_bytes - more_bytes >= self._least_bytes

    def check(self, more_bytes: int = 0) -> None:
        """Refuse to take something in that there is no room for.

        Raises:
            StoreUnavailableError: There is too little.

        """
        if not self.has_room(more_bytes):
            raise StoreUnavailableError(
                "the server's disk is nearly full, so it takes no messages now",
                detail=f"{self.free_bytes} bytes free",
            )

    def report(self) -> CheckReport:
        """Say how things stand, for people."""
        if self.free_bytes is None:
            return CheckReport(name="disk", is_ok=True, detail="not looked at yet")
        detail = f"{self.free_bytes // _MIB} MiB free"
        if not self.has_room():
            detail += f", messages are taken from {(self._least_bytes or 0) // _MIB} MiB on"
        return CheckReport(name="disk", is_ok=self.has_room(), detail=detail)
