"""Resource limits as clients write them."""

from __future__ import annotations

import re
from decimal import Decimal

from abaco.errors import InvalidInputError

#: written for "no limit"
UNLIMITED = "-1"

#: largest limit that engines can hold (signed 64 bit)
MAX_BYTES = 2**63 - 1

_MEMORY = re.compile(
    r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,9})?) ?(?:(?P<unit>[kmgtp])(?:i?b)?|b)?", re.IGNORECASE
)
_FACTOR = {unit: 1024**power for power, unit in enumerate("kmgtp", start=1)}


def parse_memory(text: str) -> int | None:
    """Read engine memory syntax: ``512m``, ``3g``, ``1.5GiB``, bytes without a unit.

    Returns:
        Bytes, or None for no limit (``-1``).

    Raises:
        InvalidInputError: Names the field ``mem_limit``.

    """
    if text.strip() == UNLIMITED:
        return None
    match = _MEMORY.fullmatch(text.strip())
    if match is not None:
        factor = _FACTOR[match["unit"].lower()] if match["unit"] else 1
        value = int(Decimal(match["number"]) * factor)
        if 0 < value <= MAX_BYTES:
            return value
    raise InvalidInputError(
        f"{text[:80]!r} is no memory limit; write for example 512m or 3g, or -1 for no limit",
        field="mem_limit",
    )
