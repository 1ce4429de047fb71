"""Who asks: the verified tenant, user and roles of a request."""

from __future__ import annotations

import re
from dataclasses import dataclass

from abaco.domain.actor import ActorKey
from abaco.domain.ids import Tenant
from abaco.domain.permission import WORLD, Level
from abaco.errors import InvalidInputError

ADMIN_ROLE = "Internal/abaco-admin"
PRIVILEGED_ROLE = "Internal/abaco-privileged"
LIMITED_ROLE = "Internal/abaco-limited"
EVERYONE_ROLE = "Internal/everyone"
#: only access mode ``none`` gives it; it allows everything
ALL_ROLE = "ALL"

MAX_TENANT_LENGTH = 64

_TENANT = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_TENANT_LENGTH}}}")


def check_tenant(text: str) -> Tenant:
    """Return the tenant of this name.

    Raises:
        InvalidInputError: None can have it.

    """
    if not _TENANT.fullmatch(text):
        raise InvalidInputError(
            f"a tenant is 1 to {MAX_TENANT_LENGTH} letters, digits and . _ -", field="tenant"
        )
    return Tenant(text)


def is_user_name(text: str) -> bool:
    """Tell whether a user may be called so; nobody may be everybody."""
    return bool(text) and text.isprintable() and text != WORLD


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A verified caller.

    Attributes:
        jwt_header: The request header that carried the proof, if there was one.
        nonce_level: Level of the nonce that was redeemed for this request; None without one.
        is_nonce_limited: Whether that nonce ends, by its uses or by time.
        only_actor: Nothing but this actor may be used; None for no such limit.

    """

    tenant: Tenant
    user: str
    roles: frozenset[str]
    api_server: str
    jwt_header: str | None = None
    nonce_level: Level | None = None
    is_nonce_limited: bool = False
    only_actor: ActorKey | None = None

    @property
    def is_admin(self) -> bool:
        """Whether permission checks are bypassed."""
        return bool(self.roles & {ADMIN_ROLE, ALL_ROLE})

    @property
    def is_privileged(self) -> bool:
        """Whether privileged actor attributes may be set."""
        return self.is_admin or PRIVILEGED_ROLE in self.roles

    def may_use(self, user_role: str) -> bool:
        """Tell whether any role allows base use; ``user_role`` is the configured one."""
        return self.is_privileged or bool(self.roles & {LIMITED_ROLE, user_role})
