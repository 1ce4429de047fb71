"""Tokens of an issuer elsewhere, verified with the keys it publishes (a JWK set, RFC 7517)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from abaco.errors import IssuerUnavailableError, UnauthenticatedError
from abaco.ports.clock import Clock
from abaco.ports.tokens import BearerTokens, Identity
from backends.tokens.claims import INVALID, check_times, decode, roles_claim, text_claim, unverified

_log = logging.getLogger(__name__)

#: seconds a fetch of the keys may take
FETCH_TIMEOUT_S = 5.0
#: seconds between two fetches, however many unknown keys are named in between
FETCH_PAUSE_S = 10.0
#: bytes of the largest set that is read
MAX_SET_BYTES = 1_000_000
#: how far the issuer's clock may be off
LEEWAY = timedelta(seconds=30)

#: nothing symmetric: who verifies could sign
ALGORITHMS = frozenset(
    {f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)} | {"EdDSA"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Where tokens come from and how they are read.

    Attributes:
        tenant: Of every token, when ``tenant_claim`` is None.
        ttl_s: Seconds after which the keys are fetched again.

    """

    url: str
    issuer: str
    audience: str
    user_claim: str
    roles_claim: str
    tenant_claim: str | None
    tenant: str
    ttl_s: float


class JwksTokens(BearerTokens):
    """Verifies an issuer's tokens.

    Keys are fetched when they are first needed, when they are older than the issuer's ``ttl_s``,
    and when a token names one that is not known: that is how a new key becomes known. While the
    issuer does not answer, the keys fetched last go on serving.
    """

    def __init__(self, issuer: Issuer, clock: Clock) -> None:
        self._issuer = issuer
        self._clock = clock
        self._client = AsyncHTTPClient(force_instance=True, max_body_size=MAX_SET_BYTES)
        self._keys: list[jwt.PyJWK] = []
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    def close(self) -> None:
        """Give up connections."""
        self._client.close()

    async def identify(self, token: str) -> Identity:
        """Return whom a token of the issuer speaks of."""
        header, _ = unverified(token)
        if header.get("alg") not in ALGORITHMS:
            raise UnauthenticatedError(f"{INVALID}: its algorithm is not accepted")
        issuer = self._issuer
        key = await self._find(header)
        claims = decode(token, key, issuer=issuer.issuer, audience=issuer.audience)
        check_times(claims, self._clock.now(), LEEWAY)
        tenant = text_claim(claims, issuer.tenant_claim) if issuer.tenant_claim else issuer.tenant
        return Identity(
            tenant=tenant,
            user=text_claim(claims, issuer.user_claim),
            roles=roles_claim(claims, issuer.roles_claim),
        )

    async def _find(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        found = None if self._is_old() else self._pick(header)
        if found is None:
            async with self._fetching:  # whoever waited here finds what the first one fetched
                found = None if self._is_old() else self._pick(header)
                if found is None and self._may_fetch():
                    await self._fetch()
            found = found or self._pick(header)
        if found is not None:
            return found
        if self._fetched_at is None:
            raise IssuerUnavailableError("the issuer of tokens does not tell its keys")
        raise UnauthenticatedError(f"{INVALID}: the issuer has no such key")

    def _pick(self, header: Mapping[str, Any]) -> jwt.PyJWK | None:
        """Return the key a token names, or the only one there is if it names none."""
        name, algorithm = header.get("kid"), header["alg"]
        fitting = [key for key in self._keys if key.algorithm_name == algorithm]
        if name is not None:
            fitting = [key for key in fitting if key.key_id == name]
        return fitting[0] if len(fitting) == 1 else None

    def _is_old(self) -> bool:
        fetched_at = self._fetched_at
        return fetched_at is None or self._clock.monotonic() - fetched_at >= self._issuer.ttl_s

    def _may_fetch(self) -> bool:
        tried_at = self._tried_at
        return tried_at is None or self._clock.monotonic() - tried_at >= FETCH_PAUSE_S

    async def _fetch(self) -> None:
        self._tried_at = self._clock.monotonic()
        try:
            answer = await self._client.fetch(
                self._issuer.url,
                request_timeout=FETCH_TIMEOUT_S,
                connect_timeout=FETCH_TIMEOUT_S,
                follow_redirects=False,
            )
            listed = json.loads(answer.body)["keys"]
            keys = [key for item in listed if (key := _read_key(item)) is not None]
        except (HTTPClientError, OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("the keys at %s cannot be fetched: %s", self._issuer.url, error)
            return
        self._keys, self._fetched_at = keys, self._clock.monotonic()
        _log.info("fetched %d keys of the issuer %s", len(keys), self._issuer.issuer)


def _read_key(item: Any) -> jwt.PyJWK | None:
    """Read one key of a set; None for those that are not for signatures we accept."""
    try:
        key = jwt.PyJWK(item)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        return None  # an issuer may publish kinds of keys we do not know
    if key.algorithm_name not in ALGORITHMS or key.public_key_use not in (None, "sig"):
        return None
    return key
