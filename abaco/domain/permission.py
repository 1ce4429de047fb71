"""Permission levels: who may do what with an actor, an alias or a config."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import NamedTuple

from abaco.domain.ids import Tenant
from abaco.errors import InvalidInputError

#: everybody in the tenant
WORLD = "ABACO_WORLD"


class Level(IntEnum):
    """Levels in order; a higher one implies the lower ones."""

    NONE = 0
    READ = 1
    EXECUTE = 2
    UPDATE = 3


class ObjectKind(StrEnum):
    """What can be shared."""

    ACTOR = "actor"
    ALIAS = "alias"
    CONFIG = "config"


class ObjectKey(NamedTuple):
    """One shared thing: an actor by id, an alias or config by name."""

    kind: ObjectKind
    tenant: Tenant
    name: str

    def __str__(self) -> str:
        """Write kind and name, for people."""
        return f"{self.kind}:{self.name}"


#: longest name of a user that can be given a level
MAX_USER_LENGTH = 256


def parse_level(text: str) -> Level:
    """Read a level by its name.

    Raises:
        InvalidInputError: There is no such level.

    """
    if text not in Level.__members__:
        raise InvalidInputError(f"must be one of {', '.join(Level.__members__)}", field="level")
    return Level[text]


def check_user(text: str) -> str:
    """Return the name of a user, which may hold any printable character.

    Raises:
        InvalidInputError: It is empty, too long or cannot be shown.

    """
    if not (0 < len(text) <= MAX_USER_LENGTH and text.isprintable()):
        raise InvalidInputError(
            f"must be 1 to {MAX_USER_LENGTH} printable characters", field="user"
        )
    return text


def effective_level(levels: Mapping[str, Level], user: str) -> Level:
    """Return the higher of the user's own entry and everybody's."""
    return max(levels.get(user, Level.NONE), levels.get(WORLD, Level.NONE))
