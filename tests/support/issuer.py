"""A real issuer of tokens: an HTTP server that publishes its keys, and the private ones."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

AUDIENCE = "abaco-of-the-lab"


@dataclass
class Issuer:
    """Signs tokens and answers requests for its keys; counts them in ``asked``."""

    url: str = ""
    name: str = "https://issuer.example.org"
    is_away: bool = False
    body: bytes | None = None
    asked: int = 0
    more_keys: list[dict[str, Any]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.use("RS256")

    def use(self, algorithm: str) -> None:
        """Sign with a fresh key for this algorithm from now on, and publish it alone."""
        self.algorithm = algorithm
        self.rotate()

    def rotate(self, *, publish: bool = True) -> None:
        """Sign with another key."""
        self._count += 1
        self.kid = str(self._count)
        self._key: Any = {
            "R": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "P": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "E": lambda: ec.generate_private_key(ec.SECP256R1()),
        }.get(self.algorithm[0] if self.algorithm != "EdDSA" else "", ed25519_key)()
        if publish:
            self._published = [self.public_key()]

    def public_key(self) -> dict[str, Any]:
        """Return the present key as it is published."""
        algorithm: Any = get_default_algorithms()[self.algorithm]
        key = algorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {**key, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def claims(self, user: str, **changes: Any) -> dict[str, Any]:
        """Return what a token for a user says; None takes a claim away."""
        claims = {
            "iss": self.name,
            "aud": AUDIENCE,
            "sub": user,
            "roles": ["Internal/everyone"],
            "exp": int(time.time()) + 600,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, user: str, *, kid: str | None = "", **changes: Any) -> str:
        """Sign a token; ``kid`` None names no key."""
        headers = {} if kid is None else {"kid": kid or self.kid}
        # PyJWT refuses to encode some claims; the signature is what matters here
        payload = json.dumps(self.claims(user, **changes)).encode()
        return jwt.PyJWS().encode(payload, self._key, algorithm=self.algorithm, headers=headers)

    def answer(self) -> tuple[int, bytes]:
        """Return status and body of the set of keys."""
        self.asked += 1
        if self.is_away:
            return 500, b""
        keys = {"keys": [*self._published, *self.more_keys]}
        return 200, json.dumps(keys).encode() if self.body is None else self.body


def ed25519_key() -> Any:
    return ed25519.Ed25519PrivateKey.generate()


@contextmanager
def serve_issuer() -> Iterator[Issuer]:
    """Serve an issuer's keys from a thread of its own."""
    issuer = Issuer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = issuer.answer()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        issuer.url = f"http://127.0.0.1:{server.server_address[1]}/jwks"
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
