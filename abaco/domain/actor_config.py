"""A config: a named value that is handed to the containers of the actors it lists.

Not to be confused with ``abaco.config``, the settings of the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from abaco.domain.context import MAX_VARIABLE_BYTES
from abaco.domain.ids import Tenant
from abaco.domain.permission import ObjectKey, ObjectKind
from abaco.errors import InvalidInputError

#: names that paths of the interface have, or had, a use for
RESERVED = frozenset(
    {
        "adapters", "admin", "executions", "logs", "messages", "nonces", "permissions",
        "utilization",
    }
)  # fmt: skip

#: Source: api of the older Abaco
FORBIDDEN_CHARACTERS = frozenset(" :/?#[]@!$&'()*+,;=")

MAX_NAME_LENGTH = 255
#: actors and aliases one config may list
MAX_ACTORS = 100

#: a path with one of them is cut short by clients and gateways before it is sent
_DOTS = frozenset({".", ".."})


class ConfigKey(NamedTuple):
    """Tenant and name."""

    tenant: Tenant
    name: str

    @property
    def shared(self) -> ObjectKey:
        """Key of its permissions."""
        return ObjectKey(ObjectKind.CONFIG, self.tenant, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorConfig:
    """One config as stored.

    Attributes:
        value: As it is handed to containers; of a secret the ciphertext.
        actors: As the client wrote it: ids and aliases between commas. What is deleted later
            is taken out.
        owner: Who made it. It is handed only to actors that the owner may update.

    """

    tenant: Tenant
    name: str
    value: str
    is_secret: bool
    actors: str
    owner: str
    create_time: datetime

    @property
    def key(self) -> ConfigKey:
        """Tenant and name as one hashable key."""
        return ConfigKey(self.tenant, self.name)

    @property
    def shared(self) -> ObjectKey:
        """Key of its permissions."""
        return self.key.shared

    @property
    def identifiers(self) -> list[str]:
        """The ids and aliases it lists, each once."""
        return split_actors(self.actors)


def check_name(text: str) -> str:
    """Return the name if a config can have it.

    Raises:
        InvalidInputError: Says why it cannot.

    """
    if not 0 < len(text) <= MAX_NAME_LENGTH:
        raise InvalidInputError(f"must have 1 to {MAX_NAME_LENGTH} characters", field="name")
    if text in RESERVED or text in _DOTS:
        raise InvalidInputError(f"{text!r} is reserved", field="name")
    forbidden = {char for char in text if char in FORBIDDEN_CHARACTERS or not char.isprintable()}
    if forbidden:
        named = " ".join(map(repr, sorted(forbidden)))
        raise InvalidInputError(f"must not contain {named}", field="name")
    return text


def check_value(text: str) -> str:
    """Return the value if a container could ever be given it.

    Raises:
        InvalidInputError: It is too long. The value is not repeated.

    """
    if len(text.encode()) > MAX_VARIABLE_BYTES:
        raise InvalidInputError(
            f"is too long for a container's environment, which takes {MAX_VARIABLE_BYTES} bytes",
            field="value",
        )
    return text


def check_actors(text: str) -> str:
    """Return the list of actors if it is one; whether they exist is for others to say.

    Raises:
        InvalidInputError: It names nothing, or too many.

    """
    pieces = [piece.strip() for piece in text.split(",")]
    if not all(pieces):
        raise InvalidInputError(
            "must be ids or aliases of actors with commas between them", field="actors"
        )
    if len(pieces) > MAX_ACTORS:
        raise InvalidInputError(f"must not have more than {MAX_ACTORS} entries", field="actors")
    return text


def split_actors(text: str) -> list[str]:
    """Return the entries of a list of actors, each once, in order."""
    return list(dict.fromkeys(piece for each in text.split(",") if (piece := each.strip())))


def without_actor(text: str, identifier: str) -> str:
    """Take one entry out of a list of actors and leave the others as they are written."""
    return ",".join(each for each in text.split(",") if each.strip() != identifier).strip()
