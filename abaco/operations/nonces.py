"""Make, list, redeem and delete nonces."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from abaco.domain.caller import ALL_ROLE, Caller
from abaco.domain.nonce import (
    MAX_NONCE_LENGTH,
    NONCE_BYTES,
    UNLIMITED,
    Nonce,
    NonceId,
    check_nonce,
    tenant_of,
)
from abaco.domain.permission import Level, ObjectKey, parse_level
from abaco.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from abaco.operations.access import Right, Scope, target_of
from abaco.operations.services import Services, api_server_of

# No text here repeats a nonce: texts of refusals are logged and shown.
_UNKNOWN = "there is no such nonce"


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceDraft:
    """What a client asked for."""

    level: str = Level.EXECUTE.name
    max_uses: int = UNLIMITED
    description: str = ""
    #: seconds; None for ever
    expires_in: int | None = None


async def create(services: Services, caller: Caller, target: ObjectKey, draft: NonceDraft) -> Nonce:
    """Make a nonce; whoever has it acts as the caller, on this target only.

    Raises:
        InvalidInputError: Names the field.
        ForbiddenError: The caller holds a nonce itself, of a lower level or with a limit.

    """
    level = parse_level(draft.level)
    check_nonce(target, level, draft.max_uses, draft.description, draft.expires_in)
    if caller.nonce_level is not None and level > caller.nonce_level:
        raise ForbiddenError("a nonce may not make nonces above its own level")
    if caller.is_nonce_limited:
        raise ForbiddenError("a nonce with a limit of uses or time may not make nonces")
    now = services.clock.now()
    nonce = Nonce(
        id=NonceId(f"{target.tenant}_{secrets.token_hex(NONCE_BYTES)}"),
        tenant=target.tenant,
        target=target,
        owner=caller.user,
        roles=tuple(sorted(caller.roles)),
        level=level,
        api_server=caller.api_server,
        create_time=now,
        description=draft.description,
        max_uses=draft.max_uses,
        remaining_uses=draft.max_uses,
        expires_at=None if draft.expires_in is None else now + timedelta(seconds=draft.expires_in),
    )
    await services.stores.nonces.insert(nonce)
    return nonce


async def list_nonces(services: Services, target: ObjectKey) -> list[Nonce]:
    """Return an object's nonces, oldest first."""
    return await services.stores.nonces.list_nonces(target)


async def get(services: Services, target: ObjectKey, nonce_id: str) -> Nonce:
    """Return one nonce of an object; nothing is used up.

    Raises:
        NotFoundError: The object has no such nonce.

    """
    if len(nonce_id) > MAX_NONCE_LENGTH:
        raise NotFoundError(_UNKNOWN)
    try:
        nonce = await services.stores.nonces.get(NonceId(nonce_id))
    except NotFoundError as error:
        raise NotFoundError(_UNKNOWN) from error
    if nonce.target != target:
        raise NotFoundError(_UNKNOWN)
    return nonce


async def delete(services: Services, target: ObjectKey, nonce_id: str) -> None:
    """Remove one nonce of an object.

    Raises:
        NotFoundError: The object has no such nonce.

    """
    nonce = await get(services, target, nonce_id)
    try:
        await services.stores.nonces.delete(nonce.id)
    except NotFoundError as error:
        raise NotFoundError(_UNKNOWN) from error


async def redeem(
    services: Services, nonce_id: str, right: Right, name: str, *, is_reading: bool
) -> Caller:
    """Use a nonce once and return whom it makes the caller: its owner, with the roles of then.

    Args:
        services: Ports and settings.
        nonce_id: What the client sent.
        right: What the request needs.
        name: First name in the path: a nonce opens nothing but what it was made for.
        is_reading: Whether the request only reads.

    Raises:
        UnauthenticatedError: There is no such nonce for what the path names.
        ForbiddenError: Its level is too low, no use is left, or the path names nothing.

    """
    if right.scope is Scope.NOTHING:
        raise ForbiddenError("a nonce opens one actor or alias, and this path names none")
    tenant = tenant_of(nonce_id)
    if not tenant or len(nonce_id) > MAX_NONCE_LENGTH:
        raise UnauthenticatedError("the nonce is not valid here")
    target = target_of(services, right.scope, tenant, name)
    needed = right.nonce_level(is_reading=is_reading)
    now = services.clock.now()
    try:
        nonce = await services.stores.nonces.redeem(NonceId(nonce_id), target, needed, now)
    except NotFoundError as error:
        raise UnauthenticatedError("the nonce is not valid here") from error
    return Caller(
        tenant=nonce.tenant,
        user=nonce.owner,
        roles=_roles_now(services, nonce),
        api_server=api_server_of(services.settings, nonce.tenant),
        nonce_level=nonce.level,
        is_nonce_limited=nonce.max_uses != UNLIMITED or nonce.expires_at is not None,
    )


def _roles_now(services: Services, nonce: Nonce) -> frozenset[str]:
    """Return the roles of then, but what only a server without access control gives."""
    roles = frozenset(nonce.roles)
    is_guarded = services.settings.web.access_control != "none"
    return roles - {ALL_ROLE} if is_guarded else roles
