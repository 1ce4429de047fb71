"""The contract of the store behind configs.

As in ``abaco.ports.store``: every method is one transaction, durable before it returns; a change
that depends on what is there is decided inside the store.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import Protocol

from abaco.domain.actor import ActorKey
from abaco.domain.actor_config import ActorConfig, ConfigKey
from abaco.domain.ids import Tenant
from abaco.ports.vault import SealedStore


class ConfigStore(SealedStore, Protocol):
    """Configs, and which actors list them. Its ciphertexts are the values of secrets.

    What a config lists is an actor's id or an alias, of its own tenant, compared as a whole.
    When such an actor or alias is deleted its entry goes in the same step, so nothing that takes
    the name afterwards is given the value.
    """

    @abstractmethod
    async def insert(self, config: ActorConfig) -> None:
        """Add a config and, in the same step, grant its owner UPDATE on it.

        Raises ConflictError when the name is taken, NotFoundError naming an entry of ``actors``
        that is neither actor nor alias.
        """

    @abstractmethod
    async def get(self, key: ConfigKey) -> ActorConfig:
        """Return the config. Raises NotFoundError."""

    @abstractmethod
    async def list_names(self, tenant: Tenant) -> list[str]:
        """Return the names of all configs of a tenant, in order."""

    @abstractmethod
    async def get_many(self, tenant: Tenant, names: Collection[str]) -> list[ActorConfig]:
        """Return these configs, each once, by name. Absent ones are passed over."""

    @abstractmethod
    async def replace(
        self, key: ConfigKey, *, value: str, is_secret: bool, actors: str
    ) -> ActorConfig:
        """Replace what a client may set. Owner and create_time stay.

        Raises NotFoundError for the config, or naming an entry of ``actors`` as ``insert``.
        """

    @abstractmethod
    async def delete(self, key: ConfigKey) -> None:
        """Remove it with its permissions. Raises NotFoundError."""

    @abstractmethod
    async def of_actor(self, actor: ActorKey, *, max_bytes: int) -> list[ActorConfig]:
        """Return the configs an execution of this actor is given now, each once, by name.

        Those that list the actor's id, or an alias that points to it, and whose owner's
        effective level on the actor is UPDATE. What others list costs nothing. Raises
        TooLargeError when their values have more than ``max_bytes`` in all.
        """
