"""An accounting service that knows users by their names, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from abaco.domain.host_access import HostUser
from abaco.domain.ids import Tenant
from abaco.errors import IdentityUnavailableError, NoAccountError
from backends.users.lookup import Lookup

#: bytes of the largest answer that is read
MAX_ANSWER_BYTES = 1_000_000

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Where users are looked up.

    Attributes:
        gid: Group of users whose profile names none; None for a group numbered as the user.
        profile_url: With ``{tenant}`` and ``{username}`` in it; None when there are no profiles.

    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    gid: int | None = None
    profile_url: str | None = None
    profile_token: str = field(default="", repr=False)
    timeout_s: float = 5.0


class AccountingUsers(Lookup):
    """Asks the service for every user."""

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._client = AsyncHTTPClient(force_instance=True, max_body_size=MAX_ANSWER_BYTES)

    def close(self) -> None:
        """Give up connections."""
        self._client.close()

    async def find(self, tenant: Tenant, user: str) -> HostUser:
        """Return the user the service knows."""
        account = await self._account(user)
        uid, home = _number(account.get("uid")), account.get("homeDirectory")
        if uid is None or not isinstance(home, str | None):
            raise IdentityUnavailableError(
                "the accounting service does not say who the owner is on the container host"
            )
        gid = await self._profile_gid(tenant, user)
        if gid is None:
            gid = uid if self._accounting.gid is None else self._accounting.gid
        return HostUser(uid=uid, gid=gid, home=home or None)

    async def check(self) -> str:
        """Ask for the account that this server asks with."""
        with suppress(NoAccountError):  # an answer all the same
            await self._account(self._accounting.username or "abaco")
        return f"the accounting service at {self._accounting.url}"

    async def _account(self, user: str) -> Mapping[str, Any]:
        accounting = self._accounting
        url = f"{accounting.url.rstrip('/')}/users/username/{quote(user, safe='')}"
        credentials: dict[str, str] = {}
        if accounting.username:
            credentials = {
                "auth_username": accounting.username,
                "auth_password": accounting.password,
            }
        answer = await self._get(url, **credentials)
        result = answer.get("result") if answer else None
        if result is None:
            raise NoAccountError("the accounting service does not know the owner")
        if not isinstance(result, dict):
            raise IdentityUnavailableError("the accounting service's answer cannot be read")
        return result

    async def _profile_gid(self, tenant: Tenant, user: str) -> int | None:
        """Return the group the user's profile names, if there is one."""
        if self._accounting.profile_url is None:
            return None
        url = self._accounting.profile_url.replace("{tenant}", quote(tenant, safe=""))
        url = url.replace("{username}", quote(user, safe=""))
        token = self._accounting.profile_token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await self._get(url, headers=headers)
        found = answer.get("result") if answer else None
        profile = found[0] if isinstance(found, list) and found else found
        value = profile.get("value") if isinstance(profile, dict) else None
        return _number(value.get("posix_gid")) if isinstance(value, dict) else None

    async def _get(self, url: str, **options: Any) -> Mapping[str, Any] | None:
        """Return the object a URL answers with, None when there is nothing."""
        timeout_s = self._accounting.timeout_s
        try:
            answer = await self._client.fetch(
                url,
                raise_error=False,
                request_timeout=timeout_s,
                connect_timeout=timeout_s,
                follow_redirects=False,
                **options,
            )
            if answer.code == _NOT_FOUND:
                return None
            answer.rethrow()
            read = json.loads(answer.body)
        except (HTTPClientError, OSError, ValueError) as error:
            raise IdentityUnavailableError(
                "the accounting service that knows the owner does not answer as it should",
                detail=str(error),
            ) from error
        if not isinstance(read, dict):
            raise IdentityUnavailableError("the accounting service's answer cannot be read")
        return read


def _number(value: Any) -> int | None:
    """Read a number, which may be text; None when it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) else None
