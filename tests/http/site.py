"""A real server on a loop of its own, a client for it, and the people who use it."""

from __future__ import annotations

import asyncio
import base64
import json
import resource
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.netutil import bind_sockets

from abaco.config import Settings
from abaco.domain.actor import ActorKey
from abaco.domain.caller import ADMIN_ROLE, EVERYONE_ROLE, LIMITED_ROLE, PRIVILEGED_ROLE
from abaco.domain.health import AgentReport, CheckReport
from abaco.domain.ids import ActorId, Tenant
from abaco.operations.rotation import Rotation
from abaco.operations.services import Services
from agents.notices import LocalNotices
from backends.stores.memory import open_stores
from backends.system import RandomIds, SystemClock
from backends.tokens.select import open_tokens
from backends.users.select import open_users
from backends.vault import FernetVault, ephemeral_vault
from handlers.auth import ROLE_CLAIM, USER_CLAIM
from handlers.description import dialect_of
from handlers.routes import make_application
from handlers.server import make_server
from handlers.spelling import spell
from tests.support.conformity import conformity
from tests.support.player import Player

TENANT = "DEV-DEVELOP"
API_SERVER = "https://api.example.org"

PRIVATE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_KEY = base64.b64encode(
    PRIVATE_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()

#: seconds old keys are kept once nothing needs them
SETTLE_S = 0.02

#: who uses the service, with which roles
PEOPLE = {
    "testuser": f"{EVERYONE_ROLE},{ADMIN_ROLE}",
    "testshareuser": f"{EVERYONE_ROLE},{PRIVILEGED_ROLE}",
    "testotheruser": f"{EVERYONE_ROLE},{LIMITED_ROLE}",
    "jane": EVERYONE_ROLE,
}


def make_token(user: str, *, roles: str | None = None, **claims: Any) -> str:
    """Sign a token as the gateway does."""
    payload = {
        USER_CLAIM: f"{user}@carbon.super",
        ROLE_CLAIM: roles if roles is not None else PEOPLE.get(user, EVERYONE_ROLE),
        "exp": datetime.now(UTC) + timedelta(hours=1),
        **claims,
    }
    return jwt.encode(payload, PRIVATE_KEY, algorithm="RS256")


def jwt_settings(case: str = "snake", **web: Any) -> Settings:
    """Settings as the older system's functional suite wants them."""
    return Settings(
        general={"tag": "test-tag"},
        workers={"allow_privileged": True},
        web={
            "access_control": "jwt",
            "apim_public_key": PUBLIC_KEY,
            "user_role": EVERYONE_ROLE,
            "accept_nonce": True,
            "case": case,
            "default_api_server": API_SERVER,
            **web,
        },
    )


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int
    headers: HTTPHeaders
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        """The four keys every response has but raw ones."""
        assert self.headers["Content-Type"] == "application/json"
        envelope = json.loads(self.body)
        assert set(envelope) == {"message", "status", "version", "result"}
        return dict(envelope)

    @property
    def result(self) -> Any:
        """The result of a success."""
        envelope = self.envelope
        assert self.status == 200, envelope
        assert envelope["status"] == "success"
        assert envelope["version"] == "test-tag"
        return envelope["result"]

    @property
    def error(self) -> str:
        """The message of a refusal."""
        envelope = self.envelope
        assert 400 <= self.status < 500, (self.status, envelope)
        assert envelope["status"] == "error"
        assert envelope["result"] is None
        return str(envelope["message"])


@dataclass
class Site:
    """One server, stepped by the test: the loop runs only while something is awaited."""

    settings: Settings
    agents: list[AgentReport] = field(default_factory=list)
    checks: list[CheckReport] = field(default_factory=list)
    vault: FernetVault = field(default_factory=ephemeral_vault)

    def open(self) -> None:
        """Start serving."""
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.run(self._open())

    async def _open(self) -> None:
        clock = SystemClock()
        stores = await self.stack.enter_async_context(open_stores(self.settings, clock))
        self.services = Services(
            settings=self.settings,
            stores=stores,
            notices=LocalNotices(),
            clock=clock,
            ids=RandomIds(self.settings.web.id_salt),
            vault=self.vault,
            engine_endpoint=lambda: "unix:///var/run/docker.sock",
            identity=await self.stack.enter_async_context(open_users(self.settings, clock)),
            bearer=self.stack.enter_context(open_tokens(self.settings, clock)),
        )
        self.serve(self.services)

    def serve(self, services: Services) -> None:
        """Listen on a free port with these services."""
        self.rotation = Rotation(services.stores, self.vault, settle_s=SETTLE_S)
        application = make_application(
            services,
            agents=lambda: self.agents,
            checks=self._check,
            rotation=self.rotation,
        )
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        max_body_bytes = self.settings.web.max_body_length
        server = make_server(application, file_limit=limit, max_body_bytes=max_body_bytes)
        server.add_sockets(sockets)
        self.stack.push_async_callback(self._stop, server)
        self.player = Player(services)
        self.connect()

    def connect(self) -> None:
        """Make the client. Called on the loop."""
        self.client = AsyncHTTPClient(
            force_instance=True, defaults={"request_timeout": 60, "decompress_response": False}
        )
        self.stack.callback(self.client.close)

    async def _check(self) -> list[CheckReport]:
        return self.checks

    async def _stop(self, server: HTTPServer) -> None:
        server.stop()
        await server.close_all_connections()

    def close(self) -> None:
        """Stop, and see that nothing is left running."""

        async def shut() -> set[str]:
            await self.stack.aclose()
            await asyncio.sleep(0)
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            return {str(task) for task in rest if not task.done()}

        left = self.run(shut())
        self.runner.close()
        assert not left, left

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Let the loop run until this is done."""

        async def await_it() -> Any:
            return await awaitable

        return self.runner.run(await_it())

    @property
    def case(self) -> str:
        """How names are spelled here."""
        return self.settings.web.case

    def name(self, snake: str) -> str:
        """Spell a name as this server does."""
        return spell(snake, self.settings.web.case)

    def fields(self, **values: Any) -> dict[str, Any]:
        """Spell the names of attributes as this server does."""
        return {self.name(name): value for name, value in values.items()}

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        user: str | None = "testuser",
        tenant: str = TENANT,
        json_body: Any = None,
        form: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request and take the response; both must be as the interface is described."""
        sent = HTTPHeaders()
        if user is not None and self.settings.web.access_control == "jwt":
            sent[f"X-Jwt-Assertion-{tenant}"] = make_token(user)
        if json_body is not None:
            body, sent["Content-Type"] = json.dumps(json_body).encode(), "application/json"
        if form is not None:
            body = urlencode(form, doseq=True).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        sent.update(headers or {})
        response = await self.client.fetch(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            headers=sent,
            body=body,
            allow_nonstandard_methods=True,
            raise_error=False,
        )
        conformity(dialect_of(self.settings.web)).check(
            method, path, sent, body or b"", response.code, response.headers, response.body
        )
        return Reply(response.code, response.headers, response.body)

    def request(self, method: str, path: str, **options: Any) -> Reply:
        """Send a request and let the loop run until the response is there."""
        return self.run(self.fetch(method, path, **options))  # type: ignore[no-any-return]

    def get(self, path: str, **options: Any) -> Reply:
        """GET."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Reply:
        """POST."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Reply:
        """PUT."""
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> Reply:
        """DELETE."""
        return self.request("DELETE", path, **options)

    def register(self, *, user: str = "testuser", tenant: str = TENANT, **attributes: Any) -> str:
        """Register an actor and return its id."""
        wanted = self.fields(**{"image": "abacosamples/test", **attributes})
        reply = self.post("/actors", json_body=wanted, user=user, tenant=tenant)
        return str(reply.result["id"])

    def send(self, actor_id: str, message: Any = "hello", **options: Any) -> str:
        """Post a message and return the execution's id."""
        reply = self.post(f"/actors/{actor_id}/messages", json_body={"message": message}, **options)
        return str(reply.result[self.name("execution_id")])

    def key(self, actor_id: str, tenant: str = TENANT) -> ActorKey:
        """Name an actor as the stores do."""
        return ActorKey(Tenant(tenant), ActorId(actor_id))

    async def raw(self, *pieces: bytes, wait_s: float = 5) -> bytes:
        """Write bytes on a bare connection; return all that comes back until it is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(wait_s):
                return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
