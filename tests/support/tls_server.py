"""A server on port 443, under a name that its containers know, as the published SDK needs it."""

from __future__ import annotations

import os
import random
import secrets
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import urllib3

from tests.http.site import PUBLIC_KEY
from tests.support.certificates import Pair
from tests.support.server import PATIENCE_S, Server

HTTPS_PORT = 443
ROLE = "Internal/everyone"


def loopback_address() -> str:
    """Find an address of this machine alone on which port 443 is free; they are millions."""
    for _ in range(100):
        numbers = [random.randrange(1, 250) for _ in range(3)]
        address = "127." + ".".join(map(str, numbers))
        with socket.socket() as probe, suppress(OSError):
            probe.bind((address, HTTPS_PORT))
            return address
    raise AssertionError("port 443 is free on no loopback address; it takes root to listen there")


class TlsServer(Server):
    """``abaco serve`` with a certificate of its own authority, which containers are told to trust.

    Args:
        directory: Of the server and the certificates.
        settings: Besides those that follow from HTTPS.
        address: Of this machine, on which the port is free; without it one of its own.
        port: The one that needs no mention.

    """

    def __init__(
        self,
        directory: Path,
        settings: dict[str, str],
        address: str | None = None,
        port: int = HTTPS_PORT,
    ) -> None:
        self.address = address or loopback_address()
        self.name = f"abaco-{secrets.token_hex(4)}.test"
        self.pair = Pair(directory / "tls", self.name, self.address)
        super().__init__(
            directory,
            {
                "web.address": self.address,
                "web.default_api_server": f"https://{self.name}",
                "web.access_control": "jwt",
                "web.apim_public_key": PUBLIC_KEY,
                "web.user_role": ROLE,
                "web.accept_bearer": "true",
                "web.case": "camel",
                "runtime.actor_ca_bundle": str(self.pair.ca),
                "engine.extra_hosts": f"{self.name}:{self.address}",
                **self.pair.settings(),
                **settings,
            },
        )
        self.port = port
        self.url = f"https://{self.address}" + ("" if port == HTTPS_PORT else f":{port}")
        self._pool = urllib3.PoolManager(
            retries=False, timeout=PATIENCE_S, ca_certs=str(self.pair.ca)
        )
        self.proof: dict[str, str] = {}

    def also(self, **settings: str) -> None:
        """Add settings, before the start."""
        self._settings |= settings

    def log_in(self, user: str, *options: str, at: str | None = None) -> str:
        """Be this user from now on; return a token, made with more options if need be."""
        environment = {
            **os.environ,
            "ABACO__GENERAL__DATA_DIR": str(self.directory / "data"),
            "ABACO__WEB__DEFAULT_API_SERVER": at or f"https://{self.name}",
            "ABACO__WEB__USER_ROLE": ROLE,
            "ABACO__WEB__ACCEPT_BEARER": "true",
        }
        made = subprocess.run(
            [sys.executable, "-m", "abaco", "token", user, *options],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        token = made.stdout.strip()
        self.proof = {"Authorization": f"Bearer {token}"}
        return token

    def raw(self, method: str, path: str, body: Any = None, **named: Any) -> Any:
        """Send JSON as the user."""
        named.setdefault("headers", self.proof)
        return super().raw(method, path, body, **named)

    def send(self, actor: str, message: Any) -> str:
        """Post a message; return the id of its execution."""
        body = {"message": message}
        return str(self.call("POST", f"/actors/{actor}/messages", body)["executionId"])
