"""Four people, one server over a real engine, and what they see of each other's objects."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from handlers.spelling import spell
from tests.http.site import PUBLIC_KEY, TENANT, make_token
from tests.support.engines import Engine
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

ADMIN, SHARER, LIMITED, PLAIN = "testuser", "testshareuser", "testotheruser", "jane"
STAGING = "DEV-STAGING"
PROD = "AGAVE-PROD"


@dataclass(frozen=True)
class Answer:
    """A response. ``result`` demands a success, ``refusal`` an envelope with a status >= 399."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        assert self.headers["Content-Type"] == "application/json", self.body[:500]
        envelope = json.loads(self.body)
        assert set(envelope) == {"message", "status", "version", "result"}
        return dict(envelope)

    @property
    def result(self) -> Any:
        envelope = self.envelope
        assert self.status in (200, 201), envelope
        assert envelope["status"] == "success"
        assert envelope["version"] == "suite"
        result = envelope["result"]
        if isinstance(result, dict) and "ch_name" not in result and "chName" not in result:
            assert "tenant" not in result
        return result

    @property
    def refusal(self) -> str:
        assert self.status >= 399, self.body[:500]
        return str(self.envelope["message"])


@dataclass
class Suite:
    """The server as its users reach it.

    Attributes:
        ids: The objects that the rows share, by name.
        secrets: Parts of every token, nonce and secret value there was, long enough to be found.
        refusals: The bodies of all refusals.

    """

    server: Server
    case: str
    ids: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    refusals: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pool = urllib3.PoolManager(retries=False, timeout=60, maxsize=16)

    def name(self, snake: str) -> str:
        """Spell a name as this server does."""
        return spell(snake, self.case)  # type: ignore[arg-type]

    def spelled(self, **values: Any) -> dict[str, Any]:
        """Spell the names of attributes as this server does."""
        return {self.name(name): value for name, value in values.items()}

    def call(
        self,
        method: str,
        path: str,
        *,
        user: str | None = ADMIN,
        tenant: str = TENANT,
        json_body: Any = None,
        form: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request."""
        sent: dict[str, str] = {}
        if user is not None:
            token = make_token(user)
            self.secrets.add(token.rpartition(".")[2])
            sent[f"X-Jwt-Assertion-{tenant}"] = token
        if json_body is not None:
            data, sent["Content-Type"] = json.dumps(json_body).encode(), "application/json"
        if form is not None:
            data = urlencode(form, doseq=True).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        sent.update(headers or {})
        answer = self._pool.request(method, self.server.url + path, body=data, headers=sent)
        if answer.status >= 400:
            self.refusals.append(answer.data)
        elif method == "POST" and path.endswith("/nonces"):
            nonce = json.loads(answer.data)["result"]["id"]
            self.secrets.add(nonce.rpartition("_")[2])
        return Answer(answer.status, answer.headers, answer.data)

    def get(self, path: str, **options: Any) -> Answer:
        return self.call("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        return self.call("POST", path, **options)

    def put(self, path: str, **options: Any) -> Answer:
        return self.call("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.call("DELETE", path, **options)

    def path(self, name: str, *more: str) -> str:
        """Return the path of a shared object."""
        return "/".join(["/actors", self.ids[name], *more])

    def register(self, name: str | None, *, how: str = "json", **attributes: Any) -> Any:
        """Register an actor; ``user`` and ``tenant`` are options, the rest is its definition."""
        options = {key: attributes.pop(key) for key in ("user", "tenant") if key in attributes}
        wanted = self.spelled(**attributes) | ({} if name is None else {"name": name})
        body: dict[str, Any] = {"form": wanted} if how == "form" else {"json_body": wanted}
        actor = self.post("/actors", **body, **options).result
        self.check_actor(actor, wanted, options.get("user", ADMIN))
        if name is not None:
            self.ids[name] = actor["id"]
        return actor

    def check_actor(self, actor: Mapping[str, Any], wanted: Mapping[str, Any], owner: str) -> None:
        """See that an actor in a response is the one that was asked for."""
        assert "description" in actor
        assert actor["id"]
        assert actor["owner"] == owner
        assert actor["image"] == wanted["image"]
        if "name" in wanted:
            assert actor["name"] == wanted["name"]

    def until(self, found: Callable[[], Any], what: str, patience_s: float) -> Any:
        """Ask until the answer is truthy; return it."""
        return self.server.until(found, what, patience_s)

    def until_ready(self, actor_id: str, patience_s: float = 30, **options: Any) -> None:
        """Wait for an actor to be READY."""

        def is_ready() -> bool:
            return bool(self.get(f"/actors/{actor_id}", **options).result["status"] == "READY")

        self.until(is_ready, f"actor {actor_id} to be READY", patience_s)

    def until_complete(self, path: str, patience_s: float = 30, **options: Any) -> Any:
        """Wait for an execution to be COMPLETE; return it."""

        def complete() -> Any:
            execution = self.get(path, **options).result
            assert execution["status"] != "ERROR", execution
            return execution if execution["status"] == "COMPLETE" else None

        return self.until(complete, f"{path} to be COMPLETE", patience_s)

    def executions(self, actor_id: str) -> list[dict[str, Any]]:
        """Return an actor's executions as listed."""
        return list(self.get(f"/actors/{actor_id}/executions").result["executions"])

    def logs(self, path: str, **options: Any) -> str:
        """Return an execution's log."""
        return str(self.get(f"{path}/logs", **options).result["logs"])

    def send(self, path: str, *, patience_s: float = 30, **options: Any) -> tuple[Any, str]:
        """Post a message, wait for its end; return the execution and its path."""
        reply = self.post(f"{path}/messages", **options).result
        execution_path = f"{path}/executions/{reply[self.name('execution_id')]}"
        return self.until_complete(execution_path, patience_s), execution_path

    def pause(self, seconds: float) -> None:
        """Let the server do something that nothing tells about."""
        time.sleep(seconds)


@contextmanager
def a_suite(engine: Engine, case: str, directory: Path) -> Iterator[Suite]:
    """Run a server configured as the older system's functional suite wants it."""
    settings = {
        **settings_for(engine),
        "general.tag": "suite",
        "logs.level": "DEBUG",
        "web.case": case,
        "web.access_control": "jwt",
        "web.apim_public_key": PUBLIC_KEY,
        "web.user_role": "Internal/everyone",
        "web.accept_nonce": "true",
        "web.default_token": "false",
        "web.all_queues": "default, special",
        "spawner.host_queues": "default, special",
        "workers.autoscaling": "true",
        # what the older system allows without asking
        "workers.allow_privileged": "true",
    }
    with a_server(directory, settings) as server:
        yield Suite(server, case)
