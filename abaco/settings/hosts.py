"""What containers get of the host: mounts and users. Rules over several keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from abaco.domain.host_access import MAX_ID, HostUser
from abaco.domain.mount import parse_mounts

MOUNTS = (
    "<host path>:<container path>:<ro or rw>, with commas between items, or nothing; {username},"
    " {tenant_id} and {tasdir} may be parts of the paths"
)

#: type of a fault whose text says more about the value than what is allowed
TELLING = "telling"

Provider = Literal["auto", "none", "static", "system", "http"]
#: providers that look owners up
LOOKUPS: tuple[Provider, ...] = ("auto", "system", "http")


def _check_mounts(text: str) -> str:
    try:
        parse_mounts(text)
    except ValueError as error:
        raise PydanticCustomError(TELLING, "{text}", {"text": str(error)}) from error
    return text


def _check_home(text: str | None) -> str | None:
    if text is not None and (".." in text.split("/") or not text.isprintable()):
        raise ValueError("a path without '..'")
    return text


#: mounts as they are written
MountsText = Annotated[
    str, AfterValidator(_check_mounts), Field(json_schema_extra={"allowed": MOUNTS})
]
#: number of a user or group
HostId = Annotated[int, Field(ge=0, le=MAX_ID)]
#: a home directory, absolute or below one that mounts name
HomePath = Annotated[
    str,
    AfterValidator(_check_home),
    Field(json_schema_extra={"allowed": "a path without '..'"}),
]


class FixedUser(NamedTuple):
    """A configured user, for all actors of a tenant (or None) alike."""

    tenant: str | None
    uid: int | None
    gid: int | None
    home: str | None

    def key(self, name: str) -> str:
        """Spell the key it was written with."""
        return f"{self.tenant}_{name}" if self.tenant else name

    @property
    def is_set(self) -> bool:
        """Whether anything is configured."""
        return self[1:] != (None, None, None)

    @property
    def host_user(self) -> HostUser | None:
        """The user, if there is one."""
        if self.uid is None or self.gid is None:
            return None
        return HostUser(uid=self.uid, gid=self.gid, home=self.home)

    def fault(self, least_uid: int) -> tuple[str, str] | None:
        """Return key and text of what is wrong with it."""
        if self.is_set and self.host_user is None:
            names = zip(("actor_uid", "actor_gid", "actor_homedir"), self[1:], strict=True)
            given = next(name for name, value in names if value is not None)
            return self.key(given), "actor_uid and actor_gid must both be there"
        if self.uid is not None and self.uid < least_uid:
            return self.key("actor_uid"), f"less than least_uid ({least_uid})"
        return None


def faults(users: Iterator[FixedUser], least_uid: int) -> Iterator[tuple[str, str]]:
    """Yield key and text of everything that is wrong with configured users."""
    for user in users:
        if fault := user.fault(least_uid):
            yield fault
