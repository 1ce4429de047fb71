"""/actors/aliases, names in the place of ids, and permissions."""

import asyncio
from urllib.parse import quote

import pytest

from abaco.domain.alias import FORBIDDEN_CHARACTERS, RESERVED

API = "https://api.example.org"


@pytest.fixture
def actor_id(site):
    return site.register()


def make(site, name, actor_id, **options):
    return site.post("/actors/aliases", form=site.fields(alias=name, actor_id=actor_id), **options)


def share(site, path, name, level, **options):
    reply = site.post(f"{path}/permissions", json_body={"user": name, "level": level}, **options)
    return reply.result


class TestMaking:
    @pytest.mark.parametrize(
        "name", ["hello", "my.dotted.name", "x-admin", "bücher", "100%", "{a}"]
    )
    def test_the_whole_object(self, site, actor_id, name):
        alias = make(site, name, actor_id).result
        assert alias == {
            "alias": name,
            site.name("actor_id"): actor_id,
            "owner": "testuser",
            "_links": {
                "self": f"{API}/actors/v2/aliases/{quote(name)}",
                "owner": f"{API}/profiles/v2/testuser",
                "actor": f"{API}/actors/v2/{actor_id}",
            },
        }
        assert site.get(f"/actors/aliases/{quote(name)}").result == alias
        assert site.get("/actors/aliases").result == [alias]
        assert site.get(f"/actors/{quote(name)}").result["id"] == actor_id

    def test_several_for_one_actor(self, site, actor_id):
        for name in ("one", "two"):
            assert make(site, name, actor_id).status == 200
        listed = site.get("/actors/aliases").result
        assert [item["alias"] for item in listed] == ["one", "two"]
        assert {item[site.name("actor_id")] for item in listed} == {actor_id}

    def test_by_json_in_either_spelling(self, site, actor_id):
        for name, spelling in (("one", "actor_id"), ("two", "actorId")):
            body = {"alias": name, spelling: actor_id}
            assert site.post("/actors/aliases", json_body=body).result["alias"] == name

    def test_the_same_again(self, site, actor_id):
        assert make(site, "hello", actor_id).status == 200
        for user in ("testuser", "jane"):
            other = site.register(user=user)
            reply = make(site, "hello", other, user=user)
            assert (reply.status, "already exists" in reply.error) == (400, True)
        assert site.get("/actors/hello").result["id"] == actor_id

    def test_each_tenant_has_its_own(self, site, actor_id):
        staging = {"tenant": "DEV-STAGING"}
        make(site, "hello", actor_id)
        assert site.get("/actors/hello", **staging).status == 404
        assert site.get("/actors/aliases", **staging).result == []
        there = site.register(**staging)
        assert make(site, "hello", actor_id, **staging).status == 404
        assert make(site, "hello", there, **staging).status == 200
        assert site.get("/actors/hello", **staging).result["id"] == there
        assert site.get("/actors/hello").result["id"] == actor_id

    @pytest.mark.parametrize("name", sorted(RESERVED))
    def test_reserved_words(self, site, actor_id, name):
        reply = make(site, name, actor_id)
        assert (reply.status, "alias" in reply.error) == (400, True)

    @pytest.mark.parametrize("char", sorted(FORBIDDEN_CHARACTERS))
    def test_forbidden_characters(self, snake, char):
        reply = make(snake, f"a{char}b", snake.register())
        assert (reply.status, "alias" in reply.error) == (400, True)

    def test_what_looks_like_an_id(self, site, actor_id):
        for name in (actor_id, site.services.ids.new_id()):
            assert "alias" in make(site, name, actor_id).error

    def test_what_is_missing(self, site, actor_id):
        assert "alias" in site.post("/actors/aliases", form=site.fields(actor_id=actor_id)).error
        reply = site.post("/actors/aliases", form={"alias": "hello"})
        assert (reply.status, site.name("actor_id") in reply.error) == (400, True)
        assert site.get("/actors/aliases").result == []

    @pytest.mark.parametrize("unknown", ["nope", "hello", "", "x" * 5000])
    def test_an_unknown_actor(self, site, unknown):
        for user in ("testuser", "jane"):
            assert make(site, "hello", unknown, user=user).status == 404

    def test_one_winner_of_many_at_once(self, snake):
        form = {"alias": "hello", "actor_id": snake.register()}

        async def rush():
            asking = [snake.fetch("POST", "/actors/aliases", form=form) for _ in range(16)]
            return await asyncio.gather(*asking)

        assert sorted(reply.status for reply in snake.run(rush())) == [200] + [400] * 15


class TestUsing:
    def test_wherever_an_id_stands(self, site, actor_id):
        make(site, "hello", actor_id)
        actor = site.get("/actors/hello").result
        assert actor == site.get(f"/actors/{actor_id}").result
        for below in ("messages", "executions"):
            links = site.get(f"/actors/hello/{below}").result["_links"]
            assert links["self"] == f"{API}/actors/v2/{actor_id}/{below}"
        posted = site.post("/actors/hello/messages", form={"message": "m"}).result
        execution_id = posted[site.name("execution_id")]
        assert posted["_links"]["self"].endswith(f"/{actor_id}/executions/{execution_id}")
        assert site.get(f"/actors/hello/executions/{execution_id}").status == 200
        assert site.get(f"/actors/hello/executions/{execution_id}/logs").status == 200
        assert site.get("/actors/hello/workers").status == 200
        assert site.get("/actors/hello/permissions").result == {"testuser": "UPDATE"}
        body = site.fields(image="other", stateless=False)
        assert site.put("/actors/hello", json_body=body).result["id"] == actor_id
        assert site.post("/actors/hello/state", json_body=5).result["state"] == 5

    def test_it_goes_with_its_actor(self, site, actor_id):
        make(site, "hello", actor_id)

        async def both():
            return await asyncio.gather(
                site.fetch("DELETE", "/actors/hello"), site.player.retire(site.key(actor_id))
            )

        assert site.run(both())[0].status == 200
        assert site.get("/actors/hello").status == 404
        assert site.get("/actors/aliases/hello").status == 404
        assert site.get("/actors/aliases").result == []
        assert make(site, "hello", site.register()).status == 200

    def test_literals_win(self, site, actor_id):
        make(site, "hello", actor_id)
        assert site.get("/actors/aliases").result[0]["alias"] == "hello"
        for path in ("/actors/utilization", "/actors/admin"):
            assert site.get(path).status == 200
            assert site.delete(path).status == 405
        for path in ("/actors/aliases/hello/state", "/actors/admin/state"):
            assert site.get(path).status == 404
            assert site.get(path, user=None).status == 404
        assert site.put("/actors/aliases", json_body={}).status == 405
        assert site.post("/actors/aliases/hello", json_body={}).status == 405
        assert site.put("/actors/v2/aliases/hello/permissions", json_body={}).status == 405

    @pytest.mark.parametrize("name", ["nope", "nonces", "permissions", "%00", "a%2Fb", "x" * 5000])
    def test_unknown(self, site, name):
        for method in ("GET", "PUT", "DELETE"):
            assert site.request(method, f"/actors/aliases/{name}", json_body={}).status == 404
        for below in ("nonces", "permissions"):
            assert site.get(f"/actors/aliases/{name}/{below}").status == 404
            assert site.post(f"/actors/aliases/{name}/{below}").status == 404


class TestRepointing:
    def test_there_and_back(self, site, actor_id):
        make(site, "hello", actor_id)
        other = site.register()
        for target in (other, actor_id):
            form = site.fields(actor_id=target)
            alias = site.put("/actors/aliases/hello", form=form).result
            assert (alias[site.name("actor_id")], alias["owner"]) == (target, "testuser")
            assert site.get("/actors/hello").result["id"] == target

    def test_no_other_name(self, site, actor_id):
        make(site, "hello", actor_id)
        for name in ("other", "hello"):
            body = site.fields(alias=name, actor_id=actor_id)
            reply = site.put("/actors/aliases/hello", json_body=body)
            assert (reply.status, "alias" in reply.error) == (400, True)

    def test_what_is_missing(self, site, actor_id):
        make(site, "hello", actor_id)
        reply = site.put("/actors/aliases/hello", json_body={})
        assert (reply.status, site.name("actor_id") in reply.error) == (400, True)

    @pytest.mark.parametrize("user", ["testuser", "jane"])
    def test_an_unknown_actor(self, site, user):
        make(site, "hello", site.register(user="jane"), user="jane")
        body = site.fields(actor_id=site.services.ids.new_id())
        assert site.put("/actors/aliases/hello", json_body=body, user=user).status == 404

    def test_the_updater_gets_a_level(self, site, actor_id):
        make(site, "hello", site.register(user="jane"), user="jane")
        body = site.fields(actor_id=actor_id)
        assert site.put("/actors/aliases/hello", json_body=body).result["owner"] == "jane"
        levels = site.get("/actors/aliases/hello/permissions").result
        assert levels == {"jane": "UPDATE", "testuser": "UPDATE"}


class TestRights:
    """As the older functional suite has it; nobody here is an administrator."""

    path = "/actors/aliases/hello"

    @pytest.fixture(autouse=True)
    def _alias(self, site):
        self.actor_id = site.register(user="testotheruser")
        assert make(site, "hello", self.actor_id, user="testotheruser").status == 200

    def get(self, site, path):
        return site.get(path, user="testshareuser")

    def test_a_stranger(self, site):
        for path in (self.path, f"{self.path}/permissions"):
            assert self.get(site, path).error == "you do not have access to this alias"
        reply = self.get(site, f"{self.path}/nonces")
        assert reply.error == "you do not have access to this alias and actor"
        assert self.get(site, "/actors/hello").error == "you do not have access to this actor"
        assert self.get(site, "/actors/aliases").result == []

    def test_a_level_on_the_alias_is_none_on_the_actor(self, site):
        levels = share(site, self.path, "testshareuser", "UPDATE", user="testotheruser")
        assert levels == {"testotheruser": "UPDATE", "testshareuser": "UPDATE"}
        assert self.get(site, self.path).result["alias"] == "hello"
        assert len(self.get(site, "/actors/aliases").result) == 1
        assert self.get(site, "/actors/hello").error == "you do not have access to this actor"
        body = site.fields(actor_id=self.actor_id)
        words = "ou do not have UPDATE access to the actor you want to associate with this alias"
        reply = site.put(self.path, json_body=body, user="testshareuser")
        assert (reply.status, words in reply.error) == (400, True)
        reply = self.get(site, f"{self.path}/nonces")
        assert reply.error == "you do not have access to this alias and actor"
        assert site.delete(self.path, user="testshareuser").result is None
        assert site.get("/actors/aliases", user="testotheruser").result == []

    def test_a_level_on_the_actor_is_none_on_the_alias(self, site):
        share(site, f"/actors/{self.actor_id}", "testshareuser", "UPDATE", user="testotheruser")
        assert self.get(site, "/actors/hello").result["id"] == self.actor_id
        assert self.get(site, self.path).error == "you do not have access to this alias"
        assert make(site, "mine", self.actor_id, user="testshareuser").status == 200

    def test_administrators_see_all_of_the_tenant(self, site):
        assert [alias["alias"] for alias in site.get("/actors/aliases").result] == ["hello"]
        assert site.get("/actors/aliases", tenant="DEV-STAGING").result == []

    def test_owners_delete(self, site):
        assert site.delete(self.path, user="testotheruser").result is None
        assert site.get("/actors/hello").status == 404
        assert site.delete(self.path).status == 404


class TestPermissions:
    @pytest.fixture
    def path(self, site, actor_id):
        return f"/actors/{actor_id}"

    def test_who_registers_may_update(self, site, path):
        assert site.get(f"{path}/permissions").result == {"testuser": "UPDATE"}

    def test_adding_and_changing(self, site, path):
        assert len(share(site, path, "testshareuser", "UPDATE")) == 2
        assert share(site, path, "tester", "UPDATE")["tester"] == "UPDATE"
        levels = share(site, path, "tester", "READ")
        assert levels == {"testuser": "UPDATE", "testshareuser": "UPDATE", "tester": "READ"}
        assert site.get(f"{path}/permissions").result == levels
        assert site.put(f"{path}/permissions", json_body={}).status == 405
        assert site.delete(f"{path}/permissions").status == 405

    def test_by_form(self, site, path):
        form = {"user": "jane", "level": "EXECUTE"}
        reply = site.post(f"{path}/permissions", form=form)
        assert reply.result == {"testuser": "UPDATE", "jane": "EXECUTE"}

    @pytest.mark.parametrize(
        "user",
        ["first.last", "$where", "a.b.$c", "user_name", "userName", "x@y.z", "é ü", "tenant"],
    )
    def test_any_name(self, site, path, user):
        assert share(site, path, user, "READ") == {"testuser": "UPDATE", user: "READ"}
        assert site.get(f"{path}/permissions").result[user] == "READ"

    def test_a_name_with_a_dot_counts(self, site, path):
        share(site, path, "first.last", "READ")
        assert site.get(path, user="first.last").status == 200
        assert len(site.get("/actors", user="first.last").result) == 1

    def test_what_each_level_allows(self, site, path):
        body = site.fields(image="other", stateless=True)
        allowed = []
        for level in ("NONE", "READ", "EXECUTE", "UPDATE"):
            share(site, path, "jane", level)
            replies = [
                site.get(path, user="jane"),
                site.post(f"{path}/messages", form={"message": "m"}, user="jane"),
                site.put(path, json_body=body, user="jane"),
            ]
            allowed.append(sum(reply.status == 200 for reply in replies))
            assert {r.error for r in replies if r.status != 200} <= {
                "you do not have access to this actor"
            }
        assert allowed == [0, 1, 2, 3]

    def test_none_takes_away_and_stays_in_the_map(self, site, path):
        share(site, path, "jane", "UPDATE")
        assert share(site, path, "jane", "NONE") == {"testuser": "UPDATE", "jane": "NONE"}
        assert site.get(path, user="jane").status == 400
        assert site.get("/actors", user="jane").result == []

    @pytest.mark.parametrize("level", ["NONE", "READ", "EXECUTE"])
    def test_everybody_has_what_everybody_is_given_and_no_more(self, site, path, level):
        share(site, path, "ABACO_WORLD", level)
        assert (site.get(path, user="jane").status == 200) is (level != "NONE")
        assert len(site.get("/actors", user="jane").result) == (level != "NONE")
        reply = site.post(f"{path}/messages", form={"message": "m"}, user="jane")
        assert (reply.status == 200) is (level == "EXECUTE")
        for reply in (
            site.put(path, json_body={"image": "evil"}, user="jane"),
            site.delete(path, user="jane"),
            site.post(f"{path}/permissions", json_body={}, user="jane"),
        ):
            assert (reply.status, reply.error) == (400, "you do not have access to this actor")

    def test_an_own_entry_does_not_hide_everybodys(self, site, path):
        share(site, path, "jane", "READ")
        share(site, path, "ABACO_WORLD", "EXECUTE")
        reply = site.post(f"{path}/messages", form={"message": "m"}, user="jane")
        assert reply.status == 200

    def test_everybody_is_everybody_of_the_tenant(self, site, path):
        share(site, path, "ABACO_WORLD", "UPDATE")
        assert site.get(path, user="jane", tenant="DEV-STAGING").status == 404

    def test_nobody_is_called_everybody(self, site):
        assert "names no user" in site.get("/actors", user="ABACO_WORLD").error

    @pytest.mark.parametrize("level", ["NONE", "READ", "EXECUTE"])
    def test_somebody_must_be_left_who_may_change_it(self, site, path, level):
        share(site, path, "ABACO_WORLD", "UPDATE")
        body = {"user": "testuser", "level": level}
        assert site.post(f"{path}/permissions", json_body=body).status == 400
        share(site, path, "jane", "UPDATE")
        assert share(site, path, "testuser", level)["testuser"] == level

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"level": "READ"}, "user"),
            ({"user": "jane"}, "level"),
            ({}, "user"),
            ({"user": "jane", "level": "WRITE"}, "level"),
            ({"user": "jane", "level": "read"}, "level"),
            ({"user": "jane", "level": 1}, "level"),
            ({"user": "", "level": "READ"}, "user"),
            ({"user": "a\nb", "level": "READ"}, "user"),
            ({"user": "x" * 300, "level": "READ"}, "user"),
        ],
    )
    def test_what_is_missing_or_wrong(self, site, path, body, field):
        reply = site.post(f"{path}/permissions", json_body=body)
        assert (reply.status, field in reply.error) == (400, True)
        assert site.get(f"{path}/permissions").result == {"testuser": "UPDATE"}

    def test_an_unknown_object(self, site):
        for name in ("nope", site.services.ids.new_id(), "aliases/nope"):
            assert site.get(f"/actors/{name}/permissions").status == 404
            body = {"user": "jane", "level": "READ"}
            reply = site.post(f"/actors/{name}/permissions", json_body=body)
            assert reply.status == 404

    def test_the_list_has_what_is_shared_oldest_first(self, site):
        mine = site.register(user="jane")
        theirs = site.register(user="testotheruser")
        last = site.register(user="jane")
        hidden = site.register(user="testotheruser")
        share(site, f"/actors/{theirs}", "jane", "READ", user="testotheruser")
        listed = [actor["id"] for actor in site.get("/actors", user="jane").result]
        assert listed == [mine, theirs, last]
        # the admin role adds nothing to it
        assert site.get("/actors").result == []
        assert site.get(f"/actors/{hidden}").status == 200

    def test_another_user_with_update(self, site, actor_id, path):
        share(site, path, "testshareuser", "UPDATE")
        before = site.get(path).result
        body = site.fields(image="other", stateless=True)
        after = site.put(path, json_body=body, user="testshareuser").result
        assert after["owner"] == "testuser"
        assert after["image"] == "other"
        changed = site.name("last_update_time")
        assert after[changed] != before[changed]

    def test_who_updates_by_everybodys_level_gets_an_own(self, site, path):
        share(site, path, "ABACO_WORLD", "UPDATE")
        assert site.put(path, json_body={"image": "other"}, user="jane").status == 200
        assert site.get(f"{path}/permissions").result["jane"] == "UPDATE"


@pytest.mark.parametrize(
    "roles", ["Internal/abaco-limited", "Internal/abaco-privileged", "Internal/everyone"]
)
def test_roles_of_the_older_suite(site, roles):
    user = {
        "Internal/abaco-limited": "testotheruser",
        "Internal/abaco-privileged": "testshareuser",
    }.get(roles, "jane")
    as_user = {"user": user, "tenant": "AGAVE-PROD"}
    actor_id = site.register(**as_user)
    assert [actor["id"] for actor in site.get("/actors", **as_user).result] == [actor_id]
    assert site.get(f"/actors/{actor_id}", **as_user).status == 200
    body = {"image": "b", "privileged": True}
    is_allowed = roles == "Internal/abaco-privileged"
    reply = site.put(f"/actors/{actor_id}", json_body=body, **as_user)
    assert (reply.status == 200) is is_allowed

    async def both():
        return await asyncio.gather(
            site.fetch("DELETE", f"/actors/{actor_id}", **as_user),
            site.player.retire(site.key(actor_id, "AGAVE-PROD")),
        )

    assert site.run(both())[0].status == 200


def test_a_message_may_have_fields_that_only_some_may_set_on_actors(site):
    actor_id = site.register(user="jane")
    body = {"queue": "x", "max_workers": 3, "privileged": True}
    reply = site.post(f"/actors/{actor_id}/messages", json_body=body, user="jane")
    assert reply.status == 200


def test_an_alias_that_is_deleted_is_no_link_any_more(site):
    target, source = site.register(), site.register()
    site.post("/actors/aliases", json_body=site.fields(alias="shop", actor_id=target))
    body = site.fields(image="abacosamples/test", link="shop")
    assert site.put(f"/actors/{source}", json_body=body).result["link"] == "shop"
    assert site.delete("/actors/aliases/shop").status == 200
    assert site.get(f"/actors/{source}").result["link"] == ""
    site.post("/actors/aliases", json_body=site.fields(alias="shop", actor_id=site.register()))
    assert site.get(f"/actors/{source}").result["link"] == ""
