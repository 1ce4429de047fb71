"""Who may do what: every route and verb for every kind of caller.

``TABLE`` says what each request needs, by hand, from the interface's rules; the server has its
own declaration. ``EXPECTED`` follows from the table, and each of its cells is tried on fresh
objects.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from abaco.domain.caller import EVERYONE_ROLE, Caller
from abaco.domain.ids import Tenant
from abaco.domain.permission import Level
from abaco.operations import actors, aliases, configs, messages, nonces
from abaco.operations.configs import ConfigDraft
from abaco.operations.definition import ActorDraft
from abaco.operations.messages import Post
from abaco.operations.nonces import NonceDraft
from handlers.routes import INTERNAL, OPERATING, ROUTES, Route
from tests.http.conftest import opened
from tests.http.site import API_SERVER, TENANT, Site, jwt_settings

NONE, READ, EXECUTE, UPDATE = Level

#: words of a refusal; "" is none
FINE = ""
NO_PROOF = "no JWT or nonce"
NOT_FOUND = "there is no"
NOT_ADMIN = "administrators"
NO_ACTOR = "you do not have access to this actor"
NO_ALIAS = "you do not have access to this alias"
NO_CONFIG = "you do not have access to this config"
NO_BOTH = "you do not have access to this alias and actor"
NO_TARGET = "ou do not have UPDATE access to the actor you want to associate with this alias"
NONCE_UNKNOWN = "the nonce is not valid here"
NONCE_NOWHERE = "names none"
NONCE_LEVEL = "the level of this nonce"


@dataclass(frozen=True)
class Need:
    """What a request needs: of a user, and of a nonce in a user's place."""

    refusal: str
    level: Level
    nonce: Level
    json: Any = None


def member(json: Any = None, refusal: str = FINE, level: Level = NONE) -> Need:
    return Need(refusal, level, UPDATE, json)


def admin(json: Any = None) -> Need:
    return Need(NOT_ADMIN, UPDATE, UPDATE, json)


def actor(level: Level, nonce: Level, json: Any = None) -> Need:
    return Need(NO_ACTOR, level, nonce, json)


def alias(level: Level, nonce: Level, json: Any = None) -> Need:
    return Need(NO_ALIAS, level, nonce, json)


def config(level: Level, nonce: Level, json: Any = None) -> Need:
    return Need(NO_CONFIG, level, nonce, json)


def both(json: Any = None) -> Need:
    return Need(NO_BOTH, UPDATE, UPDATE, json)


CONFIG = {"name": "{fresh}", "value": "v", "is_secret": True, "actors": "{id}"}
GRANT = {"user": "newcomer", "level": "READ"}

#: {actor} is an id or an alias; the others are what their names say
TABLE: dict[tuple[str, str], Need] = {
    ("GET", "/actors"): member(),
    ("POST", "/actors"): member({"image": "busybox"}),
    ("GET", "/actors/search/executions"): member(),
    ("GET", "/actors/utilization"): member(),
    ("GET", "/actors/admin"): admin(),
    ("GET", "/actors/admin/workers"): admin(),
    ("GET", "/actors/admin/executions"): admin(),
    ("GET", "/actors/admin/audit"): admin(),
    ("GET", "/admin/dashboard"): admin(),
    ("POST", "/admin/dashboard"): admin(),
    ("GET", "/actors/{actor}"): actor(READ, READ),
    ("PUT", "/actors/{actor}"): actor(UPDATE, UPDATE, {"image": "busybox"}),
    ("DELETE", "/actors/{actor}"): actor(UPDATE, UPDATE),
    ("GET", "/actors/{actor}/state"): actor(READ, READ),
    ("POST", "/actors/{actor}/state"): actor(UPDATE, UPDATE, {"n": 1}),
    ("GET", "/actors/{actor}/messages"): actor(READ, READ),
    ("POST", "/actors/{actor}/messages"): actor(EXECUTE, EXECUTE, {"message": "m"}),
    ("DELETE", "/actors/{actor}/messages"): actor(UPDATE, UPDATE),
    ("POST", "/actors/{actor}/messages/batch"): actor(EXECUTE, EXECUTE, {"messages": ["m"]}),
    ("GET", "/actors/{actor}/executions"): actor(READ, READ),
    ("GET", "/actors/{actor}/executions/{execution}"): actor(READ, READ),
    ("DELETE", "/actors/{actor}/executions/{execution}"): actor(UPDATE, UPDATE),
    ("GET", "/actors/{actor}/executions/{execution}/logs"): actor(READ, READ),
    ("GET", "/actors/{actor}/executions/{execution}/results"): actor(READ, READ),
    ("GET", "/actors/{actor}/nonces"): actor(UPDATE, UPDATE),
    ("POST", "/actors/{actor}/nonces"): actor(UPDATE, UPDATE, {}),
    ("GET", "/actors/{actor}/nonces/{nonce}"): actor(UPDATE, UPDATE),
    ("DELETE", "/actors/{actor}/nonces/{nonce}"): actor(UPDATE, UPDATE),
    ("GET", "/actors/{actor}/permissions"): actor(READ, READ),
    ("POST", "/actors/{actor}/permissions"): actor(UPDATE, UPDATE, GRANT),
    ("GET", "/actors/{actor}/workers"): actor(READ, READ),
    ("POST", "/actors/{actor}/workers"): actor(UPDATE, UPDATE, {"num": 1}),
    ("GET", "/actors/{actor}/workers/{worker}"): actor(READ, READ),
    ("DELETE", "/actors/{actor}/workers/{worker}"): actor(UPDATE, UPDATE),
    ("GET", "/actors/aliases"): member(),
    ("POST", "/actors/aliases"): member(
        {"alias": "{fresh}", "actor_id": "{id}"}, NO_TARGET, UPDATE
    ),
    ("GET", "/actors/aliases/{alias}"): alias(READ, READ),
    ("PUT", "/actors/aliases/{alias}"): alias(UPDATE, UPDATE, {"actor_id": "{id}"}),
    ("DELETE", "/actors/aliases/{alias}"): alias(UPDATE, UPDATE),
    ("GET", "/actors/aliases/{alias}/nonces"): both(),
    ("POST", "/actors/aliases/{alias}/nonces"): both({}),
    ("GET", "/actors/aliases/{alias}/nonces/{alias_nonce}"): both(),
    ("DELETE", "/actors/aliases/{alias}/nonces/{alias_nonce}"): both(),
    ("GET", "/actors/aliases/{alias}/permissions"): alias(READ, READ),
    ("POST", "/actors/aliases/{alias}/permissions"): alias(UPDATE, UPDATE, GRANT),
    ("GET", "/actors/admin/encryption-key"): admin(),
    ("POST", "/actors/admin/encryption-key"): admin(),
    ("GET", "/actors/configs"): member(),
    ("POST", "/actors/configs"): member(CONFIG),
    ("GET", "/actors/configs/{config}"): config(READ, READ),
    ("PUT", "/actors/configs/{config}"): config(UPDATE, UPDATE, CONFIG),
    ("DELETE", "/actors/configs/{config}"): config(UPDATE, UPDATE),
    ("GET", "/actors/configs/{config}/permissions"): config(READ, READ),
    ("POST", "/actors/configs/{config}/permissions"): config(UPDATE, UPDATE, GRANT),
}

#: users with a token -> their level on actor, alias and config
USERS = {
    "testuser": UPDATE,  # the admin role, and no entry
    "testshareuser": NONE,  # the privileged role, and no entry
    "owner": UPDATE,
    "updater": UPDATE,
    "executor": EXECUTE,
    "reader": READ,
    "revoked": NONE,
    "stranger": NONE,
}
ADMIN = "testuser"
ENTRIES = ("updater", "executor", "reader", "revoked")

#: nonces of the owner, by what they belong to and their level
NONCES = {
    **{f"actor nonce {level.name}": ("actor", level) for level in Level},
    **{f"alias nonce {level.name}": ("alias", level) for level in (NONE, READ, EXECUTE)},
}

CALLERS = [*USERS, "other tenant", "nobody", *NONCES]


def expected(path: str, need: Need, who: str, way: str) -> str:
    """Work out the words of the refusal; ``way`` is how the actor is addressed."""
    names_something = "{" in path
    if who == "nobody":
        return NO_PROOF
    if who == "other tenant":
        lists_something = need.refusal == NO_TARGET or need.json == CONFIG
        return NOT_FOUND if names_something or lists_something else FINE
    if who in USERS:
        if need.refusal == NOT_ADMIN:
            return FINE if who == ADMIN else NOT_ADMIN
        return FINE if USERS[who] >= need.level else need.refusal
    target, level = NONCES[who]
    if not names_something:
        return NONCE_NOWHERE
    addressed = "alias" if way == "alias" or "{alias}" in path else "actor"
    if addressed != target or "{config}" in path:
        return NONCE_UNKNOWN
    if level < need.nonce:
        return NONCE_LEVEL
    # It acts as the owner, who may do everything but what is for administrators.
    return NOT_ADMIN if need.refusal == NOT_ADMIN else FINE


@dataclass
class World:
    """An actor with everything below it, an alias, and nonces of every level."""

    site: Site
    names: dict[str, str] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)

    async def build(self, *, is_running: bool) -> None:
        services = self.site.services
        owner = Caller(
            tenant=Tenant(TENANT),
            user="owner",
            roles=frozenset({EVERYONE_ROLE}),
            api_server=API_SERVER,
        )
        made = await actors.register(services, owner, ActorDraft(image="busybox", stateless=False))
        name = f"alias-{made.id}"
        shared = await aliases.create(services, owner, name, made.id)
        listed = ConfigDraft(name=f"config-{made.id}", value="v", is_secret=True, actors=made.id)
        config = await configs.create(services, owner, listed)
        for user in ENTRIES:
            for key in (made.key.shared, shared.shared, config.shared):
                await services.stores.permissions.grant(key, user, USERS[user])
        (worker,) = await services.stores.workers.list_workers(made.key)
        self.names = {"id": made.id, "alias": name, "fresh": f"fresh-{made.id}"}
        self.names |= {"worker": worker.id, "config": config.name}
        for who, (target, level) in NONCES.items():
            key = made.key.shared if target == "actor" else shared.shared
            nonce = await nonces.create(services, owner, key, NonceDraft(level=level.name))
            self.nonces[who] = nonce.id
        self.names["nonce"] = self.nonces["actor nonce READ"]
        self.names["alias_nonce"] = self.nonces["alias nonce READ"]
        if is_running:
            hello = Post(body="hello", content_type="str", environment={})
            posted = await messages.post(services, owner, made, hello)
            self.names["execution"] = posted.execution.id
            await self.site.player.start(made.key)

    async def ask(self, method: str, path: str, body: Any, who: str, way: str) -> Any:
        named = {**self.names, "actor": self.names["alias" if way == "alias" else "id"]}
        options: dict[str, Any] = {"user": None}
        url = path.format(**named)
        if who in NONCES:
            url += f"?x-nonce={self.nonces[who]}"
        elif who == "other tenant":
            options = {"user": ADMIN, "tenant": "OTHER"}
        elif who != "nobody":
            options = {"user": who}
        if body is not None:
            filled = {
                key: value.format(**named) if isinstance(value, str) else value
                for key, value in body.items()
            }
            options["json_body"] = filled
        return await self.site.fetch(method, url, **options)


@pytest.fixture(scope="module")
def shared_site():
    with opened(jwt_settings("snake")) as site:
        yield site


def check(method: str, reply: Any, words: str) -> None:
    if method == "HEAD":
        status = 200 if words == FINE else 404 if words == NOT_FOUND else 400
        assert (reply.status, reply.body) == (status, b"")
    elif words == FINE:
        assert reply.status == 200, reply.body
    else:
        assert words in reply.error
        assert reply.status == (404 if words == NOT_FOUND else 400)


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize(("method", "path"), TABLE)
def test_cell(shared_site, method, path, who):
    need = TABLE[method, path]
    ways = ("id", "alias") if "{actor}" in path else ("id",)
    verbs = ("GET", "HEAD") if method == "GET" else (method,)

    async def try_it(verb: str, way: str) -> None:
        world = World(shared_site)
        await world.build(is_running="{execution}" in path)
        key = shared_site.key(world.names["id"])
        retiring = asyncio.ensure_future(shared_site.player.retire(key))
        reply = await world.ask(verb, path, need.json, who, way)
        retiring.cancel()
        await asyncio.gather(retiring, return_exceptions=True)
        check(verb, reply, expected(path, need, who, way))

    for verb in verbs:
        for way in ways:
            shared_site.run(try_it(verb, way))


def verbs_of(route: Route) -> set[str]:
    """Which verbs the handler of a route answers."""
    methods = ("get", "post", "put", "delete", "patch")
    return {name.upper() for name in methods if name in vars(route.handler)}


def test_every_route_and_verb_is_in_the_table():
    found = []
    for route in ROUTES:
        paths = {path for _, path in TABLE if re.fullmatch(route.path, re.sub(r"{\w+}", "x", path))}
        assert len(paths) == 1, route.path
        found += [(verb, path) for verb in verbs_of(route) for path in paths]
    assert sorted(found) == sorted(TABLE)


@pytest.mark.parametrize("route", [*ROUTES, *OPERATING, *INTERNAL], ids=lambda route: route.path)
def test_every_route_declares_exactly_the_verbs_it_answers(route):
    assert set(route.rights) == verbs_of(route)
    assert [right.is_open for right in route.rights.values()] == [route not in ROUTES] * len(
        route.rights
    )


@pytest.mark.usefixtures("expected_errors")
def test_a_verb_that_nobody_declared_is_never_run(snake, monkeypatch):
    first, *rest = ROUTES
    bare = first._replace(rights={"GET": first.rights["GET"]})
    monkeypatch.setattr("handlers.routes.ROUTES", (bare, *rest))

    async def serve() -> None:
        snake.serve(snake.services)

    snake.run(serve())
    assert snake.get("/actors").result == []
    assert snake.post("/actors", json_body={"image": "busybox"}).status == 500
    assert snake.get("/actors").result == []


def test_the_table_has_every_level_and_every_kind_of_refusal():
    cells = {
        expected(path, need, who, way)
        for (_, path), need in TABLE.items()
        for who in CALLERS
        for way in ("id", "alias")
    }
    assert cells == {
        FINE, NO_PROOF, NOT_FOUND, NOT_ADMIN, NO_ACTOR, NO_ALIAS, NO_BOTH, NO_TARGET, NO_CONFIG,
        NONCE_UNKNOWN, NONCE_NOWHERE, NONCE_LEVEL,
    }  # fmt: skip
