"""What every store decides alike about permissions, aliases and nonces.

No text here repeats a nonce: who may read a log or an answer must not be able to redeem it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from abaco.domain.alias import AliasKey
from abaco.domain.nonce import Nonce
from abaco.domain.permission import WORLD, Level, ObjectKey, ObjectKind
from abaco.errors import ConflictError, ForbiddenError, NotFoundError, RequestError


def no_object(key: ObjectKey) -> NotFoundError:
    """Say that an object is absent."""
    return NotFoundError(f"there is no {key.kind} {key.name!r}")


def no_alias(key: AliasKey) -> NotFoundError:
    """Say that the alias is absent."""
    return NotFoundError(f"there is no alias {key.alias!r}")


def no_nonce() -> NotFoundError:
    """Say that the nonce is absent."""
    return NotFoundError("there is no such nonce")


def nonce_exists() -> ConflictError:
    """Say that the nonce's id is taken."""
    return ConflictError("a nonce with this id already exists")


def begins_with_grant(kind: ObjectKind) -> bool:
    """Tell whether a first grant may begin a map; an actor's and an alias's begin with them."""
    return kind is ObjectKind.CONFIG


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
