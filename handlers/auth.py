"""Who asks: access modes ``none`` and ``jwt``, bearer tokens, and nonces in their place."""

from __future__ import annotations

import base64
import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from jwt.algorithms import Algorithm, RSAAlgorithm
from tornado.httputil import HTTPHeaders, split_host_and_port

from abaco.config import Settings
from abaco.domain.caller import (
    ALL_ROLE,
    EVERYONE_ROLE,
    Caller,
    check_tenant,
    is_user_name,
)
from abaco.domain.ids import Tenant
from abaco.domain.nonce import NonceId
from abaco.domain.run_token import ISSUER, RUN_CLAIM
from abaco.errors import (
    ConfigError,
    ForbiddenError,
    InvalidInputError,
    UnauthenticatedError,
)
from abaco.operations.services import api_server_of
from handlers.jsontext import parse_json
from handlers.parameters import NONCE_PARAMETER, Fields

JWT_HEADER_PREFIX = "x-jwt-assertion-"
LEGACY_HEADER = "assertion"
LEGACY_TENANT = Tenant("DEV_STAGING")
ANONYMOUS = "anonymous"

USER_CLAIM = "http://wso2.org/claims/enduser"
ROLE_CLAIM = "http://wso2.org/claims/role"

#: spelling in a token's header, lower case -> algorithm. Nothing unsigned, nothing symmetric:
#: the public key would serve as the secret.
_ALGORITHMS: Mapping[str, Algorithm] = {
    "rs256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "rs384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "rs512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "sha256withrsa": RSAAlgorithm(RSAAlgorithm.SHA256),
}

_NO_CREDENTIALS = "no JWT or nonce: send the header X-JWT-Assertion-<tenant>"


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token that is still to be verified, and the nonce that is tried if it proves nothing."""

    token: str
    nonce: NonceId | None


#: what a request brings to show who asks
Proof = Caller | Bearer | NonceId


class _Signatures(jwt.PyJWS):
    """Finds an algorithm by any of the spellings above, and no other."""

    def get_algorithm_by_name(self, alg_name: str) -> Algorithm:
        """Return the algorithm. Called only with names that ``_verify`` let pass."""
        return _ALGORITHMS[alg_name.lower()]


class Authenticator(ABC):
    """Finds the proof in a request; one subclass per access mode."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._web = settings.web

    @abstractmethod
    def authenticate(self, headers: HTTPHeaders, query: Fields, remote_ip: str) -> Proof:
        """Return the caller, or the token or nonce that is to be turned into one.

        Args:
            headers: Of the request.
            query: Its query parameters.
            remote_ip: Address of whoever is at the other end of the connection.

        Raises:
            UnauthenticatedError: The request proves nothing, or something wrong.
            ForbiddenError: The request may come from the page of another site.
            InvalidInputError: The tenant is malformed, or there is a nonce and none are accepted.

        """

    def _find_nonce(self, query: Fields) -> NonceId | None:
        found = next(filter(None, query.get(NONCE_PARAMETER, ())), None)
        if found is not None and not self._web.accept_nonce:
            raise InvalidInputError(
                f"{NONCE_PARAMETER}: nonces are not accepted here; see web.accept_nonce"
            )
        return None if found is None else NonceId(found)


class OpenAccess(Authenticator):
    """Access mode ``none``: everybody may do everything, and chooses the tenant."""

    def authenticate(self, headers: HTTPHeaders, query: Fields, remote_ip: str) -> Proof:
        """Return the one user there is, in the tenant the request names or the configured one.

        With a nonce or the token of an execution in the request, that counts for what it is worth.
        """
        if not self._web.allow_insecure:
            self._refuse_web_pages(headers)
        nonce = self._find_nonce(query)
        if nonce is not None:
            return nonce
        token = _find_bearer(headers) if self._settings.takes_run_tokens else None
        if token is not None and _is_for_run(token):
            return Bearer(token, None)
        tenant = check_tenant(headers.get("Tenant", self._web.tenant_name))
        return Caller(
            tenant=tenant,
            user=ANONYMOUS,
            roles=frozenset({ALL_ROLE}),
            api_server=api_server_of(self._settings, tenant),
        )

    def _refuse_web_pages(self, headers: HTTPHeaders) -> None:
        """Refuse what the page of another site could be behind.

        Nobody proves anything in this mode, and a browser on this machine reaches a loopback
        address for every page it shows: directly, or under a name of the page's own that was
        pointed here (DNS rebinding).
        """
        host = split_host_and_port(headers.get("Host", "localhost").lower())[0].strip("[]")
        own_name = urlsplit(self._web.default_api_server).hostname
        if headers.get("Sec-Fetch-Site") == "cross-site":
            raise ForbiddenError(
                "pages of other sites may not use a server without access control; see"
                " web.allow_insecure"
            )
        if not (_is_local(host) or host == own_name):
            raise ForbiddenError(
                f"a server without access control does not answer to the name {host!r}; see"
                " web.allow_insecure"
            )


class TokenAccess(Authenticator):
    """Access mode ``jwt``: a signed token says who.

    In the header of a gateway the header's name says which tenant, and that name is not signed:
    it is believed only of addresses that are trusted. A bearer token names its tenant itself.
    """

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        super().__init__(settings)
        self._now = now
        self._signatures = _Signatures()
        text = settings.web.apim_public_key
        self._key = None if text is None else load_key(text)
        self._takes_bearer = settings.web.accept_bearer or settings.web.jwks_url is not None

    def authenticate(self, headers: HTTPHeaders, query: Fields, remote_ip: str) -> Proof:
        """Return the caller the token speaks of, or a nonce where there is no valid token."""
        try:
            found = _find_token(headers)
            if found is None:
                bearer = _find_bearer(headers)
                if bearer is None or not self._takes(bearer):
                    raise UnauthenticatedError(self._wanted())
                return Bearer(bearer, self._find_nonce(query))
            self._check_gateway(remote_ip)
            name, token = found
            # A valid token makes a nonce unneeded, and it is left unused.
            return self._known(name, self._verify(token))
        except UnauthenticatedError:
            nonce = self._find_nonce(query)
            if nonce is None:
                raise
            return nonce

    def _takes(self, bearer: str) -> bool:
        """Tell whether a bearer token is looked at; one of ours for a run is in any case."""
        return self._takes_bearer or (self._settings.takes_run_tokens and _is_for_run(bearer))

    def _wanted(self) -> str:
        return (
            f"{_NO_CREDENTIALS}, or Authorization: Bearer"
            if self._takes_bearer
            else _NO_CREDENTIALS
        )

    def _check_gateway(self, remote_ip: str) -> None:
        """Refuse a gateway's header from anybody else."""
        trusted = self._web.gateways
        if trusted and not any(ipaddress.ip_address(remote_ip) in network for network in trusted):
            raise UnauthenticatedError(
                f"JWT headers are not accepted from {remote_ip}; see web.trusted_gateways"
            )

    def _known(self, header: str, claims: Mapping[str, Any]) -> Caller:
        """Read user and roles from the claims, the tenant from the header's name."""
        enduser = claims.get(USER_CLAIM)
        user = enduser.partition("@")[0] if isinstance(enduser, str) else ""
        if not is_user_name(user):
            raise UnauthenticatedError(f"invalid JWT: the claim {USER_CLAIM} names no user")
        named = claims.get(ROLE_CLAIM)
        roles = {role.strip() for role in named.split(",")} if isinstance(named, str) else set()
        # "ALL" is what access mode none gives; no token may claim it.
        roles -= {"", ALL_ROLE}
        tenant = _tenant_of(header)
        own = self._web.jwt_tenant_claim
        if own is not None and claims.get(own) != tenant:
            raise UnauthenticatedError(f"invalid JWT: its claim {own} is another tenant")
        return Caller(
            tenant=tenant,
            user=user,
            roles=frozenset(roles or {EVERYONE_ROLE}),
            api_server=api_server_of(self._settings, tenant),
            jwt_header=header,
        )

    def _verify(self, token: str) -> Mapping[str, Any]:
        """Check signature and expiry; return the claims."""
        if self._key is None:
            raise UnauthenticatedError("JWT headers are not accepted here; see web.apim_public_key")
        try:
            algorithm = self._signatures.get_unverified_header(token).get("alg")
            if not isinstance(algorithm, str) or algorithm.lower() not in _ALGORITHMS:
                raise UnauthenticatedError("invalid JWT: its algorithm is not accepted")
            payload = self._signatures.decode(token, self._key, algorithms=[algorithm])
            claims = parse_json(payload)
        except (jwt.PyJWTError, InvalidInputError) as error:
            raise UnauthenticatedError("invalid JWT", detail=str(error)) from error
        if not isinstance(claims, dict):
            raise UnauthenticatedError("invalid JWT: its claims are no object")
        expiry = claims.get("exp")
        if expiry is not None and not self._is_ahead(expiry):
            raise UnauthenticatedError("invalid JWT: it has expired")
        return claims

    def _is_ahead(self, expiry: Any) -> bool:
        is_number = isinstance(expiry, int | float) and not isinstance(expiry, bool)
        return is_number and expiry > self._now().timestamp()


def make_authenticator(settings: Settings, now: Callable[[], datetime]) -> Authenticator:
    """Build what the configured access mode needs.

    Args:
        settings: Everything configurable.
        now: Wall time that expiries are compared with.

    Raises:
        ConfigError: Mode ``jwt`` without a usable key.

    """
    if settings.web.access_control == "none":
        return OpenAccess(settings)
    return TokenAccess(settings, now)


def load_key(text: str) -> RSAPublicKey:
    """Read a public key as configured: base64 of its DER form.

    Raises:
        ConfigError: It is no RSA public key.

    """
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except ValueError as error:
        raise ConfigError("web.apim_public_key is no base64 of a public key in DER") from error
    if not isinstance(key, RSAPublicKey):
        raise ConfigError("web.apim_public_key is no RSA key")
    return key


def _is_local(host: str) -> bool:
    """Tell names and addresses that no foreign name service decides about."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _find_token(headers: HTTPHeaders) -> tuple[str, str] | None:
    """Return name and content of the one header with a gateway's token; None without one."""
    names = [
        name
        for name in headers
        if name.lower().startswith(JWT_HEADER_PREFIX) or name.lower() == LEGACY_HEADER
    ]
    if len(names) > 1:
        # The name decides the tenant; to choose one would let a client choose.
        raise UnauthenticatedError("more than one JWT header")
    if not names or not headers[names[0]]:
        return None
    return names[0], headers[names[0]]


def _find_bearer(headers: HTTPHeaders) -> str | None:
    """Return what stands behind ``Authorization: Bearer``. Source: RFC 6750 section 2.1."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _is_for_run(token: str) -> bool:
    """Tell whether a token says that we gave it to an execution. Nothing is verified."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return False
    return claims.get("iss") == ISSUER and RUN_CLAIM in claims


def _tenant_of(header: str) -> Tenant:
    if header.lower() == LEGACY_HEADER:
        return LEGACY_TENANT
    return check_tenant(header[len(JWT_HEADER_PREFIX) :].upper().replace("_", "-"))
