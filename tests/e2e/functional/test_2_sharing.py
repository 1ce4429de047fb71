"""Rows 31 to 45: queues, aliases, nonces, workers, permissions, roles.

The tests run in order and share objects; the numbers in their names are those of the rows.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.functional.names import (
    ALIAS,
    DOTTED_ALIAS,
    MAIN,
    NO_ACTOR,
    NO_ALIAS,
    NO_ALIAS_AND_ACTOR,
    NO_TARGET,
    SECOND_ALIAS,
    SPECIAL,
    STATELESS,
    TARGET,
)
from tests.http.site import TENANT
from tests.support.suite import ADMIN, LIMITED, PLAIN, PROD, SHARER, Suite


def test_row_31_queues(suite: Suite):
    actor = suite.register(SPECIAL, image="abaco_test", queue="special", stateless=False)
    assert actor["queue"] == "special"


def test_row_32_make_aliases(suite: Suite):
    target = suite.ids[TARGET]
    for alias in (ALIAS, SECOND_ALIAS, DOTTED_ALIAS):
        wanted = {"alias": alias, suite.name("actor_id"): target}
        made = suite.post("/actors/aliases", form=wanted).result
        assert (made["alias"], made[suite.name("actor_id")]) == (alias, target)
    again = suite.post("/actors/aliases", form={"alias": ALIAS, suite.name("actor_id"): target})
    assert (again.status, "already exists" in again.refusal) == (400, True)


def test_row_33_read_aliases(suite: Suite):
    listed = suite.get("/actors/aliases").result
    assert {item["alias"] for item in listed} == {ALIAS, SECOND_ALIAS, DOTTED_ALIAS}
    assert {item[suite.name("actor_id")] for item in listed} == {suite.ids[TARGET]}
    one = suite.get(f"/actors/aliases/{ALIAS}").result
    assert (one["alias"], one[suite.name("actor_id")]) == (ALIAS, suite.ids[TARGET])
    assert suite.get(f"/actors/aliases/{ALIAS}/permissions").result == {ADMIN: "UPDATE"}


def test_row_34_repoint_an_alias(suite: Suite):
    key, path = suite.name("actor_id"), f"/actors/aliases/{ALIAS}"
    for name in (MAIN, TARGET):
        wanted = {key: suite.ids[name]}
        assert suite.put(path, json_body=wanted).result[key] == suite.ids[name]


def test_row_35_rights_on_an_alias(suite: Suite):
    path = f"/actors/aliases/{ALIAS}"
    refused = suite.get(path, user=SHARER)
    assert (refused.status, NO_ALIAS in refused.refusal) == (400, True)
    grant = {"user": SHARER, "level": "UPDATE"}
    levels = suite.post(f"{path}/permissions", json_body=grant).result
    assert levels == {ADMIN: "UPDATE", SHARER: "UPDATE"}
    assert suite.get(path, user=SHARER).result["alias"] == ALIAS
    refused = suite.get(f"/actors/{ALIAS}", user=SHARER)
    assert (refused.status, NO_ACTOR in refused.refusal) == (400, True)
    wanted = {suite.name("actor_id"): suite.ids[STATELESS]}
    refused = suite.put(path, json_body=wanted, user=SHARER)
    assert (refused.status, NO_TARGET in refused.refusal) == (400, True)
    refused = suite.get(f"{path}/nonces", user=SHARER)
    assert (refused.status, NO_ALIAS_AND_ACTOR in refused.refusal) == (400, True)


def test_row_36_use_an_alias(suite: Suite):
    target = suite.ids[TARGET]
    assert suite.get(f"/actors/{ALIAS}").result["id"] == target
    for below in ("messages", "executions"):
        links = suite.get(f"/actors/{ALIAS}/{below}").result["_links"]
        assert target in links["self"]


@pytest.mark.parametrize("alias", [ALIAS, DOTTED_ALIAS])
def test_row_37_nonces_of_an_alias(suite: Suite, alias: str):
    nonce = suite.post(f"/actors/aliases/{alias}/nonces").result
    assert (nonce["level"], nonce["alias"]) == ("EXECUTE", alias)
    assert nonce[suite.name("max_uses")] == nonce[suite.name("remaining_uses")] == -1
    answer = suite.get(f"/actors/{alias}?x-nonce={nonce['id']}", user=None)
    assert answer.result["id"] == suite.ids[TARGET]


def test_row_38_delete_aliases(suite: Suite):
    suite.delete(f"/actors/aliases/{SECOND_ALIAS}")
    suite.delete(f"/actors/aliases/{ALIAS}", user=SHARER)
    suite.delete(f"/actors/aliases/{DOTTED_ALIAS}")
    assert suite.get("/actors/aliases").result == []


def check_nonce(suite: Suite, nonce: dict[str, Any], level: str, most: int, used: int) -> None:
    assert nonce["level"] == level
    assert nonce["owner"] == ADMIN
    assert nonce["roles"]
    assert nonce[suite.name("max_uses")] == most
    assert nonce[suite.name("current_uses")] == used
    assert nonce[suite.name("remaining_uses")] == (-1 if most == -1 else most - used)
    assert nonce[suite.name("actor_id")] == suite.ids[MAIN]
    for name in ("api_server", "create_time", "last_use_time"):
        assert nonce[suite.name(name)], name


def test_row_39_make_nonces(suite: Suite):
    path = suite.path(MAIN, "nonces")
    assert suite.get(path).result == []
    check_nonce(suite, suite.post(path).result, "EXECUTE", -1, 0)
    wanted = {suite.name("max_uses"): 3, "level": "READ"}
    check_nonce(suite, suite.post(path, json_body=wanted).result, "READ", 3, 0)
    listed = suite.get(path).result
    assert len(listed) == 2
    suite.ids["unlimited nonce"], suite.ids["limited nonce"] = (nonce["id"] for nonce in listed)
    assert suite.put(path).status == 405
    assert suite.post(f"{path}/{listed[0]['id']}").status == 405


def by_nonce(suite: Suite, method: str, name: str, *more: str, **options: Any):
    path = f"{suite.path(MAIN, *more)}?x-nonce={suite.ids[name]}"
    return suite.call(method, path, user=None, **options)


def test_row_40_an_unlimited_nonce(suite: Suite):
    name = "unlimited nonce"
    for below in ([], ["executions"], ["messages"]):
        assert by_nonce(suite, "GET", name, *below).result
    path = suite.path(MAIN, "nonces", suite.ids[name])
    check_nonce(suite, suite.get(path).result, "EXECUTE", -1, 3)
    reply = by_nonce(suite, "POST", name, "messages", form={"message": "by nonce"}).result
    check_nonce(suite, suite.get(path).result, "EXECUTE", -1, 4)
    suite.until_complete(suite.path(MAIN, "executions", reply[suite.name("execution_id")]))


def test_row_41_a_limited_nonce(suite: Suite):
    name = "limited nonce"
    path = suite.path(MAIN, "nonces", suite.ids[name])
    assert by_nonce(suite, "GET", name).result
    check_nonce(suite, suite.get(path).result, "READ", 3, 1)
    assert by_nonce(suite, "POST", name, "messages", form={"message": "m"}).refusal
    for _ in range(2):
        assert by_nonce(suite, "GET", name).result
    assert by_nonce(suite, "GET", name).refusal
    check_nonce(suite, suite.get(path).result, "READ", 3, 3)


def check_worker(suite: Suite, worker: dict[str, Any], image: str, tenant: str) -> None:
    assert worker["status"] in ("READY", "BUSY")
    assert (worker["image"], worker["tenant"]) == (image, tenant)
    for name in ("location", "cid", "ch_name"):
        assert worker[suite.name(name)], name
    for name in ("last_execution_time", "last_health_check_time"):
        assert suite.name(name) in worker, name


def workers(suite: Suite) -> list[dict[str, Any]]:
    return list(suite.get(suite.path(MAIN, "workers")).result)


def test_row_42_workers(suite: Suite):
    (worker,) = workers(suite)
    check_worker(suite, worker, "abaco_test2", TENANT)
    assert suite.put(suite.path(MAIN, "workers")).status == 405


def test_row_43_raise_and_delete_workers(suite: Suite):
    path = suite.path(MAIN, "workers")
    assert suite.post(path).result is None
    suite.pause(1)
    assert len(workers(suite)) == 1
    assert suite.post(path, json_body={"num": 2}).result is None
    suite.until(lambda: len(workers(suite)) == 2, "a second worker", 8)
    first = workers(suite)[0]["id"]
    assert suite.delete(f"{path}/{first}").result is None
    suite.until(lambda: len(workers(suite)) == 1, "the worker to be gone", 4)
    assert suite.get(f"{path}/{first}").status == 404


def test_row_44_permissions(suite: Suite):
    path = suite.path(MAIN, "permissions")
    assert suite.get(path).result == {ADMIN: "UPDATE", SHARER: "UPDATE"}
    assert suite.put(path).status == 405
    for level in ("UPDATE", "READ"):
        grant = {"user": "tester", "level": level}
        levels = suite.post(path, json_body=grant).result
        assert levels == {ADMIN: "UPDATE", SHARER: "UPDATE", "tester": level}


@pytest.mark.parametrize("user", [LIMITED, SHARER, PLAIN])
def test_row_45_roles(suite: Suite, user: str):
    who: dict[str, Any] = {"user": user, "tenant": PROD}
    actor_id = suite.register(None, image="abaco_test", **who)["id"]
    (listed,) = suite.get("/actors", **who).result
    assert listed["id"] == actor_id
    assert suite.get(f"/actors/{actor_id}", **who).result["id"] == actor_id
    assert suite.delete(f"/actors/{actor_id}", **who).result is None
    wanted = {"image": "abaco_test", "privileged": True}
    answer = suite.post("/actors", json_body=wanted, **who)
    if user == SHARER:
        assert suite.delete(f"/actors/{answer.result['id']}", **who).result is None
    else:
        assert answer.refusal
