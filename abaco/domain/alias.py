"""An alias: a tenant-unique name that resolves to one actor and can be repointed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from abaco.domain.actor import ActorKey
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.permission import ObjectKey, ObjectKind
from abaco.errors import InvalidInputError

#: names that paths of the interface have, or had, a use for
RESERVED = frozenset(
    {
        "adapters", "admin", "aliases", "configs", "cron", "executions", "logs", "messages",
        "metrics", "nonces", "permissions", "results", "search", "state", "utilization", "v2",
        "workers",
    }
)  # fmt: skip

#: Source: api of the older Abaco
FORBIDDEN_CHARACTERS = frozenset("\\ \":/?#[]@!$&'()*+,;=")

MAX_ALIAS_LENGTH = 255

#: a path with one of them is cut short by clients and gateways before it is sent
_DOTS = frozenset({".", ".."})


class AliasKey(NamedTuple):
    """Tenant and alias."""

    tenant: Tenant
    alias: str


def check_alias(text: str, is_id: Callable[[str], bool]) -> str:
    """Return the name if it can be an alias.

    Args:
        text: The wanted name.
        is_id: Tells whether a text has the form of an identifier of this instance.

    Raises:
        InvalidInputError: Says why it cannot.

    """
    if not 0 < len(text) <= MAX_ALIAS_LENGTH:
        raise InvalidInputError(f"must have 1 to {MAX_ALIAS_LENGTH} characters", field="alias")
    if text in RESERVED or text in _DOTS:
        raise InvalidInputError(f"{text!r} is reserved", field="alias")
    forbidden = {char for char in text if char in FORBIDDEN_CHARACTERS or not char.isprintable()}
    if forbidden:
        named = " ".join(map(repr, sorted(forbidden)))
        raise InvalidInputError(f"must not contain {named}", field="alias")
    if is_id(text):
        raise InvalidInputError("looks like an id; choose another name", field="alias")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """One alias as stored."""

    tenant: Tenant
    alias: str
    actor_id: ActorId
    owner: str
    api_server: str
    create_time: datetime

    @property
    def key(self) -> AliasKey:
        """Tenant and alias as one hashable key."""
        return AliasKey(self.tenant, self.alias)

    @property
    def actor(self) -> ActorKey:
        """Key of the actor it points to."""
        return ActorKey(self.tenant, self.actor_id)

    @property
    def shared(self) -> ObjectKey:
        """Key of its permissions and nonces."""
        return ObjectKey(ObjectKind.ALIAS, self.tenant, self.alias)
