"""Access tokens as the older Abaco got them: the client service, and its administrators' grant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from abaco.config import Settings
from abaco.domain.ids import Tenant, WorkerId
from abaco.errors import TokenError, TokenRefusedError, TokenUnavailableError
from abaco.ports.clock import Clock
from abaco.ports.store import Stores
from abaco.ports.token_provider import TokenProvider
from abaco.ports.vault import Vault
from abaco.settings import OauthSettings, fold_tenant
from backends.tokens.clients import Authority, ClientTokens, Grant, Registration
from backends.tokens.endpoint import Endpoint, basic, read_grant
from backends.tokens.files import read_by_tenant

#: tries to delete a client that was half made
DELETE_TRIES = 5

_SCOPE = "PRODUCTION"
#: what the service says when it made a client and no keys for it
_HALF_MADE = "Unable to generate credentials"


class ClientService(Authority):
    """The services ``clients/v2`` and ``token`` of a tenant.

    Args:
        endpoint: Speaks to them.
        settings: Where they are.
        accounts: Tenant, as ``fold_tenant`` spells it, to user and password of its service
            account; None to that of all others.

    """

    def __init__(
        self, endpoint: Endpoint, settings: Settings, accounts: Mapping[str | None, tuple[str, str]]
    ) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._accounts = accounts

    async def register(self, tenant: Tenant, worker_id: WorkerId) -> Registration:
        """Make a client."""
        user, password = self._account(tenant)
        answer = await self._endpoint.send(
            "POST",
            f"{self._server(tenant)}/clients/v2",
            authorization=basic(user, password, is_form=False),
            form={"clientName": worker_id},
        )
        result = answer.get("result")
        found = result if isinstance(result, dict) else {}
        registration = {"key": found.get("consumerKey"), "secret": found.get("consumerSecret")}
        if all(isinstance(part, str) and part for part in registration.values()):
            return registration
        if _HALF_MADE in str(answer.get("message")):
            await self._delete_half_made(tenant, worker_id)
            raise TokenUnavailableError("the client service made no keys for a client")
        raise TokenRefusedError("the client service answered without a client")

    async def _delete_half_made(self, tenant: Tenant, worker_id: WorkerId) -> None:
        for left in reversed(range(DELETE_TRIES)):
            try:
                return await self.unregister(tenant, worker_id, None)
            except TokenError as error:
                if not left:
                    raise TokenRefusedError(
                        "the client service made half a client and does not delete it"
                    ) from error

    async def obtain(self, tenant: Tenant, registration: Registration, owner: str) -> Grant:
        """Get a token of the owner, as an administrator may."""
        user, password = self._account(tenant)
        userstore = self._settings.oauth.userstore
        form = {
            "grant_type": "admin_password",
            "username": user,
            "password": password,
            "token_username": f"{userstore}/{owner}" if userstore else owner,
        }
        return await self._ask(tenant, registration, form)

    async def refresh(self, tenant: Tenant, registration: Registration, token: str) -> Grant:
        """Use a refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return await self._ask(tenant, registration, form)

    async def unregister(
        self, tenant: Tenant, worker_id: WorkerId, registration: Registration | None
    ) -> None:
        """Delete a client by its name."""
        user, password = self._account(tenant)
        await self._endpoint.send(
            "DELETE",
            f"{self._server(tenant)}/clients/v2/{quote(worker_id, safe='')}",
            authorization=basic(user, password, is_form=False),
            gone=frozenset({404, 410}),
        )

    async def _ask(self, tenant: Tenant, registration: Registration, form: dict[str, Any]) -> Grant:
        answer = await self._endpoint.send(
            "POST",
            f"{self._server(tenant)}/token",
            authorization=basic(registration["key"], registration["secret"], is_form=False),
            form={**form, "scope": _SCOPE},
        )
        return read_grant(answer)

    def _server(self, tenant: Tenant) -> str:
        own = self._settings.oauth.for_tenant("server", tenant)
        return str(own or self._settings.web.for_tenant("api_server", tenant)).rstrip("/")

    def _account(self, tenant: Tenant) -> tuple[str, str]:
        account = self._accounts.get(fold_tenant(tenant), self._accounts.get(None))
        if account is None:
            raise TokenRefusedError(f"there is no service account for the tenant {tenant}")
        return account


def read_accounts(oauth: OauthSettings) -> Mapping[str | None, tuple[str, str]]:
    """Return the service accounts of the file, and those of single keys, which win.

    Raises:
        ConfigError: There is none, or the file cannot be used.

    """
    accounts = dict(oauth.accounts())
    if oauth.accounts_file is None and accounts:
        return accounts
    for tenant, text in read_by_tenant("oauth.accounts_file", oauth.accounts_file).items():
        user, _, password = text.partition(":")
        accounts.setdefault(tenant, (user, password))
    return accounts


@asynccontextmanager
async def open_tokens(
    settings: Settings, clock: Clock, stores: Stores, vault: Vault
) -> AsyncIterator[TokenProvider]:
    """Open the provider.

    Raises:
        ConfigError: The file of accounts cannot be used, or there are none.

    """
    accounts = read_accounts(settings.oauth)
    endpoint = Endpoint(settings.oauth.timeout)
    try:
        service = ClientService(endpoint, settings, accounts)
        yield ClientTokens(service, stores.token_clients, vault, clock)
    finally:
        endpoint.close()
