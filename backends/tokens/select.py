"""Opens the verifiers that are configured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abaco.config import Settings
from abaco.domain.ids import Tenant
from abaco.domain.run_token import ISSUER
from abaco.errors import UnauthenticatedError
from abaco.ports.clock import Clock
from abaco.ports.tokens import BearerTokens, Identity
from abaco.settings import WebSettings
from backends.tokens.claims import INVALID, unverified
from backends.tokens.jwks import Issuer, JwksTokens
from backends.tokens.own import KeyFile, OwnTokens


class AnyTokens(BearerTokens):
    """Lets the issuer a token names choose who verifies it; the verifier checks the name.

    Args:
        own: Verifies what this installation signed; None when none of it is accepted.
        foreign: Verifies those of an issuer elsewhere.
        takes_people: Own tokens that are a person's are accepted.
        takes_runs: Own tokens that are for a run are accepted.

    """

    def __init__(
        self,
        own: BearerTokens | None,
        foreign: BearerTokens | None,
        *,
        takes_people: bool = True,
        takes_runs: bool = True,
    ) -> None:
        self._own = own
        self._foreign = foreign
        self._takes_people = takes_people
        self._takes_runs = takes_runs

    async def identify(self, token: str) -> Identity:
        """Return whom a token speaks of."""
        _, claims = unverified(token)
        verifier = self._own if claims.get("iss") == ISSUER else self._foreign
        if verifier is None:
            raise UnauthenticatedError(f"{INVALID}: its issuer is not accepted here")
        identity = await verifier.identify(token)
        if identity.run is not None and not self._takes_runs:
            raise UnauthenticatedError(
                f"{INVALID}: tokens of executions are not made here; see runtime.token_provider"
            )
        if identity.run is None and verifier is self._own and not self._takes_people:
            raise UnauthenticatedError(f"{INVALID}: it is not accepted here; see web.accept_bearer")
        return identity


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


def _run_tokens(settings: Settings, clock: Clock) -> OwnTokens:
    """Verify with the keys that are there, now or later: who signs for executions makes them."""
    return OwnTokens(
        KeyFile(key_file(settings)), clock.now, lambda tenant: audience_of(settings, tenant)
    )


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
    takes_runs = settings.takes_run_tokens
    own = None
    if web.accept_bearer:
        own = own_tokens(settings, clock)
    elif takes_runs:
        own = _run_tokens(settings, clock)
    foreign = JwksTokens(_issuer(web), clock) if web.jwks_url else None
    verifier = AnyTokens(own, foreign, takes_people=web.accept_bearer, takes_runs=takes_runs)
    try:
        yield verifier if own or foreign else None
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
