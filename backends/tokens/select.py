"""Opens the verifiers that are configured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abaco.config import Settings
from abaco.domain.ids import Tenant
from abaco.errors import UnauthenticatedError
from abaco.ports.clock import Clock
from abaco.ports.tokens import BearerTokens, Identity
from abaco.settings import WebSettings
from backends.tokens.claims import INVALID, unverified
from backends.tokens.jwks import Issuer, JwksTokens
from backends.tokens.own import ISSUER, KeyFile, OwnTokens


class AnyTokens(BearerTokens):
    """Lets the issuer a token names choose who verifies it; the verifier checks the name."""

    def __init__(self, own: BearerTokens | None, foreign: BearerTokens | None) -> None:
        self._own = own
        self._foreign = foreign

    async def identify(self, token: str) -> Identity:
        """Return whom a token speaks of."""
        _, claims = unverified(token)
        verifier = self._own if claims.get("iss") == ISSUER else self._foreign
        if verifier is None:
            raise UnauthenticatedError(f"{INVALID}: its issuer is not accepted here")
        return await verifier.identify(token)


def key_file(settings: Settings) -> Path:
    """Name the file with the keys of own tokens."""
    return settings.general.data_dir / "token-keys.json"


def own_tokens(settings: Settings, clock: Clock) -> OwnTokens:
    """Open the installation's own keys; the first time they are made.

    Raises:
        ConfigError: They cannot be used.

    """
    keys = KeyFile(key_file(settings))
    keys.open(clock.now())
    return OwnTokens(keys, clock.now, lambda tenant: audience_of(settings, tenant))


def audience_of(settings: Settings, tenant: Tenant) -> str:
    """Return what a token for a tenant is good for: its API server."""
    return str(settings.web.for_tenant("api_server", tenant)).rstrip("/")


@contextmanager
def open_tokens(settings: Settings, clock: Clock) -> Iterator[BearerTokens | None]:
    """Yield what verifies bearer tokens; None when none are accepted.

    Raises:
        ConfigError: The installation's own keys cannot be used.

    """
    web = settings.web
    own = own_tokens(settings, clock) if web.accept_bearer else None
    foreign = JwksTokens(_issuer(web), clock) if web.jwks_url else None
    try:
        yield AnyTokens(own, foreign) if own or foreign else None
    finally:
        if foreign is not None:
            foreign.close()


def _issuer(web: WebSettings) -> Issuer:
    return Issuer(
        url=web.jwks_url or "",
        issuer=web.jwks_issuer or "",
        audience=web.jwks_audience or "",
        user_claim=web.jwks_user_claim,
        roles_claim=web.jwks_roles_claim,
        tenant_claim=web.jwks_tenant_claim,
        tenant=web.tenant_name,
        ttl_s=web.jwks_ttl,
    )
