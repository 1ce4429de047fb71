"""The user database of this host, through NSS: files, LDAP, SSSD."""

from __future__ import annotations

import os
import pwd

from abaco.domain.host_access import HostUser
from abaco.domain.ids import Tenant
from abaco.errors import IdentityUnavailableError, NoAccountError
from backends.apart import Apart
from backends.users.lookup import Lookup

#: lookups at one time
_COUNT = 4


class SystemUsers(Lookup):
    """Looks up the owner's name as it is, whatever the tenant.

    Supplementary groups are not asked for: a container has the user's primary group.

    Args:
        timeout_s: Seconds a lookup may take.

    """

    def __init__(self, timeout_s: float) -> None:
        self._apart = Apart("users", count=_COUNT, timeout_s=timeout_s)

    async def find(self, tenant: Tenant, user: str) -> HostUser:
        """Return the user of this name."""
        try:
            entry = await self._apart.call(pwd.getpwnam, user)
        except (KeyError, ValueError) as error:
            raise NoAccountError("the owner has no account on the container host") from error
        except (TimeoutError, OSError) as error:
            raise IdentityUnavailableError(
                "the user database of the container host does not answer", detail=str(error)
            ) from error
        return HostUser(uid=entry.pw_uid, gid=entry.pw_gid, home=entry.pw_dir or None)

    async def check(self) -> str:
        """Look up the user this process runs as."""
        try:
            entry = await self._apart.call(pwd.getpwuid, os.geteuid())
        except KeyError:
            return "the host's user database (it does not know this process's own user)"
        except (TimeoutError, OSError) as error:
            raise IdentityUnavailableError(
                "the user database of the host does not answer", detail=str(error)
            ) from error
        return f"the host's user database (this process is {entry.pw_name})"

    def close(self) -> None:
        """Hold nothing."""
