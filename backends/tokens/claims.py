"""What own tokens and those of an issuer elsewhere have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt

from abaco.errors import UnauthenticatedError

#: longest token that is looked at; what a header may carry is bounded by the server
MAX_TOKEN_LENGTH = 16_384

INVALID = "invalid bearer token"


def unverified(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return header and claims as written; nothing of them is proved.

    Raises:
        UnauthenticatedError: The text is no JWT.

    """
    if len(token) > MAX_TOKEN_LENGTH:
        raise UnauthenticatedError(f"{INVALID}: it is longer than {MAX_TOKEN_LENGTH}")
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise UnauthenticatedError(INVALID, detail=str(error)) from error
    return parts["header"], parts["payload"]


def decode(token: str, key: jwt.PyJWK, *, issuer: str, audience: str | None) -> dict[str, Any]:
    """Check signature, issuer and (unless None) audience; return the claims.

    Times are left to ``check_times``, which is told what time it is.

    Raises:
        UnauthenticatedError: One of them is wrong.

    """
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            issuer=issuer,
            audience=audience,
            options={
                "require": ["exp", "iss"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": audience is not None,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.PyJWTError, ValueError) as error:
        raise UnauthenticatedError(INVALID, detail=str(error)) from error


def check_times(claims: Mapping[str, Any], now: datetime, leeway: timedelta) -> None:
    """Refuse what has expired or is not valid yet.

    Args:
        claims: ``exp`` must be there, ``nbf`` may.
        now: Wall time.
        leeway: How far the issuer's clock may be off.

    Raises:
        UnauthenticatedError: It has, or is; or a time is none.

    """
    expiry, begin = claims.get("exp"), claims.get("nbf", 0)
    if not (isinstance(expiry, int | float) and isinstance(begin, int | float)):
        raise UnauthenticatedError(f"{INVALID}: exp or nbf is no time")
    if expiry <= (now - leeway).timestamp():
        raise UnauthenticatedError(f"{INVALID}: it has expired")
    if begin > (now + leeway).timestamp():
        raise UnauthenticatedError(f"{INVALID}: it is not valid yet")


def text_claim(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim that must be a text.

    Raises:
        UnauthenticatedError: It is absent, empty or no text.

    """
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise UnauthenticatedError(f"{INVALID}: the claim {name} is no text")
    return value


def roles_claim(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """Return the roles of a claim: a list of texts, or one text with commas or spaces between."""
    value = claims.get(name)
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, list):
        return frozenset()
    return frozenset(role.strip() for role in value if isinstance(role, str)) - {""}
