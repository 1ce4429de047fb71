"""A nonce: a redeemable key with a level and a use limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from abaco.domain.ids import Tenant
from abaco.domain.permission import Level, ObjectKey, ObjectKind
from abaco.errors import InvalidInputError

NonceId = NewType("NonceId", str)

#: uses of a nonce without a limit
UNLIMITED = -1

#: random bytes behind a nonce
NONCE_BYTES = 24

#: more cannot be a nonce: tenant, separator, random part
MAX_NONCE_LENGTH = 256

MAX_DESCRIPTION_LENGTH = 4096

#: more uses are as good as no limit
MAX_USES = 1_000_000_000

#: seconds of the longest life that is not for ever
MAX_LIFE_S = 10 * 366 * 86_400


def tenant_of(nonce_id: str) -> Tenant:
    """Return the tenant a nonce belongs to; empty when the text cannot be a nonce."""
    return Tenant(nonce_id.rpartition("_")[0])


def check_nonce(
    target: ObjectKey, level: Level, max_uses: int, description: str, expires_in: int | None
) -> None:
    """Refuse a nonce that cannot be made; ``expires_in`` is seconds, None for ever.

    Raises:
        InvalidInputError: Names the field.

    """
    if not (1 <= max_uses <= MAX_USES or max_uses == UNLIMITED):
        raise InvalidInputError(f"must be 1 to {MAX_USES}, or -1 for no limit", field="max_uses")
    if expires_in is not None and not 1 <= expires_in <= MAX_LIFE_S:
        raise InvalidInputError(f"must be 1 to {MAX_LIFE_S} seconds", field="expires_in")
    if target.kind is ObjectKind.ALIAS and level > Level.EXECUTE:
        raise InvalidInputError("nonces of an alias go up to EXECUTE", field="level")
    if len(description) > MAX_DESCRIPTION_LENGTH:
        raise InvalidInputError(f"at most {MAX_DESCRIPTION_LENGTH} characters", field="description")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonce:
    """One nonce as stored.

    Attributes:
        id: ``<tenant>_<random>``; the random part has no ``_``.
        target: The actor or alias it opens; with no other can it be used.
        roles: Of its owner when it was made; they apply when it is redeemed.
        remaining_uses: -1 for ever, else counted down to 0.
        expires_at: From then on it opens nothing; None for ever.

    """

    id: NonceId
    tenant: Tenant
    target: ObjectKey
    owner: str
    roles: tuple[str, ...]
    level: Level
    api_server: str
    create_time: datetime
    description: str = ""
    max_uses: int = UNLIMITED
    current_uses: int = 0
    remaining_uses: int = UNLIMITED
    last_use_time: datetime | None = None
    expires_at: datetime | None = None
