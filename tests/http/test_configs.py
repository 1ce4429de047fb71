"""/actors/configs: values that actors are given, some of them secret."""

import asyncio
import json
import logging
from urllib.parse import quote

import pytest

from abaco.domain.actor_config import FORBIDDEN_CHARACTERS, RESERVED
from abaco.domain.context import MAX_VARIABLE_BYTES
from abaco.logs import RedactingFormatter
from backends.vault import ephemeral_vault


@pytest.fixture
def actor_id(site):
    return site.register()


def make(site, actors, name="limits", value="hunter2", *, is_secret=False, **options):
    body = site.fields(name=name, value=value, is_secret=is_secret, actors=actors)
    return site.post("/actors/configs", json_body=body, **options)


def put(site, name, actors, value="hunter2", *, is_secret=False, **options):
    body = site.fields(name=name, value=value, is_secret=is_secret, actors=actors)
    return site.put(f"/actors/configs/{name}", json_body=body, **options)


def share(site, path, whom, level, **options):
    body = {"user": whom, "level": level}
    return site.post(f"{path}/permissions", json_body=body, **options).result


def clear(site, shown):
    return site.services.vault.decrypt(shown["value"])


class TestMaking:
    @pytest.mark.parametrize("name", ["limits", "my.dotted.name", "bücher", "100%", '"q"'])
    def test_the_whole_object(self, site, actor_id, name):
        config = make(site, actor_id, name).result
        assert config == site.fields(name=name, value="hunter2", is_secret=False, actors=actor_id)
        assert site.get(f"/actors/configs/{quote(name)}").result == config
        assert site.get("/actors/configs").result == [config]

    def test_a_secret_is_shown_encrypted(self, site, actor_id):
        made = make(site, actor_id, is_secret=True).result
        assert made[site.name("is_secret")] is True
        assert clear(site, made) == "hunter2"
        for path in ("/actors/configs", "/actors/configs/limits"):
            body = site.get(path).body
            assert b"hunter2" not in body
            assert made["value"].encode() in body

    @pytest.mark.parametrize("flag", ["true", "True", "1"])
    def test_by_form(self, site, actor_id, flag):
        fields = site.fields(name="limits", value="hunter2", is_secret=flag, actors=actor_id)
        made = site.post("/actors/configs", form=fields).result
        assert made[site.name("is_secret")] is True
        assert clear(site, made) == "hunter2"

    def test_in_either_spelling(self, site, actor_id):
        for name, spelling in (("one", "is_secret"), ("two", "isSecret")):
            body = {"name": name, "value": "v", spelling: False, "actors": actor_id, "image": "x"}
            assert site.post("/actors/configs", json_body=body).result["name"] == name

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ({"a": True, "b": None, "c": ["ü", 1.5]}, "{'a': True, 'b': None, 'c': ['ü', 1.5]}"),
            ([1, "two"], "[1, 'two']"),
            (5, "5"),
            (True, "True"),
            ("{'a': 1}", "{'a': 1}"),
            ("", ""),
        ],
    )
    def test_what_is_no_text_becomes_pythons_text_of_it(self, site, actor_id, value, text):
        assert make(site, actor_id, value=value).result["value"] == text
        secret = make(site, actor_id, "secret", value, is_secret=True).result
        assert clear(site, secret) == text

    def test_the_list_of_actors_is_echoed(self, site, actor_id):
        other = site.register()
        site.post("/actors/aliases", form=site.fields(alias="hello", actor_id=other))
        for number, actors in enumerate((f"{actor_id},{other}", f" hello , {actor_id}")):
            assert make(site, actors, f"c{number}").result["actors"] == actors

    def test_the_same_again(self, site, actor_id):
        assert make(site, actor_id).status == 200
        assert "already exists" in make(site, actor_id, user="jane").error
        assert site.get("/actors/configs/limits").result["value"] == "hunter2"

    @pytest.mark.parametrize("entry", ["henry", "zz", "%", "x" * 300])
    def test_an_actor_that_is_not_there(self, site, actor_id, entry):
        reply = make(site, f"{actor_id}, {entry}")
        assert (reply.status, entry[:30] in reply.error) == (404, True)
        assert site.get("/actors/configs").result == []

    def test_an_actor_of_another_tenant_is_not_there(self, site):
        assert make(site, site.register(tenant="OTHER")).status == 404

    def test_for_an_actor_of_somebody_else(self, site, actor_id):
        assert make(site, actor_id, user="testotheruser").status == 200

    @pytest.mark.parametrize("name", ["name", "value", "is_secret", "actors"])
    def test_every_field_is_needed(self, site, actor_id, name):
        fields = site.fields(name="limits", value="v", is_secret=False, actors=actor_id)
        assert make(site, actor_id).status == 200
        for body in (
            {key: value for key, value in fields.items() if key != site.name(name)},
            {**fields, site.name(name): None},
        ):
            replies = [
                site.post("/actors/configs", json_body=body),
                site.put("/actors/configs/limits", json_body=body),
            ]
            for reply in replies:
                assert reply.status == 400
                assert site.name(name) in reply.error

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("name", ["a"]),
            ("name", ""),
            ("name", "a\0"),
            ("value", "nul \0"),
            ("value", "x" * (MAX_VARIABLE_BYTES + 1)),
            ("is_secret", "yes"),
            ("is_secret", ""),
            ("is_secret", 2),
            ("actors", ["a", "b"]),
            ("actors", ""),
            ("actors", "a,,b"),
            ("actors", ",".join("a" * 101)),
        ],
    )
    def test_a_field_that_is_wrong_is_named(self, site, actor_id, name, value):
        body = site.fields(name="limits", value="v", is_secret=False, actors=actor_id)
        body[site.name(name)] = value
        reply = site.post("/actors/configs", json_body=body)
        assert reply.status == 400
        assert site.name(name) in reply.error
        assert len(reply.error) < 500
        assert site.get("/actors/configs").result == []

    @pytest.mark.parametrize("name", sorted(RESERVED) + [f"a{c}" for c in FORBIDDEN_CHARACTERS])
    def test_names_that_are_none(self, snake, name):
        reply = make(snake, snake.register(), name)
        assert reply.status == 400
        assert reply.error.startswith("name: ")


class TestChanging:
    def test_what_put_answers(self, site, actor_id):
        other = site.register()
        make(site, actor_id)
        changed = put(site, "limits", f"{other} ,{actor_id}", "new", is_secret=True).result
        assert clear(site, changed) == "new"
        assert changed[site.name("is_secret")] is True
        assert changed["actors"] == f"{other} ,{actor_id}"
        assert site.get("/actors/configs/limits").result == changed

    def test_the_name_stays(self, site, actor_id):
        make(site, actor_id)
        body = site.fields(name="other", value="v", is_secret=False, actors=actor_id)
        assert site.put("/actors/configs/limits", json_body=body).result["name"] == "limits"
        assert site.get("/actors/configs/other").status == 404

    def test_a_secret_sent_back_as_it_was_shown_stays(self, site, actor_id):
        shown = make(site, actor_id, is_secret=True).result
        changed = put(site, "limits", actor_id, shown["value"], is_secret=True).result
        assert clear(site, changed) == "hunter2"
        assert "value" in put(site, "limits", actor_id, changed["value"]).error
        assert clear(site, site.get("/actors/configs/limits").result) == "hunter2"
        assert put(site, "limits", actor_id, "public").result["value"] == "public"

    def test_the_form_of_a_lost_secret_is_refused(self, site, actor_id):
        make(site, actor_id, is_secret=True)
        (sealed,) = site.run(site.services.stores.configs.list_sealed())
        foreign = ephemeral_vault().encrypt("x")
        assert site.run(site.services.stores.configs.reseal(sealed, foreign))
        assert "lost" in put(site, "limits", actor_id, foreign, is_secret=True).error
        changed = put(site, "limits", actor_id, "new", is_secret=True).result
        assert clear(site, changed) == "new"

    def test_an_unknown_actor_changes_nothing(self, site, actor_id):
        before = make(site, actor_id).result
        assert put(site, "limits", "henry", "new").status == 404
        assert site.get("/actors/configs/limits").result == before

    def test_delete(self, site, actor_id):
        make(site, actor_id)
        share(site, "/actors/configs/limits", "jane", "READ")
        assert site.delete("/actors/configs/limits").result is None
        for verb in (site.get, site.delete):
            assert verb("/actors/configs/limits").status == 404
        assert site.get("/actors/configs/limits/permissions").status == 404
        make(site, actor_id)
        assert site.get("/actors/configs/limits/permissions").result == {"testuser": "UPDATE"}

    def test_a_deleted_actor_or_alias_is_listed_no_more(self, site, actor_id):
        going = site.register()
        site.post("/actors/aliases", form=site.fields(alias="hello", actor_id=actor_id))
        make(site, f"{going}, hello,{actor_id}")
        site.delete("/actors/aliases/hello")
        assert site.get("/actors/configs/limits").result["actors"] == f"{going},{actor_id}"

        async def delete():
            retiring = asyncio.ensure_future(site.player.retire(site.key(going)))
            reply = await site.fetch("DELETE", f"/actors/{going}")
            await retiring
            return reply

        assert site.run(delete()).status == 200
        assert site.get("/actors/configs/limits").result["actors"] == actor_id

    @pytest.mark.parametrize("path", ["/actors/configs", "/actors/configs/limits"])
    def test_other_verbs(self, site, path):
        verb = site.put if path.endswith("configs") else site.post
        assert verb(path, json_body={}).status == 405


class TestRights:
    def test_of_the_maker(self, site, actor_id):
        make(site, actor_id, user="jane")
        levels = site.get("/actors/configs/limits/permissions", user="jane").result
        assert levels == {"jane": "UPDATE"}

    def test_the_list_has_what_one_may_read(self, site, actor_id):
        for name, user in (("b", "jane"), ("a", "jane"), ("c", "testotheruser")):
            make(site, actor_id, name, user=user)

        def listed(user):
            return [item["name"] for item in site.get("/actors/configs", user=user).result]

        assert listed("jane") == ["a", "b"]
        assert listed("testotheruser") == ["c"]
        assert listed("testuser") == ["a", "b", "c"]
        assert listed("testshareuser") == []
        share(site, "/actors/configs/a", "testotheruser", "READ")
        share(site, "/actors/configs/b", "ABACO_WORLD", "EXECUTE")
        assert listed("testotheruser") == ["a", "b", "c"]
        assert site.get("/actors/configs", tenant="OTHER").result == []

    def test_a_long_list_is_whole(self, snake):
        actor_id = snake.register()
        names = [f"c{n:03}" for n in range(250)]
        for name in names:
            make(snake, actor_id, name)
        assert [item["name"] for item in snake.get("/actors/configs").result] == names

    def test_sharing_and_taking_back(self, site, actor_id):
        make(site, actor_id, user="jane")
        path, no_access = "/actors/configs/limits", "you do not have access to this config"
        assert site.get(path, user="testotheruser").error == no_access
        levels = share(site, path, "testotheruser", "READ", user="jane")
        assert levels == {"jane": "UPDATE", "testotheruser": "READ"}
        assert site.get(path, user="testotheruser").status == 200
        assert put(site, "limits", actor_id, user="testotheruser").error == no_access
        assert site.delete(path, user="testotheruser").error == no_access
        share(site, path, "testotheruser", "UPDATE", user="jane")
        assert put(site, "limits", actor_id, "mine", user="testotheruser").status == 200
        share(site, path, "testotheruser", "NONE", user="jane")
        assert site.get(path, user="testotheruser").error == no_access
        assert (
            "UPDATE"
            in site.post(
                f"{path}/permissions", json_body={"user": "jane", "level": "READ"}, user="jane"
            ).error
        )

    def test_levels_on_the_actor_open_no_config(self, site, actor_id):
        make(site, actor_id, user="jane")
        share(site, f"/actors/{actor_id}", "testotheruser", "UPDATE")
        assert site.get("/actors/configs/limits", user="testotheruser").status == 400


class TestStrictly:
    @pytest.fixture
    def strict(self, make_site):
        return make_site(strict_config_actors=True)

    def test_only_actors_one_may_update(self, strict):
        foreign, own = strict.register(user="jane"), strict.register(user="testotheruser")
        user = "testotheruser"
        reply = make(strict, f"{own}, {foreign}", user=user)
        assert reply.status == 400
        assert reply.error == f"actors: {user} may not update the actor '{foreign}'"
        assert make(strict, own, user=user).status == 200
        share(strict, f"/actors/{foreign}", user, "EXECUTE", user="jane")
        assert put(strict, "limits", foreign, user=user).status == 400
        share(strict, f"/actors/{foreign}", user, "UPDATE", user="jane")
        assert put(strict, "limits", foreign, user=user).status == 200

    def test_by_alias_and_for_administrators_too(self, strict):
        foreign = strict.register(user="jane")
        strict.post("/actors/aliases", json_body={"alias": "hello", "actor_id": foreign})
        assert "'hello'" in make(strict, "hello").error
        assert make(strict, "nobody").status == 404

    def test_the_owner_counts_and_not_who_changes_it(self, strict):
        own = strict.register(user="jane")
        foreign = strict.register()
        make(strict, own, user="jane")
        assert "jane may not update" in put(strict, "limits", foreign).error


def test_no_secret_and_no_key_is_ever_logged_or_shown(make_site, caplog):
    caplog.set_level(logging.DEBUG)
    site = make_site(show_traceback=True)
    actor_id = site.register()
    keys = [site.services.vault._keys[0]]
    secret = "correct horse battery staple"
    bodies = []
    for path, verb in (("/actors/configs", site.post), ("/actors/configs/limits", site.put)):
        good = {"name": "limits", "value": secret, "is_secret": True, "actors": actor_id}
        wrong = [
            {**good, "name": "other", "actors": "henry"},
            {**good, "is_secret": secret},
            {**good, "value": f"{secret}\0"},
            {**good, "value": secret * 10_000},
            {**good, "value": {secret: [secret]}, "is_secret": "?"},
        ]
        for body in (good, *wrong):
            bodies += [verb(path, json_body=body).body, verb(path, form=body).body]
        for raw in (json.dumps(good)[:-5].encode(), json.dumps(good).encode() + b"\xff"):
            labelled = {"Content-Type": "application/json"}
            bodies.append(verb(path, body=raw, headers=labelled).body)
        bodies.append(verb(f"{path}?value={quote(secret)}", json_body={}).body)
    bodies += [
        site.get(path, user=user).body
        for path in ("/actors/configs", "/actors/configs/limits", "/metrics", "/health")
        for user in ("testuser", "jane", None)
    ]
    formatter = RedactingFormatter("%(message)s")
    log = "\n".join(formatter.format(record) for record in caplog.records)
    assert "POST /actors/configs" in log
    for text in (secret, quote(secret), quote(secret[:13]), secret[:13], *keys):
        assert text not in log
        assert [body for body in bodies if text.encode() in body] == []
