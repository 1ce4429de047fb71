"""Tokens this installation signs itself, and the keys it signs them with.

The keys are a JWK set in a file beside the data: the first one signs, all of them verify. Whoever
can read the file can be anybody here, so its mode is 0600 and that is checked.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId
from abaco.domain.run_token import ISSUER, RUN_CLAIM, Run
from abaco.errors import ConfigError, UnauthenticatedError
from abaco.ports.tokens import BearerTokens, Identity
from backends.tokens.claims import INVALID, check_times, decode, roles_claim, text_claim, unverified

#: a retired key must verify until the last token it signed has expired
MAX_VALID = timedelta(days=30)

_ALGORITHM = "EdDSA"

#: what others may see of a key
_PUBLIC = ("kty", "crv", "x", "kid", "alg")

#: what the token of a run may be used for: whatever its owner may do, or its actor alone
_OWNER, _ACTOR = "owner", "actor"


class KeyFile:
    """The signing keys on disk.

    Args:
        path: File of the JWK set. Made with one key by ``open`` when it is not there.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, jwt.PyJWK] = {}

    def open(self, now: datetime) -> None:
        """Read the keys; make the first one if there is none.

        Raises:
            ConfigError: The file cannot be used.

        """
        if not self._path.exists():
            self.rotate(now)
        self._read()

    def signing_key(self) -> tuple[str, jwt.PyJWK]:
        """Return name and key that tokens are signed with now."""
        self._read()
        return next(iter(self._keys.items()))

    def find(self, name: str) -> jwt.PyJWK | None:
        """Return the key of this name; looks at the file again if it is not a known one."""
        if name not in self._keys and self._path.exists():
            self._read()
        return self._keys.get(name)

    def rotate(self, now: datetime) -> None:
        """Put a new key first, and forget those that no living token can be signed with.

        Raises:
            ConfigError: The file cannot be used.

        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                old = self._load() if self._path.exists() else []
                self._replace([_new_key(now), *_still_needed(old, now)])
        except OSError as error:
            raise self._fault(error.strerror or str(error)) from error

    def _read(self) -> None:
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise self._fault(f"others may read it; chmod 600 {self._path}")
            keys = {str(key["kid"]): jwt.PyJWK(key, algorithm=_ALGORITHM) for key in self._load()}
        except OSError as error:
            raise self._fault(error.strerror or str(error)) from error
        except (ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            raise self._fault("it is no set of signing keys") from error
        if not keys:
            raise self._fault("it holds no key")
        self._keys, self._seen = keys, seen

    def _load(self) -> list[dict[str, Any]]:
        return list(json.loads(self._path.read_text(encoding="utf-8"))["keys"])

    def _replace(self, keys: list[dict[str, Any]]) -> None:
        """Write all or nothing: a reader sees the old set or the new one."""
        _write(self._path, keys, 0o600)
        self._publish(keys)

    def _publish(self, keys: list[dict[str, Any]]) -> None:
        """Write the public halves where others may read them."""
        shown = [{name: key[name] for name in _PUBLIC if name in key} for key in keys]
        _write(self.public_path, shown, 0o644)

    @property
    def public_path(self) -> Path:
        """File of the public halves, for whoever is to verify what is signed here."""
        return self._path.with_suffix(".public.json")

    def publish(self) -> None:
        """Write the public halves of the present keys.

        Raises:
            ConfigError: The files cannot be used.

        """
        try:
            self._publish(self._load())
        except OSError as error:
            raise self._fault(error.strerror or str(error)) from error

    def _fault(self, reason: str) -> ConfigError:
        return ConfigError(f"general.data_dir: the keys of tokens in {self._path}: {reason}")


def _write(path: Path, keys: list[dict[str, Any]], mode: int) -> None:
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"keys": keys}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _new_key(now: datetime) -> dict[str, Any]:
    key = OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate(), as_dict=True)
    return {**key, "kid": secrets.token_hex(8), "alg": _ALGORITHM, "since": now.timestamp()}


def _still_needed(old: list[dict[str, Any]], now: datetime) -> Iterable[dict[str, Any]]:
    """Pick keys that were replaced less than a token's longest life ago. Newest first."""
    replaced = now.timestamp()
    for key in old:
        if replaced > (now - MAX_VALID).timestamp():
            yield key
        replaced = float(key.get("since", 0))


class OwnTokens(BearerTokens):
    """Signs and verifies the tokens of this installation.

    Args:
        keys: The keys.
        now: Tells the wall time.
        audience: The API server of a tenant; a token is good for one.

    """

    def __init__(
        self, keys: KeyFile, now: Callable[[], datetime], audience: Callable[[Tenant], str]
    ) -> None:
        self._keys = keys
        self._now = now
        self._audience = audience

    def mint(self, identity: Identity, valid: timedelta) -> str:
        """Return a token for somebody.

        Raises:
            ConfigError: The keys cannot be read.
            ValueError: It would outlive the key.

        """
        if not timedelta(0) < valid <= MAX_VALID:
            raise ValueError(f"a token is valid for more than nothing and at most {MAX_VALID}")
        name, key = self._keys.signing_key()
        now = self._now()
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": self._audience(Tenant(identity.tenant)),
            "sub": identity.user,
            "tenant": identity.tenant,
            "roles": sorted(identity.roles),
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + valid).timestamp()),
            "jti": secrets.token_hex(16),
        }
        if identity.run is not None:
            claims[RUN_CLAIM] = _run_claim(identity.run, is_for_actor=identity.is_for_actor)
        return jwt.encode(claims, key, algorithm=_ALGORITHM, headers={"kid": name})

    async def identify(self, token: str) -> Identity:
        """Return whom one of our tokens speaks of."""
        header, claimed = unverified(token)
        key = self._keys.find(str(header.get("kid")))
        if key is None:
            raise UnauthenticatedError(f"{INVALID}: no key of this server has signed it")
        audience = self._audience(Tenant(text_claim(claimed, "tenant")))
        claims = decode(token, key, issuer=ISSUER, audience=audience)
        check_times(claims, self._now(), timedelta(0))
        run = claims.get(RUN_CLAIM)
        return Identity(
            tenant=text_claim(claims, "tenant"),
            user=text_claim(claims, "sub"),
            roles=roles_claim(claims, "roles"),
            run=None if run is None else _read_run(run),
            is_for_actor=run is not None and run.get("scope") != _OWNER,
        )


def _run_claim(run: Run, *, is_for_actor: bool) -> dict[str, Any]:
    return {
        "actor": run.actor_id,
        "worker": run.worker_id,
        "execution": run.execution_id,
        "attempt": run.attempt,
        "scope": _ACTOR if is_for_actor else _OWNER,
    }


def _read_run(claim: Any) -> Run:
    """Read the claim that ``_run_claim`` made; the signature has been checked."""
    if not isinstance(claim, Mapping) or not isinstance(claim.get("attempt"), int):
        raise UnauthenticatedError(f"{INVALID}: the claim {RUN_CLAIM} names no run")
    return Run(
        actor_id=ActorId(text_claim(claim, "actor")),
        execution_id=ExecutionId(text_claim(claim, "execution")),
        worker_id=WorkerId(text_claim(claim, "worker")),
        attempt=claim["attempt"],
    )
