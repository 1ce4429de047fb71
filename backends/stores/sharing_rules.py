"""What every store decides alike about permissions, aliases, nonces and configs.

No text here repeats a nonce: who may read a log or an answer must not be able to redeem it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from abaco.domain.actor_config import ConfigKey
from abaco.domain.alias import AliasKey
from abaco.domain.nonce import Nonce
from abaco.domain.permission import WORLD, Level, ObjectKey
from abaco.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RequestError,
    TooLargeError,
)


def no_object(key: ObjectKey) -> NotFoundError:
    """Say that an object is absent."""
    return NotFoundError(f"there is no {key.kind} {key.name!r}")


def no_alias(key: AliasKey) -> NotFoundError:
    """Say that the alias is absent."""
    return NotFoundError(f"there is no alias {key.alias!r}")


def no_config(key: ConfigKey) -> NotFoundError:
    """Say that the config is absent."""
    return NotFoundError(f"there is no config {key.name!r}")


def no_target(identifier: str) -> NotFoundError:
    """Say that what a config lists is absent."""
    return NotFoundError(f"there is no actor or alias {identifier!r}")


def too_many_values(max_bytes: int) -> TooLargeError:
    """Say that an actor's configs fit no environment."""
    return TooLargeError(f"the actor's configs have more than {max_bytes} bytes in all")


def no_nonce() -> NotFoundError:
    """Say that the nonce is absent."""
    return NotFoundError("there is no such nonce")


def nonce_exists() -> ConflictError:
    """Say that the nonce's id is taken."""
    return ConflictError("a nonce with this id already exists")


def check_levels(levels: Mapping[str, Level]) -> None:
    """Refuse a map that leaves its object without anybody who may change it."""
    if not any(level is Level.UPDATE and user != WORLD for user, level in levels.items()):
        raise ConflictError(f"somebody must keep the level {Level.UPDATE.name}, beside {WORLD}")


def check_nonce(nonce: Nonce) -> None:
    """Refuse a nonce whose tenant is not its target's."""
    if nonce.tenant != nonce.target.tenant:
        raise ValueError("a nonce belongs to the tenant of its target")


def may_redeem(nonce: Nonce, target: ObjectKey, needed: Level, now: datetime) -> bool:
    """Tell whether a nonce has a use left and is good for this now."""
    is_good = nonce.target == target and nonce.level >= needed and nonce.remaining_uses != 0
    return is_good and not _has_expired(nonce, now)


def _has_expired(nonce: Nonce, now: datetime) -> bool:
    return nonce.expires_at is not None and nonce.expires_at <= now


def refuse_redeem(
    nonce: Nonce | None, target: ObjectKey, needed: Level, now: datetime
) -> RequestError:
    """Say why a nonce, None when absent, may not be redeemed."""
    if nonce is None or nonce.target != target:
        return no_nonce()
    if nonce.level < needed:
        return ForbiddenError(
            f"the level of this nonce is {nonce.level.name}, {needed.name} is needed"
        )
    if _has_expired(nonce, now):
        return ForbiddenError("this nonce has expired")
    return ForbiddenError("this nonce has no uses left")
