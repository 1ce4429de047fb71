"""Access tokens from any OAuth 2 authorization server that lets clients register themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from abaco.config import Settings
from abaco.domain.ids import Tenant, WorkerId
from abaco.errors import ConfigError, TokenRefusedError, TokenUnavailableError
from abaco.ports.clock import Clock
from abaco.ports.store import Stores
from abaco.ports.token_provider import TokenProvider
from abaco.ports.tokens import Identity
from abaco.ports.vault import Vault
from backends.tokens.clients import Authority, ClientTokens, Grant, Registration
from backends.tokens.endpoint import Endpoint, basic, read_grant
from backends.tokens.files import read_secret
from backends.tokens.own import KeyFile, OwnTokens
from backends.tokens.select import key_file

#: seconds the metadata of a server are believed
METADATA_TTL_S = 3600.0
#: seconds a statement about an owner is good for; it is used at once
STATEMENT_S = 60

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a kind
_JWT = "urn:ietf:params:oauth:token-type:jwt"

#: what a server answers for a client that is gone, or that it will never delete. Source: RFC 7592
#: section 2.3
_GONE = frozenset({401, 403, 404, 405, 410})


class OauthServer(Authority):
    """Servers that fulfil RFC 8414 (metadata), 7591 and 7592 (clients), 6749 and 8693 (tokens).

    Args:
        endpoint: Speaks to them.
        settings: Which, and for whom.
        state_owner: Signs that a token is wanted for an owner: tenant, owner, server.
        clock: Tells how old metadata are.

    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        state_owner: Callable[[Tenant, str, str], str],
        clock: Clock,
    ) -> None:
        self._endpoint = endpoint
        self._oauth = settings.oauth
        self._state_owner = state_owner
        self._clock = clock
        self._metadata: dict[str, tuple[float, dict[str, Any]]] = {}
        self._finding = asyncio.Lock()

    async def register(self, tenant: Tenant, worker_id: WorkerId) -> Registration:
        """Register a client. Source: RFC 7591 section 3."""
        url = await self._find(tenant, "registration_endpoint")
        path = self._oauth.registration_token_file
        authorization = None
        if path is not None:
            text = await asyncio.to_thread(_read_registration_token, self._oauth)
            authorization = f"Bearer {text}"
        wanted = {
            "client_name": worker_id,
            "software_id": "abaco",
            "token_endpoint_auth_method": "client_secret_basic",
            "grant_types": ["client_credentials", "refresh_token", _EXCHANGE],
            "response_types": [],
        }
        if self._oauth.scope:
            wanted["scope"] = self._oauth.scope
        answer = await self._endpoint.send(
            "POST", url, authorization=authorization, json_body=wanted
        )
        names = ("client_id", "client_secret", "registration_client_uri")
        kept = {name: answer.get(name) for name in (*names, "registration_access_token")}
        if not (isinstance(kept["client_id"], str) and isinstance(kept["client_secret"], str)):
            raise TokenRefusedError("the authorization server answered without a client")
        return kept

    async def obtain(self, tenant: Tenant, registration: Registration, owner: str) -> Grant:
        """Get a token for the client, and for that one of the owner. Source: RFC 8693."""
        scope = {"scope": self._oauth.scope} if self._oauth.scope else {}
        form = {"grant_type": "client_credentials", **scope}
        grant = await self._ask(tenant, registration, form)
        if self._oauth.on_behalf == "client":
            return grant
        exchange = {
            "grant_type": _EXCHANGE,
            "subject_token": self._state_owner(tenant, owner, self._issuer(tenant)),
            "subject_token_type": _JWT,
            "actor_token": grant.access_token,
            "actor_token_type": _ACCESS_TOKEN,
            "requested_token_type": _ACCESS_TOKEN,
            **scope,
        }
        return await self._ask(tenant, registration, exchange)

    async def refresh(self, tenant: Tenant, registration: Registration, token: str) -> Grant:
        """Use a refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return await self._ask(tenant, registration, form)

    async def unregister(
        self, tenant: Tenant, worker_id: WorkerId, registration: Registration | None
    ) -> None:
        """Delete a client. Source: RFC 7592 section 2.3.

        One that was never heard of cannot be named, and one of a server that deletes none stays.
        """
        url = registration and registration.get("registration_client_uri")
        if not registration or not url:
            return
        token = registration.get("registration_access_token")
        authorization = f"Bearer {token}"
        await self._endpoint.send("DELETE", url, authorization=authorization, gone=_GONE)

    async def _ask(self, tenant: Tenant, registration: Registration, form: dict[str, str]) -> Grant:
        url = await self._find(tenant, "token_endpoint")
        client = basic(registration["client_id"], registration["client_secret"])
        return read_grant(await self._endpoint.send("POST", url, authorization=client, form=form))

    def _issuer(self, tenant: Tenant) -> str:
        issuer = self._oauth.for_tenant("issuer", tenant)
        if issuer is None:
            raise TokenRefusedError(f"no authorization server is known for the tenant {tenant}")
        return str(issuer)

    async def _find(self, tenant: Tenant, name: str) -> str:
        """Return an endpoint of the tenant's server."""
        issuer = self._issuer(tenant)
        async with self._finding:
            known = self._metadata.get(issuer)
            if known is None or self._clock.monotonic() - known[0] >= METADATA_TTL_S:
                known = self._clock.monotonic(), await self._discover(issuer)
                self._metadata[issuer] = known
        url = known[1].get(name)
        if not isinstance(url, str) or urlsplit(url).scheme != urlsplit(issuer).scheme:
            raise TokenRefusedError(f"the authorization server names no {name}")
        return url

    async def _discover(self, issuer: str) -> dict[str, Any]:
        found = await self._endpoint.send("GET", metadata_url(issuer))
        if found.get("issuer") != issuer:
            raise TokenUnavailableError(
                "the metadata of the authorization server are another's", detail=issuer
            )
        return found


def metadata_url(issuer: str) -> str:
    """Return where a server's metadata are. Source: RFC 8414 section 3."""
    parts = urlsplit(issuer)
    path = f"/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _read_registration_token(oauth: Any) -> str:
    try:
        return read_secret("oauth.registration_token_file", oauth.registration_token_file).strip()
    except ConfigError as error:
        raise TokenUnavailableError("no client can be registered", detail=error.message) from error


@asynccontextmanager
async def open_tokens(
    settings: Settings, clock: Clock, stores: Stores, vault: Vault
) -> AsyncIterator[TokenProvider]:
    """Open the provider; the server is asked when the first token is wanted.

    Raises:
        ConfigError: No server is named, or the keys for statements cannot be used.

    """
    oauth = settings.oauth
    if not any(oauth.every_value("issuer")):
        raise ConfigError("oauth.issuer: token_provider oauth2 needs an authorization server")
    if oauth.registration_token_file is not None:
        read_secret("oauth.registration_token_file", oauth.registration_token_file)
    keys = KeyFile(key_file(settings))
    if oauth.on_behalf == "owner":
        keys.open(clock.now())
        keys.publish()

    def state_owner(tenant: Tenant, owner: str, issuer: str) -> str:
        # For the server alone: our own API is another audience.
        own = OwnTokens(keys, clock.now, lambda _: issuer)
        identity = Identity(tenant=tenant, user=owner, roles=frozenset())
        return own.mint(identity, timedelta(seconds=STATEMENT_S))

    endpoint = Endpoint(oauth.timeout)
    try:
        server = OauthServer(endpoint, settings, state_owner, clock)
        yield ClientTokens(server, stores.token_clients, vault, clock)
    finally:
        endpoint.close()
