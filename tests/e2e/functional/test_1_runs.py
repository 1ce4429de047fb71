"""Rows 1 to 30: register actors and run messages.

The tests run in order and share objects; the numbers in their names are those of the rows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import cloudpickle
import pytest

from abaco.domain.permission import Level
from handlers.spelling import to_camel
from tests.e2e.functional.names import (
    CRON,
    ENV,
    ENVIRONMENT,
    FUNC,
    HALTED,
    HINTS,
    LOG_EX,
    LOOP,
    MAIN,
    OF_LIMITED,
    SECRET,
    STATELESS,
    TARGET,
)
from tests.support.suite import ADMIN, LIMITED, SHARER, Suite


def test_row_1_units():
    assert to_camel("execution_id") == "executionId"
    none, read, execute, update = Level
    assert none < read < execute < update
    assert none < execute
    assert none < update
    assert read < update


def test_row_2_a_fresh_tenant_has_no_actors(suite: Suite):
    assert suite.get("//actors").result == []


def test_row_3_the_collection_cannot_be_put(suite: Suite):
    assert suite.put("//actors").status == 405
    assert suite.put("//actors", json_body={"image": "abaco_test"}).refusal


def test_row_4_an_unknown_actor(suite: Suite):
    answer = suite.get("/actors/bad_actor_id")
    assert (answer.status, answer.envelope["status"]) == (404, "error")


@pytest.mark.parametrize("path", ["/actors", "/actors/x/messages", "/actors/x/workers"])
def test_row_5_cors(suite: Suite, path: str):
    origin = {"Origin": "http://example.com"}
    answer = suite.get("/actors", headers=origin)
    assert answer.result == []
    assert answer.headers["Access-Control-Allow-Origin"] == "http://example.com"
    wanted = {
        **origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "X-Requested-With",
    }
    answer = suite.call("OPTIONS", path, user=None, headers=wanted)
    assert answer.status == 200
    for name in ("Origin", "Methods", "Headers"):
        assert answer.headers[f"Access-Control-Allow-{name}"]


def test_row_6_register(suite: Suite):
    suite.register(
        MAIN, how="form", image="abacosamples/test", stateless="false", description="of the suite"
    )
    suite.register(STATELESS, how="form", image="abaco_test")
    suite.register(TARGET, how="form", image="abaco_test", stateless="false")
    suite.register(FUNC, how="form", image="abacosamples/py3_func")
    suite.register(LOOP, how="form", image="abacosamples/sleep_loop")


def test_row_7_register_with_hints(suite: Suite):
    hints = ["cpu_bound", "io_bound", "sync"]
    actor = suite.register(HINTS, how="form", image="abaco_test", hints=hints)
    assert actor["hints"] == hints


def test_row_8_register_with_a_default_environment(suite: Suite):
    actor = suite.register(ENV, image="abaco_test", default_environment=ENVIRONMENT)
    assert actor[suite.name("default_environment")] == ENVIRONMENT


def test_row_9_limited_users_may_register(suite: Suite):
    suite.register(OF_LIMITED, image="abaco_test", user=LIMITED)


def test_row_10_cron(suite: Suite):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    schedule = f"{tomorrow:%Y-%m-%d} 23 + 6 hours"
    key = suite.name("cron_schedule")
    actor = suite.register(CRON, image="abaco_test", stateless=False, cron_schedule=schedule)
    assert actor[key] == schedule

    bad = suite.spelled(image="abaco_test", cron_schedule="2019-06-21 14 + 6 cheeseburgers")
    assert suite.post("/actors", json_body=bad).status == 400

    again = suite.spelled(
        image="abaco_test", stateless=False, cron_schedule="2078-09-6 20 + 3 months"
    )
    assert suite.put(suite.path(CRON), json_body=again).result[key] == "2078-09-6 20 + 3 months"

    off = suite.spelled(image="abaco_test", stateless=False, cron_on=False)
    actor = suite.put(suite.path(CRON), json_body=off).result
    assert actor[suite.name("cron_on")] is False
    assert actor["image"] == "abaco_test"


def test_row_11_log_ex(suite: Suite):
    key = suite.name("log_ex")
    actor = suite.register(LOG_EX, image="abaco_test", stateless=False, log_ex="16000")
    assert actor[key] == 16000
    again = suite.spelled(image="abaco_test", stateless=False, log_ex="20000")
    assert suite.put(suite.path(LOG_EX), json_body=again).result[key] == 20000


def test_row_12_configs(suite: Suite):
    secret = suite.name("is_secret")
    own = suite.ids[MAIN]
    plain = {"name": "config1", "value": "my_value", secret: False, "actors": own}
    made = suite.post("//actors/configs", json_body=plain).result
    assert (made["name"], made[secret]) == ("config1", False)

    hidden = {"name": "config2", "value": SECRET, secret: True, "actors": own}
    made = suite.post("/actors/configs", form=hidden).result
    assert made[secret] is True
    assert SECRET not in made["value"]
    suite.secrets |= {SECRET, made["value"]}

    two = f"{own},{suite.ids[STATELESS]}"
    both = {"name": "config3", "value": "my_value", secret: False, "actors": two}
    assert suite.post("/actors/configs", json_body=both).result["actors"] == two

    unknown = {"name": "config4", "value": "my_value", secret: False, "actors": "henry"}
    assert suite.post("/actors/configs", json_body=unknown).status == 404

    listed = suite.get("/actors/configs").result
    assert {item["name"] for item in listed} == {"config1", "config2", "config3"}
    found = suite.get("/actors/configs/config1").result
    assert (found["name"], found[secret]) == ("config1", False)

    foreign = {"name": "of_the_limited", "value": "v", secret: False, "actors": own}
    assert suite.post("/actors/configs", json_body=foreign, user=LIMITED).result

    turned = {**plain, secret: True}
    assert suite.put("/actors/configs/config1", json_body=turned).result[secret] is True
    assert suite.put("/actors/configs/config1", json_body=turned, user=LIMITED).status == 400


def test_row_13_an_actor_cannot_be_posted(suite: Suite):
    answer = suite.post(suite.path(MAIN))
    assert (answer.status, bool(answer.refusal)) == (405, True)


def test_row_14_get_an_actor(suite: Suite):
    actor = suite.get(suite.path(MAIN)).result
    suite.check_actor(actor, {"image": "abacosamples/test", "name": MAIN}, ADMIN)
    assert actor["id"] == suite.ids[MAIN]


def test_row_15_state(suite: Suite):
    path = suite.path(MAIN, "state")
    assert "state" in suite.get(path).result
    assert suite.post(path, json_body="abc").result["state"] == "abc"
    value = {"foo": "abc", "bar": 1, "baz": True}
    assert suite.post(path, json_body=value).result["state"] == value
    assert suite.get(path).result["state"] == value
    assert suite.post(suite.path(STATELESS, "state"), form={"state": "abc"}).refusal


def test_row_16_bad_registrations(suite: Suite):
    assert "image" in suite.post("/actors", json_body={"name": "x"}).refusal
    for name, value in (
        ("stateless", "abcd"),
        ("use_container_uid", "abcd"),
        ("default_environment", "abcd"),
    ):
        body = suite.spelled(image="abaco_test", **{name: value})
        assert suite.name(name) in suite.post("/actors", json_body=body).refusal
    body = suite.spelled(image="abaco_test", max_workers=3, stateless=False)
    refusal = suite.post("/actors", json_body=body).refusal
    assert "stateful actors can only have 1 worker" in refusal


@pytest.mark.parametrize(
    ("name", "value"), [("max_workers", 3), ("max_cpus", 3000000000), ("mem_limit", "3g")]
)
def test_row_17_limits_of_limited_users(suite: Suite, name: str, value: Any):
    body = suite.spelled(image="abaco_test", **{name: value})
    assert suite.post("/actors", json_body=body, user=LIMITED).refusal


@pytest.mark.parametrize("name", [MAIN, STATELESS, FUNC, LOOP, HINTS, ENV, TARGET])
def test_row_18_actors_become_ready(suite: Suite, name: str):
    suite.until_ready(suite.ids[name])


def test_row_19_a_new_actor_has_no_executions(suite: Suite):
    assert suite.executions(suite.ids[MAIN]) == []
    assert suite.put(suite.path(MAIN, "executions")).status == 405


def test_row_20_a_new_actor_has_no_messages(suite: Suite):
    assert suite.get(suite.path(MAIN, "messages")).result["messages"] == 0
    assert suite.put(suite.path(MAIN, "messages")).status == 405


def test_row_21_run_a_text(suite: Suite):
    path = suite.path(MAIN)
    reply = suite.post(f"{path}/messages", form={"message": "testing execution"}).result
    assert "testing execution" in reply["msg"]
    execution_path = f"{path}/executions/{reply[suite.name('execution_id')]}"
    done = suite.until_complete(execution_path)
    assert done[suite.name("actor_id")] == suite.ids[MAIN]
    for name in (
        "worker_id", "exit_code", "final_state", "message_received_time", "start_time", "id", "io",
        "runtime",
    ):  # fmt: skip
        assert suite.name(name) in done, name
    assert done[suite.name("worker_id")]
    assert done[suite.name("exit_code")] == 0


def test_row_22_the_environment_of_a_run(suite: Suite):
    _, path = suite.send(suite.path(ENV), form={"message": "testing execution"})
    log = suite.logs(path)
    for text in (
        *ENVIRONMENT, *ENVIRONMENT.values(), "_abaco_container_repo", "_abaco_worker_id",
        "_abaco_actor_name",
    ):  # fmt: skip
        assert text in log, text


def test_row_23_run_a_function(suite: Suite):
    def add(a: int, b: int, c: int = 1) -> int:
        return a + b + c

    call = cloudpickle.dumps({"func": add, "args": [5, 7], "kwargs": {"c": 5}})
    _, path = suite.send(
        suite.path(FUNC), data=call, headers={"Content-Type": "application/octet-stream"}
    )
    result = suite.get(f"{path}/results")
    assert (result.status, result.headers["Content-Type"]) == (200, "application/octet-stream")
    assert cloudpickle.loads(result.body) == 17


def test_row_24_halt(suite: Suite):
    path = suite.path(LOOP)
    body = {"sleep": 1, "iterations": 999}
    reply = suite.post(f"{path}/messages", json_body=body).result
    execution_path = f"{path}/executions/{reply[suite.name('execution_id')]}"
    worker_id = suite.name("worker_id")
    suite.until(lambda: suite.get(execution_path).result.get(worker_id), "a worker", 15)

    def is_running() -> bool:
        return bool(suite.get(execution_path).result["status"] == "RUNNING")

    suite.until(is_running, "the run to begin", 15)
    answer = suite.delete(execution_path)
    assert 200 <= answer.status <= 204
    assert HALTED in answer.envelope["message"]
    suite.until_complete(execution_path, 20)


def test_row_25_details_of_an_execution(suite: Suite):
    path = suite.path(MAIN, "executions")
    first = suite.executions(suite.ids[MAIN])[0]["id"]
    execution = suite.get(f"{path}/{first}").result
    for name in ("actor_id", "cpu", "executor", "id", "io", "runtime", "status"):
        assert suite.name(name) in execution, name
    assert execution[suite.name("actor_id")] == suite.ids[MAIN]
    assert execution["status"] == "COMPLETE"


def test_row_26_executions_cannot_be_posted(suite: Suite):
    path = suite.path(MAIN, "executions", suite.executions(suite.ids[MAIN])[0]["id"])
    assert suite.post(path).status == 405
    assert suite.post(f"{path}/logs").status == 405


def test_row_27_logs(suite: Suite):
    path = suite.path(MAIN, "executions", suite.executions(suite.ids[MAIN])[0]["id"])
    log = suite.logs(path)
    for text in (
        "Contents of MSG: testing execution", "PATH", "_abaco_actor_id", "_abaco_api_server",
        "_abaco_actor_state", "_abaco_username", "_abaco_execution_id", "_abaco_Content_Type",
    ):  # fmt: skip
        assert text in log, text


def test_row_28_run_json(suite: Suite):
    suite.send(suite.path(MAIN), json_body={"key1": "value1", "key2": "value2"})


def test_row_29_run_synchronously(suite: Suite):
    path = suite.path(MAIN, "messages?_abaco_synchronous=true")
    answer = suite.post(path, form={"message": "testing execution"})
    assert answer.status == 200
    assert b"Contents of MSG" in answer.body


def test_row_30_update(suite: Suite):
    body = suite.spelled(image="abaco_test2", stateless=False)
    actor = suite.put(suite.path(MAIN), json_body=body).result
    assert (actor["image"], actor["name"]) == ("abaco_test2", MAIN)
    before = actor[suite.name("last_update_time")]

    grant = {"user": SHARER, "level": "UPDATE"}
    assert suite.post(suite.path(MAIN, "permissions"), json_body=grant).result
    actor = suite.put(suite.path(MAIN), json_body=body, user=SHARER).result
    assert actor["owner"] == ADMIN
    assert actor[suite.name("last_update_time")] != before
    suite.until_ready(suite.ids[MAIN])
