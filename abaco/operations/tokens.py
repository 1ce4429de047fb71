"""From a bearer token to the caller behind it."""

from __future__ import annotations

from abaco.domain.actor import ActorKey
from abaco.domain.caller import ALL_ROLE, EVERYONE_ROLE, Caller, check_tenant, is_user_name
from abaco.domain.ids import Tenant
from abaco.domain.run_token import Run
from abaco.errors import NotFoundError, UnauthenticatedError
from abaco.operations.services import Services, api_server_of


async def identify(services: Services, token: str) -> Caller:
    """Return the caller a bearer token proves.

    Raises:
        UnauthenticatedError: It proves nobody.
        InvalidInputError: Its tenant can be none.
        IssuerUnavailableError: It cannot be verified now.
        StoreUnavailableError: Whether its execution runs cannot be told now.

    """
    if services.bearer is None:
        raise UnauthenticatedError("bearer tokens are not accepted here; see web.accept_bearer")
    identity = await services.bearer.identify(token)
    if not is_user_name(identity.user):
        raise UnauthenticatedError("invalid bearer token: it names no user")
    tenant = check_tenant(identity.tenant)
    if identity.run is not None:
        await _check_run(services, tenant, identity.run)
    return Caller(
        tenant=tenant,
        user=identity.user,
        # "ALL" is what access mode none gives; no token may claim it.
        roles=frozenset(identity.roles - {ALL_ROLE} or {EVERYONE_ROLE}),
        api_server=api_server_of(services.settings, tenant),
        only_actor=(
            ActorKey(tenant, identity.run.actor_id)
            if identity.run is not None and identity.is_for_actor
            else None
        ),
    )


async def _check_run(services: Services, tenant: Tenant, run: Run) -> None:
    """Refuse the token of a run that is over.

    The execution's record is asked, each time: it turns final in the one step that ends the run,
    so a token is dead from then on, also when the process was killed right after that step.
    """
    if not services.settings.runtime.revoke_on_finish:
        return
    try:
        execution = await services.stores.executions.get(run.key(tenant))
    except NotFoundError as error:
        raise UnauthenticatedError("invalid bearer token: its execution is gone") from error
    if not run.is_under_way(execution):
        raise UnauthenticatedError("invalid bearer token: its execution has ended")
