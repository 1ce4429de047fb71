"""The contracts of the stores behind sharing: permissions, aliases, nonces.

As in ``abaco.ports.store``: every method is one transaction, durable before it returns; a change
that depends on what is there is decided inside the store.

An actor, alias or config has a map of permissions exactly as long as it exists: its insert begins
the map with the owner's UPDATE, its delete removes it, and nothing else can make one. So what
comes too late for an object (a grant, a nonce, an alias of it) is refused and never meets another
object that takes the name afterwards.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from abaco.domain.actor import ActorKey
from abaco.domain.alias import Alias, AliasKey
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.nonce import Nonce, NonceId
from abaco.domain.permission import Level, ObjectKey, ObjectKind


class PermissionStore(Protocol):
    """Levels by object and user. User names are values: any text works."""

    @abstractmethod
    async def levels(self, key: ObjectKey) -> Mapping[str, Level]:
        """Return the map of an object by user name; empty when it has none."""

    @abstractmethod
    async def grant(
        self, key: ObjectKey, user: str, level: Level, *, only_new: bool = False
    ) -> Mapping[str, Level]:
        """Add or replace one entry and return the whole map.

        With ``only_new`` an entry that is there, of whatever level, stays.

        Raises ConflictError when nobody but ABACO_WORLD would be left with UPDATE, and
        NotFoundError for an object without a map: it does not exist.
        """

    @abstractmethod
    async def visible(self, kind: ObjectKind, tenant: Tenant, user: str) -> list[str]:
        """Return the names of all objects on which the user's effective level is READ or more.

        Each once, in order of the names.
        """


class AliasStore(Protocol):
    """Aliases."""

    @abstractmethod
    async def insert(self, alias: Alias) -> None:
        """Add an alias and, in the same step, grant its owner UPDATE on it.

        Raises ConflictError when the name is taken, NotFoundError when the actor is absent,
        InvalidInputError when an actor would be linked to itself by it, however indirectly.
        """

    @abstractmethod
    async def get(self, key: AliasKey) -> Alias:
        """Return the alias. Raises NotFoundError."""

    @abstractmethod
    async def repoint(self, key: AliasKey, actor_id: ActorId) -> Alias:
        """Let it point to another actor.

        Raises NotFoundError when one of the two is absent, InvalidInputError as ``insert`` does.
        """

    @abstractmethod
    async def list_aliases(self, tenant: Tenant) -> list[Alias]:
        """Return the tenant's aliases, oldest first."""

    @abstractmethod
    async def of_actor(self, actor: ActorKey) -> list[Alias]:
        """Return the aliases that point to an actor, oldest first."""

    @abstractmethod
    async def delete(self, key: AliasKey) -> None:
        """Remove it with its permissions and nonces. Raises NotFoundError.

        Configs that list it list it no more, actors linked by it are linked to nobody, and events
        on their way along such a link have no link's leg any more: whoever makes an alias of that
        name gets none of it. A name that is also an actor's id means that actor, and stays.
        """


class NonceStore(Protocol):
    """Nonces."""

    @abstractmethod
    async def insert(self, nonce: Nonce) -> None:
        """Add a nonce.

        Raises ConflictError when the id exists, NotFoundError when the target is absent.
        """

    @abstractmethod
    async def get(self, nonce_id: NonceId) -> Nonce:
        """Return the nonce. Raises NotFoundError."""

    @abstractmethod
    async def list_nonces(self, target: ObjectKey) -> list[Nonce]:
        """Return an object's nonces, oldest first."""

    @abstractmethod
    async def redeem(
        self, nonce_id: NonceId, target: ObjectKey, needed: Level, now: datetime
    ) -> Nonce:
        """Use it once, in one conditional step, and return it as it is then.

        Raises NotFoundError when there is no such nonce for this target, ForbiddenError when
        its level is too low (nothing is used up) or no use is left.
        """

    @abstractmethod
    async def delete(self, nonce_id: NonceId) -> None:
        """Remove it. Raises NotFoundError."""
