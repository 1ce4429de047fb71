"""What of the host an actor's containers get: found at every registration and update."""

from __future__ import annotations

import logging

from abaco.domain.actor import ActorDefinition
from abaco.domain.host_access import MAX_ID, HostAccess, HostUser
from abaco.domain.ids import Tenant
from abaco.domain.mount import (
    HOME,
    TENANT,
    USERNAME,
    Mount,
    MountTemplate,
    parse_mounts,
    resolve_mounts,
)
from abaco.errors import IdentityUnavailableError, InvalidInputError, NoAccountError
from abaco.operations.services import Services

_log = logging.getLogger(__name__)


async def find_host_access(
    services: Services, tenant: Tenant, owner: str, definition: ActorDefinition
) -> HostAccess:
    """Find user and mounts, always those of the owner, whoever asks.

    An actor that runs as its image's user has no home, so it has no mounts that need one.

    Raises:
        InvalidInputError: The owner is nobody on the host, or may not be used there.
        IdentityUnavailableError: Whoever knows the users cannot be asked.

    """
    _check_privileged(services, definition)
    user = None if definition.use_container_uid else await _find_user(services, tenant, owner)
    home = user.home if user and user.home and user.home.strip("/") else None
    names = {USERNAME: owner, TENANT: str(tenant), HOME: home or ""}
    mounts = _resolve(_templates(services, tenant, definition), names)
    if user is None:
        return HostAccess(mounts=mounts)
    return HostAccess(uid=user.uid, gid=user.gid, tasdir=user.home, mounts=mounts)


def _check_privileged(services: Services, definition: ActorDefinition) -> None:
    if definition.privileged and not services.settings.workers.allow_privileged:
        raise InvalidInputError(
            "privileged actors are switched off here ([workers] allow_privileged)",
            field="privileged",
        )


async def _find_user(services: Services, tenant: Tenant, owner: str) -> HostUser | None:
    if services.identity is None:
        return None
    workers = services.settings.workers
    try:
        user = await services.identity.find(tenant, owner)
    except (NoAccountError, IdentityUnavailableError) as error:
        if workers.identity_failure == "error":
            raise
        _log.warning("an actor of %s runs as its image's user: %s", owner, error.message)
        return None
    if user is None:
        return None
    if not workers.least_uid <= user.uid <= MAX_ID or not 0 <= user.gid <= MAX_ID:
        # not softened by identity_failure: the image's user may be who must not run
        raise InvalidInputError(
            f"actors may not run as user {user.uid}, group {user.gid} of the container host"
            " ([workers] least_uid)",
            field="owner",
        )
    return user


def _templates(
    services: Services, tenant: Tenant, definition: ActorDefinition
) -> list[MountTemplate]:
    workers = services.settings.workers
    found = [*parse_mounts(workers.for_tenant("global_mounts", tenant))]
    if definition.privileged:
        found += parse_mounts(workers.privileged_mounts)
    return found


def _resolve(templates: list[MountTemplate], names: dict[str, str]) -> tuple[Mount, ...]:
    try:
        return resolve_mounts(templates, names)
    except ValueError as error:
        raise InvalidInputError(
            f"the mounts configured here cannot be made for this owner: {error}", field="owner"
        ) from error
