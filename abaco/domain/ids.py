"""Identifiers: 63 random bits in the hashids alphabet of the older Abaco."""

from __future__ import annotations

from functools import lru_cache
from typing import NewType

from hashids import Hashids

Tenant = NewType("Tenant", str)
ActorId = NewType("ActorId", str)
ExecutionId = NewType("ExecutionId", str)
WorkerId = NewType("WorkerId", str)

#: number of random bits behind an identifier
ID_BITS = 63

#: public salt of the older system; ids decode under it, aliases do not
DEFAULT_SALT = "eJa5wZlEX4eWU"


@lru_cache(maxsize=8)
def _codec(salt: str) -> Hashids:
    return Hashids(salt=salt)


def encode_id(number: int, salt: str = DEFAULT_SALT) -> str:
    """Spell a non-negative integer as an identifier."""
    return str(_codec(salt).encode(number))


def is_id(text: str, salt: str = DEFAULT_SALT) -> bool:
    """Tell an identifier from an alias: an id decodes under the salt."""
    return bool(_codec(salt).decode(text))
