"""Permissions, aliases and nonces in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from abaco.domain.actor import ActorKey
from abaco.domain.alias import Alias, AliasKey
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.nonce import UNLIMITED, Nonce, NonceId
from abaco.domain.permission import Level, ObjectKey, ObjectKind, effective_level
from abaco.errors import InvalidInputError
from abaco.ports.sharing import AliasStore, NonceStore, PermissionStore
from backends.stores import rules, sharing_rules
from backends.stores.event_rules import check_links
from backends.stores.memory.state import State


class MemoryPermissions(PermissionStore):
    """A dictionary of levels per object."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def levels(self, key: ObjectKey) -> Mapping[str, Level]:
        """Return the map of an object, by user name."""
        return dict(sorted(self._state.permissions.get(key, {}).items()))

    async def grant(
        self, key: ObjectKey, user: str, level: Level, *, only_new: bool = False
    ) -> Mapping[str, Level]:
        """Add or replace one entry and return the whole map."""
        self._state.check_shared(key)
        present = self._state.permissions.get(key, {})
        levels = {user: level, **present} if only_new else {**present, user: level}
        sharing_rules.check_levels(levels)
        self._state.permissions[key] = levels
        return await self.levels(key)

    async def visible(self, kind: ObjectKind, tenant: Tenant, user: str) -> list[str]:
        """Return the names of all objects the user may read."""
        return sorted(
            key.name
            for key, levels in self._state.permissions.items()
            if (key.kind, key.tenant) == (kind, tenant)
            and effective_level(levels, user) >= Level.READ
        )


class MemoryAliases(AliasStore):
    """Aliases in a dictionary."""

    def __init__(self, state: State) -> None:
        self._state = state

    def _alias(self, key: AliasKey) -> Alias:
        alias = self._state.aliases.get(key)
        if alias is None:
            raise sharing_rules.no_alias(key)
        return alias

    async def insert(self, alias: Alias) -> None:
        """Add an alias, its owner's to update."""
        if alias.key in self._state.aliases:
            raise rules.already_exists("an alias", alias.alias)
        self._state.check_shared(alias.actor.shared)
        self._put(alias)
        self._state.permissions[alias.shared] = {alias.owner: Level.UPDATE}

    async def get(self, key: AliasKey) -> Alias:
        """Return the alias."""
        return self._alias(key)

    async def repoint(self, key: AliasKey, actor_id: ActorId) -> Alias:
        """Let it point to another actor."""
        alias = replace(self._alias(key), actor_id=actor_id)
        self._state.check_shared(alias.actor.shared)
        self._put(alias)
        return alias

    def _put(self, alias: Alias) -> None:
        """Store an alias, unless links lead from its actor back to it."""
        previous = self._state.aliases.get(alias.key)
        self._state.aliases[alias.key] = alias
        try:
            check_links(alias.actor, self._state.follow_link, field="actor_id")
        except InvalidInputError:
            if previous is None:
                del self._state.aliases[alias.key]
            else:
                self._state.aliases[alias.key] = previous
            raise

    async def list_aliases(self, tenant: Tenant) -> list[Alias]:
        """Return the tenant's aliases, by (create_time, alias)."""
        return _sorted(each for each in self._state.aliases.values() if each.tenant == tenant)

    async def of_actor(self, actor: ActorKey) -> list[Alias]:
        """Return the aliases that point to an actor, by (create_time, alias)."""
        return _sorted(each for each in self._state.aliases.values() if each.actor == actor)

    async def delete(self, key: AliasKey) -> None:
        """Remove it with its permissions and nonces, and out of links."""
        self._state.drop_alias(self._alias(key))


def _sorted(aliases: Iterable[Alias]) -> list[Alias]:
    return sorted(aliases, key=lambda alias: (alias.create_time, alias.alias))


class MemoryNonces(NonceStore):
    """Nonces in a dictionary."""

    def __init__(self, state: State) -> None:
        self._nonces = state.nonces
        self._state = state

    async def insert(self, nonce: Nonce) -> None:
        """Add a nonce."""
        sharing_rules.check_nonce(nonce)
        if nonce.id in self._nonces:
            raise sharing_rules.nonce_exists()
        self._state.check_shared(nonce.target)
        self._nonces[nonce.id] = nonce

    async def get(self, nonce_id: NonceId) -> Nonce:
        """Return the nonce."""
        if nonce_id not in self._nonces:
            raise sharing_rules.no_nonce()
        return self._nonces[nonce_id]

    async def list_nonces(self, target: ObjectKey) -> list[Nonce]:
        """Return an object's nonces, by (create_time, id)."""
        found = [each for each in self._nonces.values() if each.target == target]
        return sorted(found, key=lambda nonce: (nonce.create_time, nonce.id))

    async def redeem(
        self, nonce_id: NonceId, target: ObjectKey, needed: Level, now: datetime
    ) -> Nonce:
        """Use it once and return it as it is then."""
        nonce = self._nonces.get(nonce_id)
        if nonce is None or not sharing_rules.may_redeem(nonce, target, needed, now):
            raise sharing_rules.refuse_redeem(nonce, target, needed, now)
        is_limited = nonce.remaining_uses != UNLIMITED
        self._nonces[nonce_id] = replace(
            nonce,
            current_uses=nonce.current_uses + 1,
            remaining_uses=nonce.remaining_uses - is_limited,
            last_use_time=now,
        )
        return self._nonces[nonce_id]

    async def delete(self, nonce_id: NonceId) -> None:
        """Remove it."""
        if self._nonces.pop(nonce_id, None) is None:
            raise sharing_rules.no_nonce()
