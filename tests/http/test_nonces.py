"""Nonces of actors and of aliases, and what they open."""

import asyncio
import logging
import time

import pytest

from abaco.config import Settings
from abaco.logs import RedactingFormatter
from tests.http.conftest import opened
from tests.http.site import TENANT, make_token

OWN = {
    "id", "owner", "roles", "level", "max_uses", "current_uses", "remaining_uses", "actor_id",
    "api_server", "create_time", "last_use_time", "description", "_links",
}  # fmt: skip


@pytest.fixture
def actor_id(site):
    return site.register()


@pytest.fixture
def path(actor_id):
    return f"/actors/{actor_id}"


def make(site, path, **draft):
    """Make a nonce and return its id."""
    return site.post(f"{path}/nonces", json_body=site.fields(**draft)).result["id"]


def use(site, method, path, nonce, **options):
    """Ask with nothing but a nonce."""
    return site.request(method, f"{path}?x-nonce={nonce}", user=None, **options)


def uses(site, path, nonce):
    found = site.get(f"{path}/nonces/{nonce}").result
    return found[site.name("current_uses")], found[site.name("remaining_uses")]


class TestMaking:
    def test_none_at_first(self, site, path):
        assert site.get(f"{path}/nonces").result == []

    def test_without_a_body(self, site, path, actor_id):
        nonce = site.post(f"{path}/nonces").result
        assert set(nonce) == {site.name(name) for name in OWN}
        shown = {name: nonce[site.name(name)] for name in OWN - {"id", "create_time"}}
        api = "https://api.example.org"
        assert shown == {
            "owner": "testuser",
            "roles": ["Internal/abaco-admin", "Internal/everyone"],
            "level": "EXECUTE",
            "max_uses": -1,
            "current_uses": 0,
            "remaining_uses": -1,
            "actor_id": actor_id,
            "api_server": api,
            "last_use_time": "None",
            "description": "",
            "_links": {
                "self": f"{api}/actors/v2/{actor_id}/nonces/{nonce['id']}",
                "owner": f"{api}/profiles/v2/testuser",
                "actor": f"{api}/actors/v2/{actor_id}",
            },
        }
        tenant, _, rest = nonce["id"].rpartition("_")
        assert tenant == TENANT
        assert len(rest) >= 32
        assert nonce[site.name("create_time")].endswith("Z")

    @pytest.mark.parametrize("kind", ["json_body", "form"])
    def test_with_everything(self, site, path, kind):
        sent = site.fields(max_uses="3", level="READ", description="for the poster")
        nonce = site.post(f"{path}/nonces", **{kind: sent}).result
        assert (nonce["level"], nonce["description"]) == ("READ", "for the poster")
        assert (nonce[site.name("max_uses")], nonce[site.name("remaining_uses")]) == (3, 3)

    def test_list_and_one(self, site, path):
        made = [site.post(f"{path}/nonces").result for _ in range(2)]
        assert site.get(f"{path}/nonces").result == made
        for nonce in made:
            assert site.get(f"{path}/nonces/{nonce['id']}").result == nonce

    def test_wrong_methods(self, site, path):
        nonce = make(site, path)
        assert site.put(f"{path}/nonces", json_body={}).status == 405
        assert site.post(f"{path}/nonces/{nonce}").status == 405

    def test_delete(self, site, path):
        nonce, other = make(site, path), make(site, path)
        assert site.delete(f"{path}/nonces/{nonce}").result is None
        assert [item["id"] for item in site.get(f"{path}/nonces").result] == [other]
        assert use(site, "GET", path, nonce).status == 400

    def test_unknown(self, site, path):
        foreign = make(site, f"/actors/{site.register()}")
        for name in ("nope", foreign, f"{TENANT}_{'0' * 48}", "x" * 5000):
            for method in ("GET", "DELETE"):
                reply = site.request(method, f"{path}/nonces/{name}")
                assert (reply.status, reply.error) == (404, "there is no such nonce")

    def test_through_an_alias_it_is_the_actors(self, site, path, actor_id):
        form = site.fields(alias="hello", actor_id=actor_id)
        assert site.post("/actors/aliases", form=form).status == 200
        nonce = site.post("/actors/hello/nonces").result
        assert nonce[site.name("actor_id")] == actor_id
        assert site.get(f"{path}/nonces").result == [nonce]

    def test_reading_is_not_enough_to_see_them(self, site, path):
        make(site, path, level="UPDATE")
        grant = {"user": "jane", "level": "EXECUTE"}
        assert site.post(f"{path}/permissions", json_body=grant).status == 200
        for reply in (
            site.get(f"{path}/nonces", user="jane"),
            site.post(f"{path}/nonces", user="jane"),
        ):
            assert (reply.status, reply.error) == (400, "you do not have access to this actor")


class TestUsing:
    def test_without_limit(self, site, path):
        nonce = make(site, path)
        for below in ("", "/executions", "/messages"):
            assert use(site, "GET", path + below, nonce).status == 200
        assert uses(site, path, nonce) == (3, -1)
        reply = use(site, "POST", f"{path}/messages", nonce, form={"message": "m"})
        assert reply.result[site.name("execution_id")]
        assert uses(site, path, nonce) == (4, -1)
        shown = site.get(f"{path}/nonces/{nonce}").result
        assert shown[site.name("last_use_time")].endswith("Z")

    def test_with_a_limit(self, site, path):
        nonce = make(site, path, max_uses=3, level="READ")
        assert use(site, "GET", path, nonce).status == 200
        assert uses(site, path, nonce) == (1, 2)
        # the level is too low, and nothing is used up
        refused = use(site, "POST", f"{path}/messages", nonce, form={"message": "m"})
        assert (refused.status, "level" in refused.error) == (400, True)
        assert uses(site, path, nonce) == (1, 2)
        for _ in range(2):
            assert use(site, "GET", path, nonce).status == 200
        assert "no uses left" in use(site, "GET", path, nonce).error
        assert uses(site, path, nonce) == (3, 0)

    def test_for_a_time(self, site, path):
        reply = site.post(
            f"{path}/nonces", json_body={site.name("expires_in"): 5, "level": "READ"}
        ).result
        assert site.name("expires_at") in reply
        assert use(site, "GET", path, reply["id"]).status == 200
        time.sleep(5.05)
        assert "expired" in use(site, "GET", path, reply["id"]).error

    @pytest.mark.parametrize("value", [0, -1, 10**12, "soon", 1.5])
    def test_for_no_time(self, site, path, value):
        wanted = {site.name("expires_in"): value}
        assert site.name("expires_in") in site.post(f"{path}/nonces", json_body=wanted).error

    @pytest.mark.parametrize("limit", [{"max_uses": 5}, {"expires_in": 60}])
    def test_one_with_a_limit_makes_no_others(self, site, path, limit):
        nonce = make(site, path, level="UPDATE", **limit)
        assert "limit" in use(site, "POST", f"{path}/nonces", nonce).error

    @pytest.mark.parametrize("limit", [{"max_uses": 5}, {"expires_in": 60}])
    def test_one_with_a_limit_lets_nobody_in(self, site, path, limit):
        nonce = make(site, path, level="UPDATE", **limit)
        grant = {"user": "ABACO_WORLD", "level": "READ"}
        assert "limit" in use(site, "POST", f"{path}/permissions", nonce, json_body=grant).error
        assert site.get(f"{path}/permissions").result == {"testuser": "UPDATE"}
        endless = make(site, path, level="UPDATE")
        assert use(site, "POST", f"{path}/permissions", endless, json_body=grant).status == 200

    def test_every_request_counts_once_even_when_it_fails(self, site, path):
        nonce = make(site, path, max_uses=5)
        for method, below in [("HEAD", ""), ("GET", "/executions/nope"), ("POST", "/messages")]:
            use(site, method, path + below, nonce)
        assert uses(site, path, nonce) == (3, 2)
        assert site.request("OPTIONS", f"{path}?x-nonce={nonce}", user=None).status == 200
        assert use(site, "PATCH", path, nonce).status == 405
        assert uses(site, path, nonce) == (3, 2)

    def test_who_it_is(self, site, path, actor_id):
        nonce = make(site, path)
        use(site, "POST", f"{path}/messages", nonce, form={"message": "m"})
        message = site.run(site.player.claim(site.key(actor_id))).message
        assert (message.username, message.jwt_header) == ("testuser", None)
        # the key does not follow the message into store and container
        assert "x-nonce" not in message.environment
        environment = dict(message.environment)
        assert environment == {}

    def test_a_valid_token_wins_and_the_nonce_is_left_alone(self, site, path):
        nonce = make(site, path, max_uses=1)
        reply = site.get(f"{path}?x-nonce={nonce}", user="jane")
        assert reply.error == "you do not have access to this actor"
        assert uses(site, path, nonce) == (0, 1)

    @pytest.mark.parametrize("token", ["bad", "a.b.c", ""])
    def test_with_a_bad_token_the_nonce_is_tried(self, site, path, token):
        headers = {f"X-Jwt-Assertion-{TENANT}": token}
        nonce = make(site, path)
        reply = use(site, "GET", path, nonce, headers=headers)
        assert reply.status == 200
        expired = {f"X-Jwt-Assertion-{TENANT}": make_token("jane", exp=1)}
        assert use(site, "GET", path, nonce, headers=expired).status == 200
        assert uses(site, path, nonce) == (2, -1)

    def test_the_tenant_is_that_of_the_nonce(self, site):
        there = site.register(tenant="DEV_STAGING")  # spelled DEV-STAGING from now on
        path = f"/actors/{there}"
        nonce = site.post(f"{path}/nonces", tenant="DEV-STAGING").result["id"]
        assert nonce.startswith("DEV-STAGING_")
        headers = {"Tenant": TENANT}
        assert use(site, "GET", path, nonce, headers=headers).result["id"] == there

    def test_a_tenant_with_an_underscore(self, site):
        headers = {"Assertion": make_token("testuser")}
        made = site.post("/actors", user=None, headers=headers, json_body={"image": "b"})
        path = f"/actors/{made.result['id']}"
        nonce = site.post(f"{path}/nonces", user=None, headers=headers).result["id"]
        assert nonce.startswith("DEV_STAGING_")
        assert use(site, "GET", path, nonce).status == 200

    @pytest.mark.parametrize(
        "nonce", ["nope", "DEV-DEVELOP_nope", "_", "x" * 3000, "%00", "%C3%A9"]
    )
    def test_unknown(self, site, path, nonce):
        reply = use(site, "GET", path, nonce)
        assert (reply.status, reply.error) == (400, "the nonce is not valid here")

    def test_an_empty_one_is_none(self, site, path):
        assert "no JWT or nonce" in use(site, "GET", path, "").error
        nonce = make(site, path)
        reply = site.get(f"{path}?x-nonce=&x-nonce={nonce}&x-nonce=other", user=None)
        assert reply.status == 200

    def test_another_actor(self, site, path):
        nonce = make(site, path, level="UPDATE")
        reply = use(site, "GET", f"/actors/{site.register()}", nonce)
        assert (reply.status, reply.error) == (400, "the nonce is not valid here")
        unknown = site.services.ids.new_id()
        assert use(site, "GET", f"/actors/{unknown}", nonce).status == 400

    @pytest.mark.parametrize("below", ["", "/aliases"])
    def test_nothing_that_names_no_actor(self, site, path, below):
        nonce = make(site, path, level="UPDATE")
        for method in ("GET", "POST"):
            reply = use(site, method, f"/actors{below}", nonce, form={"image": "b"})
            assert (reply.status, "names none" in reply.error) == (400, True)
        assert uses(site, path, nonce) == (0, -1)
        assert len(site.get("/actors").result) == 1

    def test_the_roles_of_then(self, site):
        path = f"/actors/{site.register(user='testshareuser')}"
        nonce = site.post(
            f"{path}/nonces", json_body={"level": "UPDATE"}, user="testshareuser"
        ).result["id"]
        body = site.fields(image="b", max_workers=3)
        assert use(site, "PUT", path, nonce, json_body=body).result[site.name("max_workers")] == 3
        plain = f"/actors/{site.register(user='jane')}"
        nonce = site.post(f"{plain}/nonces", json_body={"level": "UPDATE"}, user="jane")
        reply = use(site, "PUT", plain, nonce.result["id"], json_body=body)
        assert (reply.status, site.name("max_workers") in reply.error) == (400, True)

    def test_rights_that_its_owner_lost_are_lost(self, site, path):
        grant = {"user": "jane", "level": "UPDATE"}
        site.post(f"{path}/permissions", json_body=grant)
        nonce = site.post(f"{path}/nonces", user="jane").result["id"]
        assert use(site, "GET", path, nonce).status == 200
        site.post(f"{path}/permissions", json_body={"user": "jane", "level": "NONE"})
        assert use(site, "GET", path, nonce).error == "you do not have access to this actor"

    def test_an_actors_nonces_go_with_it(self, site, path, actor_id):
        nonce = make(site, path)

        async def both():
            return await asyncio.gather(
                site.fetch("DELETE", path), site.player.retire(site.key(actor_id))
            )

        assert site.run(both())[0].status == 200
        assert use(site, "GET", path, nonce).error == "the nonce is not valid here"

    def test_one_that_updates_makes_others(self, site, path):
        nonce = make(site, path, level="UPDATE")
        made = use(site, "POST", f"{path}/nonces", nonce, json_body={"level": "UPDATE"}).result
        assert made["owner"] == "testuser"
        assert len(use(site, "GET", f"{path}/nonces", nonce).result) == 2
        for level in ("READ", "EXECUTE"):
            weak = make(site, path, level=level)
            for method in ("GET", "POST"):
                reply = use(site, method, f"{path}/nonces", weak)
                assert (reply.status, "level" in reply.error) == (400, True)


class TestOfAliases:
    @pytest.fixture(params=["hello", "my.own.name"])
    def name(self, request, site, actor_id):
        form = site.fields(alias=request.param, actor_id=actor_id)
        assert site.post("/actors/aliases", form=form).status == 200
        return request.param

    def test_without_a_body(self, site, name, actor_id):
        nonce = site.post(f"/actors/aliases/{name}/nonces").result
        assert (nonce["level"], nonce["alias"]) == ("EXECUTE", name)
        assert (nonce[site.name("max_uses")], nonce[site.name("remaining_uses")]) == (-1, -1)
        assert site.name("actor_id") not in nonce
        api = "https://api.example.org/actors/v2"
        assert nonce["_links"]["self"] == f"{api}/aliases/{name}/nonces/{nonce['id']}"
        assert nonce["_links"]["actor"] == f"{api}/{actor_id}"
        assert site.get(f"/actors/aliases/{name}/nonces").result == [nonce]
        assert site.get(f"/actors/aliases/{name}/nonces/{nonce['id']}").result == nonce

    def test_what_they_open(self, site, name, actor_id):
        nonce = make(site, f"/actors/aliases/{name}")
        assert use(site, "GET", f"/actors/{name}", nonce).result["id"] == actor_id
        assert use(site, "GET", f"/actors/aliases/{name}", nonce).result["alias"] == name
        path = f"/actors/{name}/messages"
        assert use(site, "POST", path, nonce, form={"message": "m"}).status == 200
        assert uses(site, f"/actors/aliases/{name}", nonce) == (3, -1)

    def test_what_they_do_not_open(self, site, name, actor_id):
        nonce = make(site, f"/actors/aliases/{name}")
        of_actor = make(site, f"/actors/{actor_id}")
        for refused, path in ((nonce, f"/actors/{actor_id}"), (of_actor, f"/actors/{name}")):
            reply = use(site, "GET", path, refused)
            assert (reply.status, reply.error) == (400, "the nonce is not valid here")
        assert use(site, "GET", f"/actors/aliases/{name}", of_actor).status == 400
        assert use(site, "DELETE", f"/actors/aliases/{name}", nonce).status == 400
        assert use(site, "GET", f"/actors/aliases/{name}/nonces", nonce).status == 400
        assert uses(site, f"/actors/aliases/{name}", nonce) == (0, -1)

    def test_never_to_update(self, site, name):
        reply = site.post(f"/actors/aliases/{name}/nonces", json_body={"level": "UPDATE"})
        assert (reply.status, "level" in reply.error) == (400, True)

    def test_they_follow_the_alias(self, site, name):
        nonce = make(site, f"/actors/aliases/{name}")
        other = site.register()
        site.put(f"/actors/aliases/{name}", json_body=site.fields(actor_id=other))
        assert use(site, "GET", f"/actors/{name}", nonce).result["id"] == other

    def test_they_go_with_the_alias(self, site, name, actor_id):
        nonce = make(site, f"/actors/aliases/{name}")
        assert site.delete(f"/actors/aliases/{name}").result is None
        form = site.fields(alias=name, actor_id=actor_id)
        assert site.post("/actors/aliases", form=form).status == 200
        assert use(site, "GET", f"/actors/{name}", nonce).status == 400
        assert site.get(f"/actors/aliases/{name}/nonces").result == []

    def test_delete(self, site, name):
        path = f"/actors/aliases/{name}"
        nonce = make(site, path)
        assert site.delete(f"{path}/nonces/{nonce}").result is None
        assert site.delete(f"{path}/nonces/{nonce}").status == 404
        assert site.put(f"{path}/nonces", json_body={}).status == 405
        assert site.post(f"{path}/nonces/{nonce}").status == 405


@pytest.mark.parametrize("max_uses", [10, 64])
def test_uses_are_counted_one_by_one_however_many_come_at_once(snake, max_uses):
    path = f"/actors/{snake.register()}"
    nonce = make(snake, path, max_uses=max_uses)
    snake.client.configure(None, max_clients=64)

    async def rush():
        asking = [snake.fetch("GET", f"{path}?x-nonce={nonce}", user=None) for _ in range(64)]
        return await asyncio.gather(*asking)

    replies = snake.run(rush())
    assert sorted(reply.status for reply in replies) == [200] * max_uses + [400] * (64 - max_uses)
    assert uses(snake, path, nonce) == (max_uses, 0)


class TestSettings:
    def test_not_accepted_by_default(self):
        assert Settings().web.accept_nonce is False

    def test_refused_by_name(self, make_site):
        site = make_site(accept_nonce=False)
        path = f"/actors/{site.register()}"
        nonce = make(site, path)
        for where in (path, "/actors"):
            reply = use(site, "GET", where, nonce)
            assert (reply.status, "x-nonce" in reply.error) == (400, True)
            assert "accept_nonce" in reply.error
        assert uses(site, path, nonce) == (0, -1)
        # beside a token it does not matter
        assert site.get(f"{path}?x-nonce={nonce}").status == 200

    def test_modern_status(self, make_site):
        site = make_site(modern_status=True)
        path = f"/actors/{site.register()}"
        nonce = make(site, path, level="READ")
        assert use(site, "GET", path, "DEV-DEVELOP_nope").status == 401
        assert use(site, "DELETE", path, nonce).status == 403
        assert use(site, "GET", "/actors", nonce).status == 403

    def test_roles_are_looked_at_anew(self, make_site):
        site = make_site()
        path = f"/actors/{site.register(user='jane')}"
        nonce = site.post(f"{path}/nonces", user="jane").result["id"]
        strict = site.settings.model_copy(
            update={"web": site.settings.web.model_copy(update={"user_role": "Internal/x"})}
        )

        async def serve():
            from dataclasses import replace

            site.serve(replace(site.services, settings=strict))

        site.run(serve())
        assert use(site, "GET", path, nonce).error == "missing required role"

    def test_without_access_control(self):
        web = {"accept_nonce": True, "tenant_name": "HOME"}
        with opened(Settings(general={"tag": "test-tag"}, web=web)) as free:
            path = f"/actors/{free.register(tenant='HOME')}"
            nonce = make(free, path, level="READ", max_uses=1)
            # without it everything is allowed, with it no more than it is worth
            assert use(free, "DELETE", path, nonce).status == 400
            assert use(free, "GET", path, nonce).result["owner"] == "anonymous"
            assert "no uses left" in use(free, "GET", path, nonce).error
            assert free.get(path).status == 200


def test_no_nonce_is_ever_logged_or_shown_to_others(snake, caplog):
    caplog.set_level(logging.DEBUG)
    actor_id = snake.register()
    path = f"/actors/{actor_id}"
    snake.post("/actors/aliases", form={"alias": "hello", "actor_id": actor_id})
    bodies = []
    values = []
    for root, opens in ((path, path), ("/actors/aliases/hello", "/actors/hello")):
        nonce = make(snake, root, max_uses=2)
        values.append(nonce)
        assert snake.get(f"{root}/nonces/{nonce}").status == 200
        for _ in range(3):
            bodies.append(use(snake, "GET", opens, nonce).body)
        bodies.append(use(snake, "POST", f"{opens}/messages", nonce, form={"message": "m"}).body)
        bodies.append(use(snake, "GET", "/actors", nonce).body)
        bodies.append(use(snake, "GET", "/nope", nonce).body)
        bodies.append(use(snake, "PATCH", opens, nonce).body)
        bodies.append(snake.get(f"{opens}/state/{nonce}").body)
        assert snake.delete(f"{root}/nonces/{nonce}").status == 200
        bodies.append(snake.delete(f"{root}/nonces/{nonce}").body)
        bodies.append(use(snake, "GET", opens, nonce).body)
    bodies.append(snake.get("/metrics", user=None).body)
    formatter = RedactingFormatter("%(message)s")
    log = "\n".join(formatter.format(record) for record in caplog.records)
    raw = "\n".join(record.getMessage() for record in caplog.records)
    assert "DELETE" in log
    for nonce in values:
        secret = nonce.rpartition("_")[2]
        assert secret not in log
        assert secret not in raw
        assert not [body for body in bodies if secret.encode() in body]
