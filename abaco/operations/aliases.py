"""Make, list, repoint and delete aliases."""

from __future__ import annotations

from abaco.domain.actor import ActorKey
from abaco.domain.alias import Alias, check_alias
from abaco.domain.caller import Caller
from abaco.domain.ids import ActorId
from abaco.domain.permission import Level, ObjectKind
from abaco.errors import ConflictError, ForbiddenError, InvalidInputError
from abaco.operations.access import check_length, has_level
from abaco.operations.services import Services

#: also what clients of the older Abaco look for
NO_TARGET_ACCESS = (
    "You do not have UPDATE access to the actor you want to associate with this alias"
)


async def list_visible(services: Services, caller: Caller) -> list[Alias]:
    """Return the aliases the caller may read, oldest first; administrators see all."""
    aliases = await services.stores.aliases.list_aliases(caller.tenant)
    if caller.is_admin:
        return aliases
    visible = set(
        await services.stores.permissions.visible(ObjectKind.ALIAS, caller.tenant, caller.user)
    )
    return [alias for alias in aliases if alias.alias in visible]


async def create(
    services: Services, caller: Caller, name: str | None, actor_id: str | None
) -> Alias:
    """Make an alias of an actor; the caller may change it from now on.

    Raises:
        InvalidInputError: Names the field that is missing or wrong.
        NotFoundError: There is no such actor.
        ForbiddenError: The caller may not update the actor.
        ConflictError: The name is taken.

    """
    if name is None:
        raise InvalidInputError("name the alias", field="alias")
    check_alias(name, services.ids.is_id)
    key = await _check_target(services, caller, actor_id)
    alias = Alias(
        tenant=caller.tenant,
        alias=name,
        actor_id=key.id,
        owner=caller.user,
        api_server=caller.api_server,
        create_time=services.clock.now(),
    )
    try:
        await services.stores.aliases.insert(alias)
    except ConflictError as error:
        raise ConflictError(f"the alias {name!r} already exists") from error
    return alias


async def repoint(services: Services, caller: Caller, alias: Alias, actor_id: str | None) -> Alias:
    """Let an alias point to another actor; its owner stays.

    Somebody else than the owner gets a level of their own by it, unless they have one: it may
    have been lowered while this went on.

    Raises:
        InvalidInputError: ``actor_id`` is missing.
        NotFoundError: There is no such actor, or the alias is gone.
        ForbiddenError: The caller may not update the actor.

    """
    key = await _check_target(services, caller, actor_id)
    repointed = await services.stores.aliases.repoint(alias.key, key.id)
    if caller.user != alias.owner:
        await services.stores.permissions.grant(
            alias.shared, caller.user, Level.UPDATE, only_new=True
        )
    return repointed


async def delete(services: Services, alias: Alias) -> None:
    """Remove an alias with its permissions and nonces.

    Raises:
        NotFoundError: It is gone already.

    """
    await services.stores.aliases.delete(alias.key)


async def _check_target(services: Services, caller: Caller, actor_id: str | None) -> ActorKey:
    if actor_id is None:
        raise InvalidInputError("name the actor by its id", field="actor_id")
    check_length("actor", actor_id)
    actor = await services.stores.actors.get(ActorKey(caller.tenant, ActorId(actor_id)))
    if not await has_level(services, caller, actor.key.shared, Level.UPDATE):
        raise ForbiddenError(NO_TARGET_ACCESS)
    return actor.key
