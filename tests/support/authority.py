"""A real authorization server, of Authlib and Flask, on a thread of the test's process.

It registers clients (RFC 7591), deletes them (RFC 7592), and gives tokens for credentials of
clients, refresh tokens (RFC 6749) and statements about owners (RFC 8693).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, InvalidGrantError, TokenEndpointMixin, TokenMixin
from authlib.oauth2.rfc6749.grants import (
    BaseGrant,
    ClientCredentialsGrant,
    RefreshTokenGrant,
)
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint
from authlib.oauth2.rfc7592 import ClientConfigurationEndpoint
from flask import Flask, jsonify, request
from werkzeug.serving import make_server

INITIAL_TOKEN = "initial-access-token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass
class Client(ClientMixin):
    client_id: str
    client_secret: str
    metadata: dict[str, Any]
    registration_token: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def client_info(self) -> dict[str, Any]:
        return {"client_id": self.client_id, "client_secret": self.client_secret}

    @property
    def client_metadata(self) -> dict[str, Any]:
        return self.metadata

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(self.client_secret, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.metadata["token_endpoint_auth_method"]

    def check_client(self, client: Client) -> bool:
        return self is client

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.metadata["grant_types"]


@dataclass
class Issued(TokenMixin):
    value: dict[str, Any]
    client: Client
    user: str | None
    issued_at: float = field(default_factory=time.time)

    def check_client(self, client: Client) -> bool:
        return self.client.client_id == client.client_id

    def get_scope(self) -> str:
        return str(self.value.get("scope", ""))

    def get_expires_in(self) -> int:
        return int(self.value["expires_in"])

    def is_expired(self) -> bool:
        return time.time() > self.issued_at + self.get_expires_in()

    def is_revoked(self) -> bool:
        return False

    def get_user(self) -> str | None:
        return self.user

    def get_client(self) -> Client:
        return self.client


class Authority:
    """The server and what it knows. ``asked`` has method and path of each request."""

    def __init__(self, public_keys: Path | None = None) -> None:
        self.clients: dict[str, Client] = {}
        #: those of deleted clients too: who brings one is told that its client is gone
        self.registration_tokens: dict[str, Client] = {}
        self.issued: list[Issued] = []
        self.asked: list[str] = []
        self.is_away = False
        self.expires_in = 3600
        self.gives_refresh_tokens = True
        self.unknown_owners: set[str] = set()
        self.public_keys = public_keys
        self.url = ""

    def user_of(self, token: str) -> str | None:
        """Return whom a token represents; raises when it is unknown, expired or its client gone."""
        (found,) = [one for one in self.issued if one.value["access_token"] == token]
        assert found.client.client_id in self.clients, "its client is gone"
        assert not found.is_expired()
        return found.user

    @property
    def names(self) -> list[str]:
        return sorted(client.metadata["client_name"] for client in self.clients.values())

    def save_token(self, token: dict[str, Any], asked: Any) -> None:
        user = asked.user if isinstance(asked.user, str) else None
        self.issued.append(Issued(token, asked.client, user))

    def make_token(self, grant_type: str, client: Client, **more: Any) -> dict[str, Any]:
        token = {
            "token_type": "Bearer",
            "access_token": secrets.token_hex(20),
            "expires_in": self.expires_in,
        }
        if self.gives_refresh_tokens and grant_type != "client_credentials":
            token["refresh_token"] = secrets.token_hex(20)
        return token

    def owner_in(self, statement: str) -> str:
        """Verify a statement about an owner with the keys Abaco has published."""
        assert self.public_keys is not None
        keys = jwt.PyJWKSet.from_json(self.public_keys.read_text()).keys
        kid = jwt.get_unverified_header(statement)["kid"]
        (key,) = [one for one in keys if one.key_id == kid]
        try:
            claims = jwt.decode(
                statement,
                key,
                algorithms=["EdDSA"],
                audience=self.url,
                issuer="abaco",
                leeway=10_000,  # tests move the clock of the other side
            )
        except jwt.PyJWTError as error:
            raise InvalidGrantError(str(error)) from error
        if claims["sub"] in self.unknown_owners:
            raise InvalidGrantError("nobody here")
        return str(claims["sub"])


def _refresh_grant(authority: Authority) -> type[RefreshTokenGrant]:
    class Refresh(RefreshTokenGrant):
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token: str) -> Issued | None:
            found = [o for o in authority.issued if o.value.get("refresh_token") == refresh_token]
            return found[0] if found else None

        def authenticate_user(self, refresh_token: Issued) -> Any:
            return refresh_token.user or "nobody"

        def revoke_old_credential(self, refresh_token: Issued) -> None:
            refresh_token.value.pop("refresh_token")

    return Refresh


def _exchange_grant(authority: Authority) -> type[BaseGrant]:
    class Exchange(BaseGrant, TokenEndpointMixin):
        GRANT_TYPE = EXCHANGE

        def validate_token_request(self) -> None:
            self.request.client = self.authenticate_token_endpoint_client()
            form = self.request.form
            assert form["subject_token_type"] == "urn:ietf:params:oauth:token-type:jwt"
            actor = [o for o in authority.issued if o.value["access_token"] == form["actor_token"]]
            if not actor or actor[0].client is not self.request.client:
                raise InvalidGrantError("no such actor token")
            self.request.user = authority.owner_in(form["subject_token"])

        def create_token_response(self) -> Any:
            token = authority.make_token(EXCHANGE, self.request.client)
            self.save_token(token)
            return 200, token, self.TOKEN_RESPONSE_HEADER

    return Exchange


def _endpoints(authority: Authority) -> tuple[Any, Any]:
    def links(client: Client) -> dict[str, str]:
        return {
            "registration_client_uri": f"{authority.url}/clients/{client.client_id}",
            "registration_access_token": client.registration_token,
        }

    class Register(ClientRegistrationEndpoint):
        def authenticate_token(self, asked: Any) -> Any:
            return asked.headers.get("Authorization") == f"Bearer {INITIAL_TOKEN}"

        def get_server_metadata(self) -> dict[str, Any]:
            return {}

        def generate_client_registration_info(self, client: Client, asked: Any) -> Any:
            return links(client)

        def save_client(self, client_info: Any, client_metadata: Any, asked: Any) -> Client:
            names = ("client_id", "client_secret")
            client = Client(*(client_info[name] for name in names), dict(client_metadata))
            authority.clients[client.client_id] = client
            authority.registration_tokens[client.registration_token] = client
            return client

    class Configure(ClientConfigurationEndpoint):
        def authenticate_token(self, asked: Any) -> Any:
            header = asked.headers.get("Authorization", "")
            return authority.registration_tokens.get(header.removeprefix("Bearer "))

        def authenticate_client(self, asked: Any) -> Client | None:
            return authority.clients.get(request.view_args["client_id"])

        def revoke_access_token(self, token: Any, asked: Any) -> None:
            pass

        def check_permission(self, client: Client, asked: Any) -> bool:
            return asked.credential is client

        def delete_client(self, client: Client, asked: Any) -> None:
            del authority.clients[client.client_id]

        def generate_client_registration_info(self, client: Client, asked: Any) -> Any:
            return links(client)

    return Register, Configure


def _application(authority: Authority) -> Flask:
    app = Flask("authority")
    server = AuthorizationServer(app, authority.clients.get, authority.save_token)
    server.register_token_generator(
        "default", lambda *a, **k: authority.make_token(k["grant_type"], k["client"])
    )
    server.register_grant(ClientCredentialsGrant)
    server.register_grant(_refresh_grant(authority))
    server.register_grant(_exchange_grant(authority))
    register, configure = _endpoints(authority)
    server.register_endpoint(register)
    server.register_endpoint(configure)

    @app.before_request
    def note() -> Any:
        authority.asked.append(f"{request.method} {request.path}")
        return ("away", 503) if authority.is_away else None

    @app.get("/.well-known/oauth-authorization-server")
    def metadata() -> Any:
        url = authority.url
        return jsonify(
            issuer=url, token_endpoint=f"{url}/token", registration_endpoint=f"{url}/clients"
        )

    @app.post("/token")
    def token() -> Any:
        return server.create_token_response()

    @app.post("/clients")
    def register_client() -> Any:
        return server.create_endpoint_response("client_registration")

    @app.route("/clients/<client_id>", methods=["DELETE"])
    def configure_client(client_id: str) -> Any:
        return server.create_endpoint_response("client_configuration")

    return app


@contextmanager
def an_authority(public_keys: Path | None = None) -> Iterator[Authority]:
    """Serve on a free port of this machine."""
    authority = Authority(public_keys)
    server = make_server("127.0.0.1", 0, _application(authority), threaded=True)
    authority.url = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
