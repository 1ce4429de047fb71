"""Configs in memory."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace

from abaco.domain.actor import ActorKey
from abaco.domain.actor_config import ActorConfig, ConfigKey
from abaco.domain.alias import AliasKey
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.permission import Level, effective_level
from abaco.ports.configs import ConfigStore
from abaco.ports.vault import Sealed
from backends.stores import rules, sharing_rules
from backends.stores.memory.state import State


class MemoryConfigs(ConfigStore):
    """Configs in a dictionary."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._configs = state.configs

    def _config(self, key: ConfigKey) -> ActorConfig:
        config = self._configs.get(key)
        if config is None:
            raise sharing_rules.no_config(key)
        return config

    def _check_entries(self, config: ActorConfig) -> None:
        state, tenant = self._state, config.tenant
        for each in config.identifiers:
            is_actor = ActorKey(tenant, ActorId(each)) in state.actors
            if not is_actor and AliasKey(tenant, each) not in state.aliases:
                raise sharing_rules.no_target(each)

    async def insert(self, config: ActorConfig) -> None:
        """Add a config, its owner's to update."""
        if config.key in self._configs:
            raise rules.already_exists("a config", config.name)
        self._check_entries(config)
        self._configs[config.key] = config
        self._state.permissions[config.shared] = {config.owner: Level.UPDATE}

    async def get(self, key: ConfigKey) -> ActorConfig:
        """Return the config."""
        return self._config(key)

    async def list_names(self, tenant: Tenant) -> list[str]:
        """Return all names of a tenant."""
        return sorted(key.name for key in self._configs if key.tenant == tenant)

    async def get_many(self, tenant: Tenant, names: Collection[str]) -> list[ActorConfig]:
        """Return the configs that exist, by name."""
        found = (self._configs.get(ConfigKey(tenant, name)) for name in sorted(set(names)))
        return [config for config in found if config is not None]

    async def replace(
        self, key: ConfigKey, *, value: str, is_secret: bool, actors: str
    ) -> ActorConfig:
        """Replace what a client may set."""
        config = replace(self._config(key), value=value, is_secret=is_secret, actors=actors)
        self._check_entries(config)
        self._configs[key] = config
        return config

    async def delete(self, key: ConfigKey) -> None:
        """Remove it with its permissions."""
        del self._configs[self._config(key).key]
        self._state.unshare(key.shared)

    async def of_actor(self, actor: ActorKey, *, max_bytes: int) -> list[ActorConfig]:
        """Return what an execution of this actor is given now."""
        aliases = {each.alias for each in self._state.aliases.values() if each.actor == actor}
        levels = self._state.permissions.get(actor.shared, {})
        found = [
            config
            for key, config in sorted(self._configs.items())
            if key.tenant == actor.tenant
            and not aliases.union({actor.id}).isdisjoint(config.identifiers)
            and effective_level(levels, config.owner) is Level.UPDATE
        ]
        if sum(len(config.value.encode()) for config in found) > max_bytes:
            raise sharing_rules.too_many_values(max_bytes)
        return found

    async def list_sealed(self, *, after: str | None = None, limit: int = 100) -> list[Sealed]:
        """Page the values of secrets, by key."""
        places = sorted(
            (json.dumps(key), key) for key, each in self._configs.items() if each.is_secret
        )
        found = [(place, key) for place, key in places if after is None or place > after]
        return [Sealed(place, self._configs[key].value) for place, key in found[:limit]]

    async def reseal(self, present: Sealed, ciphertext: str) -> bool:
        """Replace a value if it is still the present one."""
        key = ConfigKey(*json.loads(present.place))
        config = self._configs.get(key)
        if config is None or not config.is_secret or config.value != present.ciphertext:
            return False
        self._configs[key] = replace(config, value=ciphertext)
        return True
