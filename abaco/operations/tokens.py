"""From a bearer token to the caller behind it."""

from __future__ import annotations

from abaco.domain.caller import ALL_ROLE, EVERYONE_ROLE, Caller, check_tenant, is_user_name
from abaco.errors import UnauthenticatedError
from abaco.operations.services import Services, api_server_of


async def identify(services: Services, token: str) -> Caller:
    """Return the caller a bearer token proves.

    Raises:
        UnauthenticatedError: It proves nobody.
        InvalidInputError: Its tenant can be none.
        IssuerUnavailableError: It cannot be verified now.

    """
    if services.bearer is None:
        raise UnauthenticatedError("bearer tokens are not accepted here; see web.accept_bearer")
    identity = await services.bearer.identify(token)
    if not is_user_name(identity.user):
        raise UnauthenticatedError("invalid bearer token: it names no user")
    tenant = check_tenant(identity.tenant)
    return Caller(
        tenant=tenant,
        user=identity.user,
        # "ALL" is what access mode none gives; no token may claim it.
        roles=frozenset(identity.roles - {ALL_ROLE} or {EVERYONE_ROLE}),
        api_server=api_server_of(services.settings, tenant),
    )
