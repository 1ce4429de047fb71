"""The weaknesses of the older system, row by row (S: security, C: correctness).

Each test fails on the behaviour of then. The names carry the numbers of the rows; what a row needs
a real engine or a second process for is tried elsewhere as well.
"""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from abaco.logs import RedactingFormatter
from tests.http.site import TENANT, make_token
from tests.http.whole import WholeSite, whole_settings

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ROOMS = ("abaco", "agents", "backends", "handlers")
ROOT = Path(__file__).parents[2]

NO_ACTOR = "you do not have access to this actor"


@pytest.fixture
def make_whole(tmp_path: Path) -> Iterator[Any]:
    sites: list[WholeSite] = []

    def make(**web: Any) -> WholeSite:
        directory = tmp_path / str(len(sites))
        site = WholeSite(whole_settings("snake", "sqlite", directory, **web))
        site.open()
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def whole(make_whole) -> WholeSite:
    return make_whole()


def finished(site: WholeSite, actor_id: str, execution_id: str, **options: Any) -> dict[str, Any]:
    path = f"/actors/{actor_id}/executions/{execution_id}"
    return dict(site.until_status(path, "COMPLETE", "ERROR", **options))


def log_of(site: WholeSite, actor_id: str, execution_id: str) -> list[str]:
    finished(site, actor_id, execution_id)
    reply = site.get(f"/actors/{actor_id}/executions/{execution_id}/logs")
    return str(reply.result["logs"]).splitlines()


def configs_of(site: WholeSite, actor_id: str) -> dict[str, str]:
    """Run a message; return the configs its container saw."""
    lines = log_of(site, actor_id, site.send(actor_id))
    (line,) = (line for line in lines if line.startswith("_actor_configs="))
    return dict(ast.literal_eval(line.partition("=")[2]))


def add_config(site: WholeSite, name: str, actors: str, **options: Any) -> Any:
    wanted = {"name": name, "value": f"value of {name}", "is_secret": True, "actors": actors}
    return site.post("/actors/configs", json_body=wanted, **options)


class TestSecurity:
    @pytest.mark.parametrize("level", ["NONE", "READ", "EXECUTE"])
    def test_s1_everybody_gets_the_level_that_everybody_was_given(self, whole, level):
        path = f"/actors/{whole.register(user='jane')}"
        grant = {"user": "ABACO_WORLD", "level": level}
        whole.post(f"{path}/permissions", json_body=grant, user="jane")
        others = {"user": "testotheruser"}
        body = {"image": "abacosamples/other"}
        assert (whole.get(path, **others).status == 200) is (level != "NONE")
        reply = whole.post(f"{path}/messages", json_body={"message": "m"}, **others)
        assert (reply.status == 200) is (level == "EXECUTE")
        assert whole.put(path, json_body=body, **others).error == NO_ACTOR
        assert whole.delete(path, **others).error == NO_ACTOR

    def test_s2_a_secret_reaches_the_actors_it_names_and_no_others(self, whole):
        mine, other = whole.register(), whole.register()
        # the alias of the other is a part of what the config's list holds
        whole.post("/actors/aliases", json_body={"alias": "e", "actor_id": other})
        whole.post("/actors/aliases", json_body={"alias": "the-mine", "actor_id": mine})
        add_config(whole, "secret", "the-mine")
        assert configs_of(whole, mine) == {"secret": "value of secret"}
        assert configs_of(whole, other) == {}
        staging = {"tenant": "DEV-STAGING"}
        there = whole.register(**staging)
        whole.post("/actors/aliases", json_body={"alias": "the-mine", "actor_id": there}, **staging)
        execution_id = whole.send(there, **staging)
        finished(whole, there, execution_id, **staging)
        logs = whole.get(f"/actors/{there}/executions/{execution_id}/logs", **staging)
        assert "value of secret" not in logs.result["logs"]

    def test_s2_an_owner_of_a_config_reaches_only_actors_that_may_be_updated(self, whole):
        actor_id = whole.register()
        assert add_config(whole, "planted", actor_id, user="jane").status == 200
        assert configs_of(whole, actor_id) == {}

    def test_s3_configs_are_shown_to_those_who_may_read_them(self, whole):
        add_config(whole, "hidden", whole.register(user="jane"), user="jane")
        others = {"user": "testotheruser"}
        assert whole.get("/actors/configs", **others).result == []
        assert whole.get("/actors/configs/hidden", **others).status == 400
        (shown,) = whole.get("/actors/configs", user="jane").result
        assert "value of hidden" not in json.dumps(shown)

    def test_s3_a_link_needs_a_right_on_its_target(self, whole):
        target = whole.register(user="jane")
        body = {"image": "abaco_test", "link": target}
        assert whole.post("/actors", json_body=body, user="testotheruser").status == 400
        assert whole.post("/actors", json_body=body, user="jane").status == 200

    def test_s4_nonces_are_random_hidden_from_readers_and_may_end(self, whole):
        path = f"/actors/{whole.register()}/nonces"
        made = [whole.post(path, json_body={"level": "UPDATE"}).result["id"] for _ in range(20)]
        parts = [nonce.rpartition("_")[2] for nonce in made]
        assert {len(part) * 4 >= 128 for part in parts} == {True}
        common = {place for place in range(8) if len({part[place] for part in parts}) == 1}
        assert not common  # what a clock makes begins alike
        grant = {"user": "jane", "level": "READ"}
        whole.post(path.replace("nonces", "permissions"), json_body=grant)
        assert whole.get(path, user="jane").error == NO_ACTOR
        short = whole.post(path, json_body={"expires_in": 60}).result
        assert ISO.fullmatch(short["expires_at"])

    def test_s5_what_the_server_owns_is_not_taken_from_clients(self, whole):
        wanted = {"uid": "0", "gid": "0", "tasdir": "/etc", "status": "READY", "state": {"a": 1}}
        reply = whole.post(
            "/actors", json_body={"image": "abaco_test", **wanted, "owner": "x", "revision": 9}
        )
        actor = reply.result
        assert [actor[name] for name in ("uid", "gid", "tasdir")] == [None] * 3
        assert (actor["status"], actor["state"]) == ("SUBMITTED", {})
        assert (actor["owner"], actor["revision"]) == ("testuser", 1)

    def test_s5_an_actor_mounts_nothing_it_asks_for(self, whole):
        mounts = [{"host_path": "/etc", "container_path": "/x", "mode": "rw"}]
        reply = whole.post("/actors", json_body={"image": "abaco_test", "mounts": mounts})
        assert reply.result["mounts"] == []

    def test_s7_rights_are_looked_at_with_nonces_switched_off(self, make_whole):
        site = make_whole(accept_nonce=False)
        path = f"/actors/{site.register(user='jane')}"
        for method in ("GET", "PUT", "DELETE"):
            body = {"image": "b"} if method == "PUT" else None
            reply = site.request(method, path, user="testotheruser", json_body=body)
            assert reply.error == NO_ACTOR

    @pytest.mark.parametrize(
        "query",
        ["$where=1", "%24where.eq=1", "image.$gt=a", "status.%24ne=x", "permissions.%24exists=1"],
    )
    def test_s8_no_operator_of_a_database_gets_through(self, whole, query):
        whole.register()
        assert whole.get(f"/actors/search/actors?{query}").status == 400

    def test_s8_no_pattern_takes_for_ever(self, whole):
        whole.register(description="a" * 4000 + "!")
        began = time.monotonic()
        assert whole.get("/actors?description.like=(a%2B)%2B%24").status in (200, 400)
        assert whole.get("/actors?description.like=(").status == 400
        assert time.monotonic() - began < 30

    def test_s9_nothing_is_pickled(self):
        """What clients and programs in containers pickle is theirs; no server imports it."""
        names = ("actors", "calls", "executor", "remote_actor")
        theirs = {ROOT / "abaco" / f"{name}.py" for name in names}
        own = (rf"abaco\.{name}" for name in names)
        modules = "|".join(["pickle", "cloudpickle", "marshal", "shelve", *own])
        for room in ROOMS:
            for path in {*(ROOT / room).rglob("*.py")} - theirs:
                text = path.read_text(encoding="utf-8")
                assert not re.search(rf"^\s*(import|from) ({modules})\b", text, re.M), path

    def test_s9_no_secret_is_logged(self, whole, caplog):
        caplog.set_level(logging.DEBUG)
        actor_id = whole.register()
        add_config(whole, "logged", actor_id)
        nonce = whole.post(f"/actors/{actor_id}/nonces").result["id"]
        token = make_token("testuser")
        whole.get(f"/actors/{actor_id}?x-nonce={nonce}", user=None)
        whole.get("/actors", user=None, headers={f"X-Jwt-Assertion-{TENANT}": token})
        whole.get("/actors", user=None, headers={f"X-Jwt-Assertion-{TENANT}": token[:-2]})
        assert configs_of(whole, actor_id)
        formatter = RedactingFormatter("%(message)s")
        text = "\n".join(formatter.format(record) for record in caplog.records)
        for secret in ("value of logged", nonce.rpartition("_")[2], token.split(".")[2][:40]):
            assert secret not in text

    @pytest.mark.parametrize(
        "url",
        ["http://127.0.0.1:1/", "http://169.254.169.254/latest", "http://[::1]/", "file:///etc"],
    )
    def test_s10_no_webhook_reaches_inside(self, whole, url):
        reply = whole.post("/actors", json_body={"image": "abaco_test", "webhook": url})
        assert "webhook" in reply.error

    def test_s11_a_tenant_can_be_bound_to_the_token_or_to_the_gateway(self, make_whole):
        site = make_whole(jwt_tenant_claim="tenant")
        header = f"X-Jwt-Assertion-{TENANT}"
        for tenant, status in ((TENANT, 200), ("OTHER", 400)):
            headers = {header: make_token("jane", tenant=tenant)}
            assert site.get("/actors", user=None, headers=headers).status == status
        stranger = make_whole(trusted_gateways="192.0.2.1")
        assert stranger.get("/actors").status == 400

    def test_s11_no_symmetric_or_unsigned_token(self, whole):
        claims = jwt.decode(make_token("testuser"), options={"verify_signature": False})
        for key, algorithm in (("s" * 64, "HS256"), ("", "none")):
            headers = {f"X-Jwt-Assertion-{TENANT}": jwt.encode(claims, key, algorithm=algorithm)}
            assert whole.get("/actors", user=None, headers=headers).status == 400

    def test_s12_administrators_see_no_environments_and_no_state(self, whole):
        secret = "environment of a user"
        actor_id = whole.register(
            user="jane", stateless=False, default_environment={"PASSWORD": secret}
        )
        whole.post(f"/actors/{actor_id}/state", json_body=secret, user="jane")
        for path in ("/actors/admin", "/actors/admin/workers", "/actors/admin/executions"):
            reply = whole.get(path)
            assert reply.status == 200
            assert secret not in reply.body.decode()
            assert whole.get(path, user="jane").status == 400


class TestCorrectness:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/actors?limit=many", None),
            ("GET", "/actors?skip=-1", None),
            ("GET", "/actors?create_time.gt=soon", None),
            ("GET", "/actors?status.in=[", None),
            ("GET", "/actors?create_time.between=2020", None),
            ("GET", "/actors/search/nothing", None),
            ("PUT", "/actors/{actor}", {"image": "b", "queue": "nowhere"}),
            ("PUT", "/actors/{actor}", {"image": "b", "hints": ["{"]}),
            ("PUT", "/actors/{actor}", {"image": "b", "cron_schedule": "now + 1 moon"}),
            ("PUT", "/actors/{actor}", {"image": "b", "cron_schedule": "2099-01-01 1 + x hours"}),
            ("POST", "/actors", [1]),
            ("POST", "/actors", "text"),
        ],
    )
    def test_c1_faults_of_clients_are_told_as_such(self, whole, method, path, body):
        path = path.format(actor=whole.register())
        reply = whole.request(method, path, json_body=body)
        assert (reply.status, bool(reply.error)) == (400, True)

    def test_c1_more_of_them(self, whole):
        path = f"/actors/{whole.register(user='jane')}"
        assert whole.delete(f"{path}/nonces/DEV_unknown", user="jane").status == 404
        add_config(whole, "mine", whole.register(user="jane"), user="jane")
        assert whole.get("/actors/configs/mine", user="jane").result["name"] == "mine"
        malformed = {"body": b"{", "headers": {"Content-Type": "application/json"}}
        for user in ("jane", "testuser"):
            assert whole.post("/actors", user=user, **malformed).status == 400
        old = {f"X-Jwt-Assertion-{TENANT}": make_token("jane", exp=1)}
        assert whole.get("/actors", user=None, headers=old).status == 400

    def test_c2_an_update_leaves_alone_what_it_does_not_name(self, whole):
        schedule = "2078-09-6 20 + 3 months"
        actor_id = whole.register(stateless=False, cron_schedule=schedule)
        path = f"/actors/{actor_id}"
        whole.post(f"{path}/state", json_body={"kept": True})
        actor = whole.put(path, json_body={"image": "abacosamples/test"}).result
        assert (actor["state"], actor["stateless"]) == ({"kept": True}, False)
        assert (actor["cron_schedule"], actor["cron_on"]) == (schedule, True)

    def test_c3_times_have_one_form(self, whole):
        actor_id = whole.register()
        path = f"/actors/{actor_id}"
        execution = finished(whole, actor_id, whole.send(actor_id))
        (summary,) = whole.get(f"{path}/executions").result["executions"]
        nonce = whole.post(f"{path}/nonces").result
        (worker,) = whole.get(f"{path}/workers").result
        times = [
            *(whole.get(path).result[name] for name in ("create_time", "last_update_time")),
            *(one[name] for one in (execution, summary) for name in
              ("message_received_time", "start_time", "finish_time")),
            *(execution["final_state"][name] for name in ("StartedAt", "FinishedAt")),
            nonce["create_time"],
            worker["create_time"],
        ]  # fmt: skip
        assert [text for text in times if not ISO.fullmatch(text)] == []

    def test_c4_a_synchronous_message_ends_however_its_execution_does(self, make_whole):
        site = make_whole(runtime={"max_start_failures": 0})
        actor_id = site.register(image="abacosamples/nostart")
        path = f"/actors/{actor_id}/messages?_abaco_synchronous=true"
        reply = site.post(path, form={"message": "m"})
        (execution,) = site.get(f"/actors/{actor_id}/executions").result["executions"]
        assert execution["status"] == "ERROR"
        assert reply.status >= 500
        assert execution["id"] in reply.envelope["message"]

    def test_c5_purged_executions_end(self, whole):
        actor_id = whole.register(image="abacosamples/sleep_loop", stateless=False)
        path = f"/actors/{actor_id}"
        running = whole.send(actor_id)
        whole.until_status(f"{path}/executions/{running}", "RUNNING")
        waiting = whole.send(actor_id)
        whole.delete(f"{path}/messages")
        assert finished(whole, actor_id, waiting)["status"] == "ERROR"
        # and a halt leaves the worker, which takes the next message
        whole.delete(f"{path}/executions/{running}")
        assert finished(whole, actor_id, running)["status"] == "COMPLETE"
        whole.until_status(f"{path}/executions/{whole.send(actor_id)}", "RUNNING")

    def test_c5_linked_messages_start_workers(self, whole):
        listener = whole.register()
        speaker = whole.register(link=listener)
        finished(whole, speaker, whole.send(speaker))

        def both_done(result: dict[str, Any]) -> bool:
            states = [one["status"] for one in result["executions"]]
            return len(states) >= 2 and set(states) == {"COMPLETE"}

        whole.until(f"/actors/{listener}/executions", both_done)

    @pytest.mark.parametrize("tenant", ["A_B", "A__B_"])
    def test_c6_a_tenant_may_have_an_underscore(self, tmp_path, tenant):
        settings = whole_settings("snake", "sqlite", tmp_path)
        free = settings.web.model_copy(update={"access_control": "none", "tenant_name": tenant})
        site = WholeSite(settings.model_copy(update={"web": free}))
        site.open()
        try:
            actor_id = site.register(hints=["sync"])
            assert finished(site, actor_id, site.send(actor_id))["status"] == "COMPLETE"
        finally:
            site.close()

    def test_c7_simultaneous_messages_make_one_worker_of_a_stateful_actor(self, whole):
        actor_id = whole.register(stateless=False)
        path = f"/actors/{actor_id}"

        async def post_many() -> None:
            body = {"message": "m"}
            await asyncio.gather(
                *(whole.fetch("POST", f"{path}/messages", json_body=body) for _ in range(20))
            )

        whole.run(post_many())
        assert len(whole.get(f"{path}/workers").result) == 1
        ids = [one["id"] for one in whole.get(f"{path}/executions").result["executions"]]
        assert len(set(ids)) == 20

    def test_c8_no_worker_outlives_its_actor(self, whole):
        actor_id = whole.register(stateless=False)
        whole.until_status(f"/actors/{actor_id}", "READY")
        whole.delete(f"/actors/{actor_id}")
        workers = whole.get("/actors/admin/workers").result["workers"]
        assert [worker for worker in workers if worker["actor_id"] == actor_id] == []

    def test_c9_runtime_is_seconds_and_integers_are_integers(self, whole):
        actor_id = whole.register()
        execution = finished(whole, actor_id, whole.send(actor_id))
        assert [type(execution[name]) for name in ("cpu", "io", "runtime")] == [int] * 3
        assert 0 <= execution["runtime"] < 5

    def test_c10_the_limit_of_a_log_is_the_one_configured(self, make_whole):
        site = make_whole(max_log_length=100)
        actor_id = site.register()
        log = "\n".join(log_of(site, actor_id, site.send(actor_id, "x" * 500)))
        assert "LOG LIMIT EXCEEDED" in log
        assert len(log) < 200

    @pytest.mark.parametrize("name", ["queue", "privileged", "max_workers", "useContainerUid"])
    def test_c11_a_message_may_hold_any_key(self, whole, name):
        actor_id = whole.register(user="jane")
        body = {name: True, "other": 1}
        reply = whole.post(f"/actors/{actor_id}/messages", json_body=body, user="jane")
        assert reply.result["msg"] == body

    def test_c12_names_with_dots_and_paths_with_admin(self, whole):
        path = f"/actors/{whole.register()}"
        for user in ("jane.doe", "$jane", "a.b.c"):
            grant = {"user": user, "level": "READ"}
            assert whole.post(f"{path}/permissions", json_body=grant).result[user] == "READ"
            assert whole.get(path, user=user).status == 200
        own = whole.register(user="jane")
        alias = {"alias": "x-admin", "actor_id": own}
        assert whole.post("/actors/aliases", json_body=alias, user="jane").status == 200
        assert whole.get("/actors/x-admin", user="jane").result["id"] == own
        for taken in ("search", "utilization", "configs", "aliases", "workers", "permissions"):
            wanted = {"alias": taken, "actor_id": own}
            assert whole.post("/actors/aliases", json_body=wanted, user="jane").status == 400

    def test_c13_nothing_is_left_that_points_to_a_deleted_actor(self, whole):
        actor_id = whole.register()
        whole.post("/actors/aliases", json_body={"alias": "left", "actor_id": actor_id})
        nonce = whole.post("/actors/aliases/left/nonces").result["id"]
        add_config(whole, "kept", actor_id)
        whole.delete(f"/actors/{actor_id}")
        assert whole.get("/actors/aliases/left").status == 404
        again = whole.register()
        whole.post("/actors/aliases", json_body={"alias": "left", "actor_id": again})
        assert whole.get(f"/actors/left?x-nonce={nonce}", user=None).status == 400
        assert configs_of(whole, again) == {}

    def test_c14_links_lead_to_what_they_name(self, whole):
        actor_id = whole.register()
        whole.post("/actors/aliases", json_body={"alias": "linked", "actor_id": actor_id})
        nonce = whole.post("/actors/aliases/linked/nonces").result
        execution_id = whole.send(actor_id)
        finished(whole, actor_id, execution_id)
        (found,) = whole.get("/actors/search/executions").result["search"]
        links = [*nonce["_links"].values(), *found["_links"].values()]
        base = "https://api.example.org/actors/v2"
        assert nonce["_links"]["self"] == f"{base}/aliases/linked/nonces/{nonce['id']}"
        assert nonce["_links"]["actor"] == f"{base}/{actor_id}"
        path = f"{base}/{actor_id}/executions/{execution_id}"
        assert found["_links"]["logs"] == f"{path}/logs"
        assert not [link for link in links if "None" in link]

    def test_c15_an_answer_is_json_however_early_it_is_refused(self, make_whole):
        site = make_whole(max_body_length=1000)
        reply = site.post(f"/actors/{site.register()}/messages", body=b"x" * 2000)
        assert (reply.status, "1000" in reply.error) == (413, True)
        assert site.get("/nowhere").status == 404
        assert json.loads(site.get("/nowhere").body)["status"] == "error"
