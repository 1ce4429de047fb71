"""Make, list, replace and delete configs; secrets are encrypted here."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TypeVar

from abaco.domain.actor_config import (
    ActorConfig,
    check_actors,
    check_name,
    check_value,
    split_actors,
)
from abaco.domain.caller import Caller
from abaco.domain.ids import Tenant
from abaco.domain.permission import Level, ObjectKind, effective_level
from abaco.errors import ConflictError, InvalidInputError, VaultError
from abaco.operations.access import find_actor
from abaco.operations.services import Services

T = TypeVar("T")

#: configs given out at once: few, because each value may be long
_PAGE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDraft:
    """What a client sent; None is "not sent"."""

    name: str | None = None
    value: str | None = None
    is_secret: bool | None = None
    actors: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A draft with everything in it."""

    name: str
    value: str
    is_secret: bool
    actors: str


async def iter_visible(
    services: Services, caller: Caller
) -> AsyncGenerator[list[ActorConfig], None]:
    """Yield the configs the caller may read, in pages, by name; administrators see all."""
    stores, tenant = services.stores, caller.tenant
    if caller.is_admin:
        names = await stores.configs.list_names(tenant)
    else:
        names = await stores.permissions.visible(ObjectKind.CONFIG, tenant, caller.user)
    for first in range(0, len(names), _PAGE):
        yield await stores.configs.get_many(tenant, names[first : first + _PAGE])


async def create(services: Services, caller: Caller, draft: ConfigDraft) -> ActorConfig:
    """Make a config; the caller may change it from now on.

    Raises:
        InvalidInputError: Names the field that is missing or wrong.
        NotFoundError: It lists what is no actor or alias.
        ConflictError: The name is taken.

    """
    checked = _check(draft)
    check_name(checked.name)
    await _check_owner(services, caller.tenant, caller.user, checked.actors)
    config = ActorConfig(
        tenant=caller.tenant,
        name=checked.name,
        value=_seal(services, checked.value, is_secret=checked.is_secret),
        is_secret=checked.is_secret,
        actors=checked.actors,
        owner=caller.user,
        create_time=services.clock.now(),
    )
    try:
        await services.stores.configs.insert(config)
    except ConflictError as error:
        raise ConflictError(f"the config {config.name!r} already exists") from error
    return config


async def replace(services: Services, present: ActorConfig, draft: ConfigDraft) -> ActorConfig:
    """Replace what a client may set. Name and owner stay, whatever the draft says.

    A secret that comes back as it was shown, encrypted, stays what it is; also when its key was
    replaced meanwhile, as long as that still decrypts.

    Raises:
        InvalidInputError: Names the field that is missing or wrong.
        NotFoundError: It lists what is no actor or alias, or the config is gone.

    """
    checked = _check(draft)
    await _check_owner(services, present.tenant, present.owner, checked.actors)
    value = checked.value
    shown = _shown(services, present, value)
    if shown is not None:
        value = shown
        if not checked.is_secret:
            raise InvalidInputError(
                "is the encrypted form; send the value itself to make it public", field="value"
            )
    return await services.stores.configs.replace(
        present.key,
        value=_seal(services, value, is_secret=checked.is_secret),
        is_secret=checked.is_secret,
        actors=checked.actors,
    )


async def delete(services: Services, config: ActorConfig) -> None:
    """Remove a config with its permissions.

    Raises:
        NotFoundError: It is gone already.

    """
    await services.stores.configs.delete(config.key)


def _check(draft: ConfigDraft) -> _Checked:
    return _Checked(
        name=_given(draft.name, "name"),
        value=check_value(_given(draft.value, "value")),
        is_secret=_given(draft.is_secret, "is_secret"),
        actors=check_actors(_given(draft.actors, "actors")),
    )


def _given(value: T | None, field: str) -> T:
    if value is None:
        raise InvalidInputError("is required", field=field)
    return value


def _seal(services: Services, value: str, *, is_secret: bool) -> str:
    return services.vault.encrypt(value) if is_secret else value


def _shown(services: Services, present: ActorConfig, value: str) -> str | None:
    """Return the secret if the value is its encrypted form, not that of another one."""
    if not present.is_secret:
        return None
    try:
        clear = services.vault.decrypt(value)
        is_same = value == present.value or clear == services.vault.decrypt(present.value)
    except VaultError as error:
        if value == present.value:
            raise InvalidInputError(
                "is encrypted with a key that is lost; send the secret itself", field="value"
            ) from error
        return None
    return clear if is_same else None


async def _check_owner(services: Services, tenant: Tenant, owner: str, actors: str) -> None:
    """In strict mode, see that the owner may update every actor.

    Entries decide and not roles, as they do when an execution is given its configs.
    """
    if not services.settings.web.strict_config_actors:
        return
    for name in split_actors(actors):
        actor = await find_actor(services, tenant, name)
        levels = await services.stores.permissions.levels(actor.key.shared)
        if effective_level(levels, owner) < Level.UPDATE:
            raise InvalidInputError(f"{owner} may not update the actor {name!r}", field="actors")
