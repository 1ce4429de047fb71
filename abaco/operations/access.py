"""Who may do what: every request passes here before anything is done for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.actor_config import ActorConfig, ConfigKey
from abaco.domain.alias import MAX_ALIAS_LENGTH, Alias, AliasKey
from abaco.domain.caller import Caller
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.permission import Level, ObjectKey, ObjectKind, effective_level
from abaco.errors import ForbiddenError, NotFoundError
from abaco.operations.services import Services

#: longest text in a refusal that repeats what the client sent
_MAX_SHOWN = 32

NO_ACTOR_ACCESS = "you do not have access to this actor"
NO_ALIAS_ACCESS = "you do not have access to this alias"
NO_CONFIG_ACCESS = "you do not have access to this config"
NO_ALIAS_AND_ACTOR_ACCESS = "you do not have access to this alias and actor"


class Scope(StrEnum):
    """What the first name in a path stands for."""

    NOTHING = "nothing"
    #: an actor's id, or an alias of it
    ACTOR = "actor"
    ALIAS = "alias"
    CONFIG = "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """What a request needs.

    Attributes:
        level: Needed on what the scope names.
        is_open: Nobody need prove who they are.
        is_for_admins: The admin role is needed.
        is_actor_too: The level is needed on the actor behind an alias as well.

    """

    scope: Scope = Scope.NOTHING
    level: Level = Level.NONE
    is_open: bool = False
    is_for_admins: bool = False
    is_actor_too: bool = False

    def nonce_level(self, *, is_reading: bool) -> Level:
        """Return the level a nonce needs; what lets others in needs more than reading."""
        if is_reading:
            return max(Level.READ, self.level)
        return Level.EXECUTE if self.level is Level.EXECUTE else Level.UPDATE


async def authorise(
    services: Services, caller: Caller, right: Right, name: str = ""
) -> Actor | Alias | ActorConfig | None:
    """Look up what the path names and see that the caller may do this with it.

    Args:
        services: Ports and settings.
        caller: Who asks.
        right: What is needed.
        name: First name in the path; unused without a scope.

    Returns:
        The actor, alias or config; None without a scope.

    Raises:
        ForbiddenError: A role or level is missing.
        NotFoundError: There is no such actor, alias or config in the caller's tenant.

    """
    if not caller.may_use(services.settings.web.user_role):
        raise ForbiddenError("missing required role")
    if right.is_for_admins and not caller.is_admin:
        raise ForbiddenError("only administrators may do this")
    if caller.only_actor is not None and right.scope is Scope.NOTHING:
        raise ForbiddenError(f"this token is good for the actor {caller.only_actor.id} alone")
    match right.scope:
        case Scope.ACTOR:
            actor = await find_actor(services, caller.tenant, name)
            if not await has_level(services, caller, actor.key.shared, right.level):
                raise ForbiddenError(NO_ACTOR_ACCESS)
            return actor
        case Scope.ALIAS:
            alias = await get_alias(services, caller.tenant, name)
            await _check_alias(services, caller, right, alias)
            return alias
        case Scope.CONFIG:
            config = await get_config(services, caller.tenant, name)
            if not await has_level(services, caller, config.shared, right.level):
                raise ForbiddenError(NO_CONFIG_ACCESS)
            return config
    return None


async def _check_alias(services: Services, caller: Caller, right: Right, alias: Alias) -> None:
    is_allowed = await has_level(services, caller, alias.shared, right.level)
    if right.is_actor_too:
        if not (is_allowed and await has_level(services, caller, alias.actor.shared, right.level)):
            raise ForbiddenError(NO_ALIAS_AND_ACTOR_ACCESS)
    elif not is_allowed:
        raise ForbiddenError(NO_ALIAS_ACCESS)


async def has_level(services: Services, caller: Caller, key: ObjectKey, level: Level) -> bool:
    """Tell whether the caller's level is enough; administrators' always is."""
    if caller.only_actor is not None and key != caller.only_actor.shared:
        return False
    if caller.is_admin or level is Level.NONE:
        return True
    levels = await services.stores.permissions.levels(key)
    return effective_level(levels, caller.user) >= level


async def check_kept(services: Services, caller: Caller, key: ObjectKey, right: Right) -> None:
    """See that a caller who was let in would be let in now.

    What is gone refuses nobody: nothing of it is left to be seen but its end.

    Raises:
        ForbiddenError: The level was taken away.

    """
    levels = await services.stores.permissions.levels(key)
    if levels and not (caller.is_admin or effective_level(levels, caller.user) >= right.level):
        raise ForbiddenError(NO_ACTOR_ACCESS)


def target_of(services: Services, scope: Scope, tenant: Tenant, name: str) -> ObjectKey:
    """Name what the first name of a path stands for, whether or not it exists."""
    if scope is Scope.CONFIG:
        return ObjectKey(ObjectKind.CONFIG, tenant, name)
    is_actor = scope is Scope.ACTOR and services.ids.is_id(name)
    return ObjectKey(ObjectKind.ACTOR if is_actor else ObjectKind.ALIAS, tenant, name)


async def find_actor(services: Services, tenant: Tenant, name: str) -> Actor:
    """Return the actor with this id, or else the one this alias points to.

    The form decides: what looks like an id is never taken for an alias.

    Raises:
        NotFoundError: Neither.

    """
    check_length("actor", name)
    if services.ids.is_id(name):
        return await services.stores.actors.get(ActorKey(tenant, ActorId(name)))
    try:
        alias = await services.stores.aliases.get(AliasKey(tenant, name))
    except NotFoundError as error:
        raise NotFoundError(f"there is no actor or alias {_shown(name)}") from error
    return await services.stores.actors.get(alias.actor)


async def get_alias(services: Services, tenant: Tenant, name: str) -> Alias:
    """Return the alias with this name.

    Raises:
        NotFoundError: There is none.

    """
    check_length("alias", name)
    return await services.stores.aliases.get(AliasKey(tenant, name))


async def get_config(services: Services, tenant: Tenant, name: str) -> ActorConfig:
    """Return the config with this name.

    Raises:
        NotFoundError: There is none.

    """
    check_length("config", name)
    return await services.stores.configs.get(ConfigKey(tenant, name))


def check_length(what: str, name: str) -> None:
    """Refuse what is longer than any name, before a store looks for it.

    Raises:
        NotFoundError: It is.

    """
    if len(name) > MAX_ALIAS_LENGTH:
        raise NotFoundError(f"there is no {what} {_shown(name)}")


def _shown(name: str) -> str:
    return repr(name) if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]!r}..."
