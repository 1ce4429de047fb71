"""What the functional suite of the older system checks, over the whole application.

Real agents, a real store and the scripted engine; one pass per spelling and store. Rows are
those of the interface's table of functional behaviours that this release covers.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.whole import WholeSite, whole_settings


@pytest.fixture(params=[("snake", "memory"), ("camel", "sqlite")], ids="-".join)
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WholeSite]:
    site = WholeSite(whole_settings(*request.param, tmp_path))
    site.open()
    try:
        yield site
    finally:
        site.close()


@pytest.fixture
def actor_id(whole):
    """A stateful actor that is ready, as the suite's first one."""
    environment = {"default_key1": "default_value1", "default_key2": "default_value2"}
    attributes = {"name": "suite", "stateless": False, "default_environment": environment}
    actor_id = whole.register(**attributes)
    whole.until_status(f"/actors/{actor_id}", "READY")
    return actor_id


def finish(site, actor_id, execution_id):
    return site.until_status(f"/actors/{actor_id}/executions/{execution_id}", "COMPLETE", "ERROR")


def test_seven_actors_become_ready(whole):
    ids = [whole.register(name=f"a{n}", stateless=n % 2 == 0) for n in range(7)]
    for actor_id in ids:
        whole.until_status(f"/actors/{actor_id}", "READY")


def test_an_unknown_image_explains_itself(whole):
    actor_id = whole.register(image="abacosamples/missing")
    actor = whole.until_status(f"/actors/{actor_id}", "ERROR")
    assert "missing" in actor[whole.name("status_message")]


def test_run_text(whole, actor_id):
    path = f"/actors/{actor_id}"
    reply = whole.post(f"{path}/messages", form={"message": "testing execution"})
    assert "testing execution" in reply.result["msg"]
    execution_id = reply.result[whole.name("execution_id")]
    done = finish(whole, actor_id, execution_id)
    assert done["status"] == "COMPLETE"
    assert (done["id"], done[whole.name("actor_id")]) == (execution_id, actor_id)
    for name in ("worker_id", "final_state", "message_received_time", "start_time"):
        assert done[whole.name(name)], name
    assert done[whole.name("exit_code")] == 0
    assert {"cpu", "io", "runtime", "executor", "status"} <= set(done)
    (listed,) = whole.get(f"{path}/executions").result["executions"]
    assert (listed["id"], listed["status"]) == (execution_id, "COMPLETE")


def test_its_logs_show_the_context(whole, actor_id):
    path = f"/actors/{actor_id}"
    execution_id = whole.send(actor_id, "testing execution")
    done = finish(whole, actor_id, execution_id)
    logs = whole.get(f"{path}/executions/{execution_id}/logs").result["logs"]
    assert "Contents of MSG: testing execution" in logs
    for line in (
        f"_abaco_actor_id={actor_id}",
        f"_abaco_actor_dbid=DEV-DEVELOP_{actor_id}",
        "_abaco_actor_name=suite",
        "_abaco_actor_state={}",
        "_abaco_actor_revision=1",
        "_abaco_api_server=https://api.example.org",
        "_abaco_username=testuser",
        f"_abaco_execution_id={execution_id}",
        f"_abaco_worker_id={done[whole.name('worker_id')]}",
        "_abaco_Content_Type=str",
        "_abaco_Content-Type=str",
        "_abaco_container_repo=abacosamples/test",
        "_abaco_jwt_header_name=X-Jwt-Assertion-Dev-Develop",
        "_abaco_access_token=",
        "_actor_configs={}",
        "default_key1=default_value1",
        "default_key2=default_value2",
    ):
        assert line in logs.splitlines()


def test_configs_and_secrets(whole, actor_id, caplog):
    caplog.set_level(logging.DEBUG)
    path, second = "/actors/configs", whole.register()
    flag = whole.name("is_secret")
    first = {"name": "c1", "value": {"a": True}, flag: False, "actors": actor_id}
    made = whole.post("/" + path, json_body=first).result
    assert (made[flag], made["name"]) == (False, "c1")
    form = {"name": "c2", "value": "hunter2 to you", flag: "True", "actors": actor_id}
    assert whole.post(path, form=form).result[flag] is True
    both = {"name": "c3", "value": "v", flag: "False", "actors": f"{actor_id},{second}"}
    assert whole.post(path, form=both).result["actors"] == f"{actor_id},{second}"
    assert whole.post(path, json_body={**first, "name": "c4", "actors": "henry"}).status == 404
    assert len(whole.get(path).result) == 3
    got = whole.get(f"{path}/c1").result
    assert (got[flag], got["name"]) == (False, "c1")
    limited = {**first, "name": "c5", "value": "foreign"}
    assert whole.post(path, json_body=limited, user="testotheruser").status == 200
    changed = {**first, "value": "battery staple", flag: True}
    assert whole.put(f"{path}/c1", json_body=changed).result[flag] is True
    assert whole.put(f"{path}/c1", json_body=changed, user="testotheruser").status == 400
    execution_id = whole.send(actor_id)
    finish(whole, actor_id, execution_id)
    logs = whole.get(f"/actors/{actor_id}/executions/{execution_id}/logs").result["logs"]
    given = {"c1": "battery staple", "c2": "hunter2 to you", "c3": "v"}
    assert f"_actor_configs={given!r}" in logs.splitlines()
    # the actor's own log has them, being the user's; nothing of the server's has
    metrics = whole.get("/metrics", user=None).body.decode()
    for text in ("hunter2 to you", "battery staple"):
        assert text not in caplog.text
        assert text not in metrics


def test_query_parameters_override_the_default_environment(whole, actor_id):
    path = f"/actors/{actor_id}/messages?default_key1=mine&extra=1&_abaco_username=evil"
    reply = whole.post(path, form={"message": "m"})
    execution_id = reply.result[whole.name("execution_id")]
    finish(whole, actor_id, execution_id)
    logs = whole.get(f"/actors/{actor_id}/executions/{execution_id}/logs").result["logs"]
    lines = logs.splitlines()
    assert {"default_key1=mine", "extra=1", "default_key2=default_value2"} <= set(lines)
    assert "_abaco_username=testuser" in lines


def test_run_json(whole, actor_id):
    body = {"key1": "value1", "nested": {"ok": True, "none": None}}
    reply = whole.post(f"/actors/{actor_id}/messages", json_body=body)
    execution_id = reply.result[whole.name("execution_id")]
    assert finish(whole, actor_id, execution_id)["status"] == "COMPLETE"
    logs = whole.get(f"/actors/{actor_id}/executions/{execution_id}/logs").result["logs"]
    assert f"MSG={body!r}" in logs
    assert "_abaco_Content_Type=application/json" in logs


def test_synchronous(whole, actor_id):
    path = f"/actors/{actor_id}/messages?_abaco_synchronous=true"
    reply = whole.post(path, form={"message": "sync"})
    assert reply.status == 200
    assert b"Contents of MSG: sync" in reply.body


def test_a_program_that_fails_is_complete(whole):
    actor_id = whole.register(image="abacosamples/fail")
    done = finish(whole, actor_id, whole.send(actor_id))
    assert (done["status"], done[whole.name("exit_code")]) == ("COMPLETE", 3)


def test_halt(whole):
    actor_id = whole.register(image="abacosamples/sleep_loop")
    reply = whole.post(f"/actors/{actor_id}/messages", json_body={"sleep": 1, "iterations": 999})
    path = f"/actors/{actor_id}/executions/{reply.result[whole.name('execution_id')]}"
    running = whole.until_status(path, "RUNNING")
    assert running[whole.name("worker_id")]
    halted = whole.delete(path)
    assert halted.status == 200
    assert "Issued force quit command for execution" in halted.envelope["message"]
    assert whole.until_status(path, "COMPLETE", "ERROR")["status"] == "COMPLETE"
    assert whole.delete(path).status == 400


def test_state_reaches_the_next_execution(whole, actor_id):
    assert whole.post(f"/actors/{actor_id}/state", json_body="abc").result["state"] == "abc"
    value = {"count": 3}
    whole.post(f"/actors/{actor_id}/state", json_body=value)
    assert whole.get(f"/actors/{actor_id}/state").result["state"] == value
    execution_id = whole.send(actor_id)
    finish(whole, actor_id, execution_id)
    logs = whole.get(f"/actors/{actor_id}/executions/{execution_id}/logs").result["logs"]
    assert "_abaco_actor_state={'count': 3}" in logs


def test_update(whole, actor_id):
    body = whole.fields(image="abacosamples/other", stateless=False)
    actor = whole.put(f"/actors/{actor_id}", json_body=body).result
    assert (actor["image"], actor["name"], actor["revision"]) == ("abacosamples/other", "suite", 2)
    whole.until_status(f"/actors/{actor_id}", "READY")
    execution_id = whole.send(actor_id)
    finish(whole, actor_id, execution_id)
    logs = whole.get(f"/actors/{actor_id}/executions/{execution_id}/logs").result["logs"]
    assert "_abaco_container_repo=abacosamples/other" in logs


def test_workers(whole, actor_id):
    path = f"/actors/{actor_id}/workers"
    up = lambda result: result and {w["status"] for w in result} <= {"READY", "BUSY"}  # noqa: E731
    (worker,) = whole.until(path, up)
    for name in ("image", "location", "cid", "tenant", "ch_name", "status"):
        assert worker[whole.name(name)], name
    assert {whole.name("last_execution_time"), whole.name("last_health_check_time")} <= set(worker)
    assert whole.post(path).status == 200
    assert len(whole.get(path).result) == 1
    assert whole.post(path, form={"num": 2}).result is None
    two = whole.until(path, lambda result: len(result) == 2 and up(result))
    assert whole.delete(f"{path}/{two[0]['id']}").result is None
    (left,) = whole.until(path, lambda result: len(result) == 1)
    assert left["id"] == two[1]["id"]
    assert whole.get(f"{path}/{two[0]['id']}").status == 404


def test_run_by_nonce(whole, actor_id):
    path = f"/actors/{actor_id}"
    nonce = whole.post(f"{path}/nonces").result["id"]
    reply = whole.post(f"{path}/messages?x-nonce={nonce}", form={"message": "m"}, user=None)
    execution_id = reply.result[whole.name("execution_id")]
    finish(whole, actor_id, execution_id)
    reply = whole.get(f"{path}/executions/{execution_id}/logs?x-nonce={nonce}", user=None)
    logs = reply.result["logs"]
    assert "_abaco_username=testuser" in logs.splitlines()
    assert "_abaco_jwt_header_name" not in logs
    assert nonce not in logs
    assert whole.get(f"{path}/nonces/{nonce}").result[whole.name("current_uses")] == 2


def test_what_was_shared_goes_with_the_actor(whole, actor_id):
    path = f"/actors/{actor_id}"
    whole.post("/actors/aliases", form=whole.fields(alias="hello", actor_id=actor_id))
    whole.post(f"{path}/permissions", json_body={"user": "jane", "level": "EXECUTE"})
    nonces = [whole.post(f"/actors/{name}/nonces").result["id"] for name in (actor_id, "hello")]
    nonces.append(whole.post("/actors/aliases/hello/nonces").result["id"])
    assert whole.get("/actors/hello", user="jane").result["id"] == actor_id
    assert whole.delete("/actors/hello").result is None
    assert whole.get("/actors/hello").status == 404
    assert whole.get("/actors/aliases").result == []
    assert whole.get("/actors", user="jane").result == []
    for nonce in nonces:
        for name in (actor_id, "hello"):
            assert whole.get(f"/actors/{name}?x-nonce={nonce}", user=None).status == 400


def test_another_tenant(whole):
    staging = {"tenant": "DEV-STAGING"}
    assert whole.get("/actors", **staging).result == []
    actor_id = whole.register(**staging)
    whole.until_status(f"/actors/{actor_id}", "READY", **staging)
    assert len(whole.get("/actors", **staging).result) == 1
    assert whole.get("/actors").result == []
    assert whole.get(f"/actors/{actor_id}").status == 404
    reply = whole.get(f"/actors/{actor_id}/executions", **staging)
    assert reply.result["executions"] == []


def test_clean_up_while_a_message_runs(whole):
    actor_id = whole.register(image="abacosamples/sleep_loop")
    execution_id = whole.send(actor_id)
    path = f"/actors/{actor_id}/executions/{execution_id}"
    whole.until_status(path, "RUNNING")
    whole.send(actor_id)
    reply = whole.delete(f"/actors/{actor_id}")
    assert reply.result is None
    assert "deleted" in reply.envelope["message"]
    assert whole.get(f"/actors/{actor_id}").status == 404
    assert whole.get("/actors").result == []


def test_health_and_readiness(whole):
    agents = whole.get("/health", user=None).result["agents"]
    assert {"spawner", "health"} <= {agent["name"] for agent in agents}
    assert all(agent["age_s"] >= 0 for agent in agents)
    checks = whole.get("/ready", user=None).result["checks"]
    names = {"store", "engine"}
    if whole.settings.store.backend != "memory":
        names.add("disk")
    assert {check["name"]: check["ok"] for check in checks} == dict.fromkeys(names, True)
