"""/actors: register, list, show, update, delete."""

import asyncio

import pytest

OWN = {
    "id", "name", "image", "description", "owner", "status", "status_message", "stateless", "type",
    "token", "link", "webhook", "hints", "privileged", "max_workers", "mem_limit", "max_cpus",
    "use_container_uid", "default_environment", "state", "mounts", "revision", "tasdir", "uid",
    "gid", "queue", "log_ex", "cron_on", "cron_schedule", "cron_next_ex", "create_time",
    "last_update_time", "_links",
}  # fmt: skip


class TestList:
    def test_a_fresh_tenant_is_empty(self, site):
        assert site.get("//actors").result == []

    def test_own_actors_oldest_first(self, site):
        ids = [site.register(name=f"a{n}") for n in range(3)]
        site.register(user="jane")
        assert [actor["id"] for actor in site.get("/actors").result] == ids

    @pytest.mark.parametrize("body", [None, {"image": "abacosamples/test"}])
    def test_no_put(self, site, body):
        reply = site.put("//actors", json_body=body)
        assert reply.status == 405
        assert "PUT" in reply.error
        assert reply.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


class TestRegister:
    def test_by_form(self, site):
        form = site.fields(image="abacosamples/test", name="suite", stateless="False")
        actor = site.post("/actors", form=form).result
        assert actor["id"]
        assert actor["description"] == ""
        assert (actor["owner"], actor["image"]) == ("testuser", "abacosamples/test")
        assert (actor["name"], actor["stateless"]) == ("suite", False)
        assert actor["status"] == "SUBMITTED"
        assert "tenant" not in actor

    def test_the_whole_object(self, snake):
        actor = snake.post("/actors", json_body={"image": "abacosamples/test"}).result
        assert set(actor) == OWN
        shown = {name: actor[name] for name in OWN - {"id", "create_time", "last_update_time"}}
        api = "https://api.example.org"
        assert shown == {
            "name": None, "image": "abacosamples/test", "description": "", "owner": "testuser",
            "status": "SUBMITTED", "status_message": "", "stateless": True, "type": "none",
            "token": "false", "link": "", "webhook": "", "hints": [], "privileged": False,
            "max_workers": None, "mem_limit": None, "max_cpus": None, "use_container_uid": False,
            "default_environment": {}, "state": {}, "mounts": [], "revision": 1, "tasdir": None,
            "uid": None, "gid": None, "queue": "default", "log_ex": None, "cron_on": False,
            "cron_schedule": None, "cron_next_ex": None,
            "_links": {
                "self": f"{api}/actors/v2/{actor['id']}",
                "owner": f"{api}/profiles/v2/testuser",
                "executions": f"{api}/actors/v2/{actor['id']}/executions",
            },
        }  # fmt: skip

    def test_camel_leaves_nulls_out_and_nested_names_alone(self, make_site):
        site = make_site(case="camel")
        environment = {"my_key": "a", "otherKey": None}
        actor = site.post(
            "/actors", json_body={"image": "b", "defaultEnvironment": environment}
        ).result
        assert actor["defaultEnvironment"] == environment
        assert actor["useContainerUid"] is False
        assert not {"maxWorkers", "logEx", "name", "uid", "cronSchedule"} & set(actor)
        assert not [name for name in actor if "_" in name[1:]]

    @pytest.mark.parametrize("spelling", ["log_ex", "logEx"])
    def test_either_spelling_is_read(self, site, spelling):
        body = {"image": "b", spelling: "16000"}
        assert site.post("/actors", json_body=body).result[site.name("log_ex")] == 16000

    def test_the_configured_spelling_wins(self, site):
        body = {"image": "b", "log_ex": 1, "logEx": 2}
        expected = 1 if site.case == "snake" else 2
        assert site.post("/actors", json_body=body).result[site.name("log_ex")] == expected

    def test_hints_from_a_form_are_all_kept(self, site):
        form = {"image": "b", "hints": ["one", "two", "three"]}
        assert site.post("/actors", form=form).result["hints"] == ["one", "two", "three"]

    @pytest.mark.parametrize(("sent", "kept"), [("one", ["one"]), (["a", 1], ["a", "1"])])
    def test_hints_from_json(self, site, sent, kept):
        body = {"image": "b", "hints": sent}
        assert site.post("/actors", json_body=body).result["hints"] == kept

    def test_repeated_form_fields_count_once(self, site):
        form = {"image": ["first", "second"]}
        assert site.post("/actors", form=form).result["image"] == "first"

    def test_by_multipart_form(self, site):
        body = (
            b'--X\r\nContent-Disposition: form-data; name="image"\r\n\r\nbusybox\r\n'
            b'--X\r\nContent-Disposition: form-data; name="stateless"\r\n\r\nFALSE\r\n--X--\r\n'
        )
        headers = {"Content-Type": "Multipart/Form-Data; boundary=X"}
        actor = site.post("/actors", body=body, headers=headers).result
        assert (actor["image"], actor["stateless"]) == ("busybox", False)

    def test_parameters_may_come_in_the_query_but_the_body_wins(self, site):
        reply = site.post("/actors?image=from-query&description=d", json_body={"image": "body"})
        assert (reply.result["image"], reply.result["description"]) == ("body", "d")
        assert site.post("/actors?image=from-query").result["image"] == "from-query"

    def test_default_environment(self, site):
        actor_id = site.register(default_environment={"A": "1", "B": {"deep": [1]}})
        shown = site.get(f"/actors/{actor_id}").result[site.name("default_environment")]
        assert shown == {"A": "1", "B": {"deep": [1]}}

    def test_limited_users_may(self, site):
        actor_id = site.register(user="testotheruser")
        actor = site.get(f"/actors/{actor_id}", user="testotheruser").result
        assert actor["owner"] == "testotheruser"

    def test_log_ex_is_shown_as_asked(self, site):
        actor_id = site.register(log_ex="16000")
        body = site.fields(image="abacosamples/test", log_ex="20000")
        assert site.put(f"/actors/{actor_id}", json_body=body).result[site.name("log_ex")] == 20000

    def test_what_the_server_owns_is_not_taken_from_clients(self, site):
        sent = {
            "uid": "0", "gid": "0", "tasdir": "/", "status": "READY", "state": {"a": 1},
            "owner": "joe", "revision": 9, "id": "abc", "mounts": [{}], "tenant": "X",
            "force": True,
        }  # fmt: skip
        actor = site.post("/actors", json_body={"image": "b", **sent}).result
        assert (actor["owner"], actor["status"], actor["revision"]) == ("testuser", "SUBMITTED", 1)
        assert (actor["state"], actor["mounts"], actor.get("uid")) == ({}, [], None)

    def test_a_token_switch_that_was_sent_is_a_boolean(self, site):
        actor = site.post("/actors", json_body={"image": "b", "token": True}).result
        assert actor["token"] is True

    def test_privileged_users(self, site):
        attributes = {"max_workers": 3, "mem_limit": "3g", "max_cpus": 3_000_000_000}
        actor_id = site.register(user="testshareuser", privileged=True, **attributes)
        actor = site.get(f"/actors/{actor_id}", user="testshareuser").result
        assert actor["privileged"] is True
        assert {name: actor[site.name(name)] for name in attributes} == attributes


class TestShow:
    def test_by_its_owner(self, site):
        actor_id = site.register(name="demo", description="d")
        actor = site.get(f"/actors/{actor_id}").result
        assert (actor["id"], actor["name"], actor["description"]) == (actor_id, "demo", "d")

    def test_an_administrator_sees_others(self, site):
        actor_id = site.register(user="jane")
        assert site.get(f"/actors/{actor_id}").result["owner"] == "jane"

    def test_others_do_not(self, site):
        actor_id = site.register(user="jane")
        reply = site.get(f"/actors/{actor_id}", user="testotheruser")
        assert reply.status == 400
        assert reply.error == "you do not have access to this actor"

    def test_unknown(self, site):
        reply = site.get("/actors/bad_actor_id")
        assert (reply.status, reply.envelope["status"]) == (404, "error")
        assert site.get(f"/actors/{site.services.ids.new_id()}").status == 404

    def test_no_post(self, site):
        actor_id = site.register()
        assert site.post(f"/actors/{actor_id}", json_body={}).status == 405

    def test_it_becomes_ready(self, site):
        actor_id = site.register()
        site.run(site.player.raise_workers(site.key(actor_id)))
        actor = site.get(f"/actors/{actor_id}").result
        assert (actor["status"], actor[site.name("status_message")]) == ("READY", " ")

    def test_head(self, site):
        actor_id = site.register()
        get, head = (site.request(m, f"/actors/{actor_id}") for m in ("GET", "HEAD"))
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


class TestUpdate:
    def test_a_new_image(self, site):
        actor_id = site.register(name="demo", stateless=False)
        site.run(site.player.raise_workers(site.key(actor_id)))
        body = site.fields(image="abacosamples/other", stateless=False, name="ignored")
        actor = site.put(f"/actors/{actor_id}", json_body=body).result
        assert (actor["image"], actor["name"]) == ("abacosamples/other", "demo")
        assert (actor["revision"], actor["status"]) == (2, "SUBMITTED")

    def test_by_form(self, site):
        actor_id = site.register(description="gone after")
        actor = site.put(f"/actors/{actor_id}", form={"image": "abacosamples/test"}).result
        assert (actor["description"], actor["revision"]) == ("", 1)

    @pytest.mark.parametrize(("force", "revision"), [("False", 1), ("true", 2), (False, 1)])
    def test_force_is_a_boolean(self, site, force, revision):
        actor_id = site.register()
        body = {"image": "abacosamples/test", "force": force}
        assert site.put(f"/actors/{actor_id}", json_body=body).result["revision"] == revision

    def test_the_owner_stays_and_the_time_changes(self, site):
        actor_id = site.register(user="jane")
        before = site.get(f"/actors/{actor_id}").result
        after = site.put(f"/actors/{actor_id}", json_body={"image": "other"}).result
        assert after["owner"] == "jane"
        updated = site.name("last_update_time")
        assert after[updated] != before[updated] or before["revision"] < after["revision"]

    def test_an_image_is_needed(self, site):
        actor_id = site.register()
        assert "image" in site.put(f"/actors/{actor_id}", json_body={}).error

    def test_stateful_stays_stateful(self, site):
        actor_id = site.register(stateless=False)
        body = {"image": "abacosamples/test", "stateless": True}
        assert "stateless" in site.put(f"/actors/{actor_id}", json_body=body).error
        kept = site.put(f"/actors/{actor_id}", json_body={"image": "abacosamples/test"}).result
        assert kept["stateless"] is False

    def test_others_may_not(self, site):
        actor_id = site.register(user="jane")
        reply = site.put(f"/actors/{actor_id}", json_body={"image": "b"}, user="testotheruser")
        assert "you do not have access to this actor" in reply.error


class TestDelete:
    def delete(self, site, actor_id, **options):
        async def both():
            reply, _ = await asyncio.gather(
                site.fetch("DELETE", f"/actors/{actor_id}", **options),
                site.player.retire(site.key(actor_id, options.get("tenant", "DEV-DEVELOP"))),
            )
            return reply

        return site.run(both())

    def test_it_is_gone_with_all_below(self, site):
        actor_id = site.register()
        execution_id = site.send(actor_id)
        reply = self.delete(site, actor_id)
        assert reply.result is None
        assert "deleted" in reply.envelope["message"]
        for path in ("", "/state", "/messages", "/executions", f"/executions/{execution_id}"):
            assert site.get(f"/actors/{actor_id}{path}").status == 404
        assert site.get("/actors").result == []
        assert site.delete(f"/actors/{actor_id}").status == 404

    def test_others_may_not(self, site):
        actor_id = site.register(user="jane")
        assert site.delete(f"/actors/{actor_id}", user="testotheruser").status == 400
        assert site.get(f"/actors/{actor_id}").status == 200

    def test_every_user_cleans_up(self, site):
        for user, tenant in (("testuser", "DEV-DEVELOP"), ("jane", "DEV-DEVELOP"), ("x", "T2")):
            actor_id = site.register(user=user, tenant=tenant)
            assert self.delete(site, actor_id, user=user, tenant=tenant).result is None
            assert site.get("/actors", user=user, tenant=tenant).result == []


class TestOwnLimits:
    """What is no key of the older Abaco: shown only where it was asked for."""

    def test_they_are_not_there_by_default(self, site):
        actor = site.get(f"/actors/{site.register()}").result
        names = {site.name(name) for name in ("max_run_time", "read_only_rootfs", "network")}
        assert names.isdisjoint(actor)

    def test_they_are_shown_as_asked_and_go_with_the_next_update(self, site):
        body = site.fields(image="a", max_run_time="60", read_only_rootfs="true", network="none")
        actor = site.post("/actors", json_body=body).result
        found = [actor[site.name(name)] for name in ("max_run_time", "read_only_rootfs", "network")]
        assert found == [60, True, "none"]
        path = f"/actors/{actor['id']}"
        assert site.get(path).result == actor
        updated = site.put(path, json_body=site.fields(image="a", network="")).result
        names = {site.name(name) for name in ("max_run_time", "read_only_rootfs", "network")}
        assert names.isdisjoint(updated)

    def test_nobody_needs_a_role_to_ask_for_less(self, snake):
        body = {"image": "a", "max_run_time": 5, "read_only_rootfs": True, "network": "none"}
        actor = snake.post("/actors", json_body=body, user="jane").result
        assert actor["network"] == "none"

    def test_a_run_time_above_that_of_all_is_refused_by_name(self, snake):
        workers = snake.settings.workers.model_copy(update={"max_run_time": 60})
        settings = snake.settings.model_copy(update={"workers": workers})
        object.__setattr__(snake.services, "settings", settings)
        for wanted in (61, -1):
            refused = snake.post("/actors", json_body={"image": "a", "max_run_time": wanted})
            assert refused.status == 400
            assert "max_run_time" in refused.envelope["message"]
            assert "60 seconds" in refused.envelope["message"]
        assert snake.post("/actors", json_body={"image": "a", "max_run_time": 60}).status == 200
