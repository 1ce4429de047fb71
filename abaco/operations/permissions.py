"""Read and change who may do what with an actor, an alias or a config."""

from __future__ import annotations

from collections.abc import Mapping

from abaco.domain.caller import Caller
from abaco.domain.permission import Level, ObjectKey, check_user, parse_level
from abaco.errors import ForbiddenError, InvalidInputError
from abaco.operations.services import Services


async def levels(services: Services, target: ObjectKey) -> Mapping[str, Level]:
    """Return everybody's level by user."""
    return await services.stores.permissions.levels(target)


async def grant(
    services: Services, caller: Caller, target: ObjectKey, user: str | None, level: str | None
) -> Mapping[str, Level]:
    """Give one user a level in place of the present one; NONE takes it away.

    Returns:
        Everybody's level by user.

    Raises:
        InvalidInputError: Names the field that is missing or wrong.
        ForbiddenError: The caller holds a nonce with a limit, which what it gives would outlast.
        ConflictError: Nobody would be left who may change it.

    """
    if caller.is_nonce_limited:
        raise ForbiddenError("a nonce with a limit of uses or time may not change permissions")
    if user is None:
        raise InvalidInputError("name the user", field="user")
    if level is None:
        raise InvalidInputError("name the level", field="level")
    return await services.stores.permissions.grant(target, check_user(user), parse_level(level))
