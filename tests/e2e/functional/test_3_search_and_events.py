"""Rows 46 to 55: search, tenants, links and webhooks.

The tests run in order and share objects; the numbers in their names are those of the rows.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.functional.names import CYCLE
from tests.support.suite import ADMIN, LIMITED, SHARER, STAGING, Suite


def search(suite: Suite, kind: str, query: str = "", user: str = ADMIN) -> dict[str, Any]:
    found = suite.get(f"/actors/search/{kind}{query}", user=user).result
    assert set(found) == {"_metadata", "search"}
    return dict(found)


def meta(suite: Suite, found: dict[str, Any], name: str) -> Any:
    return found["_metadata"][suite.name(name)]


def count(suite: Suite, kind: str, query: str = "", user: str = ADMIN) -> int:
    found = search(suite, kind, query, user)
    assert meta(suite, found, "count_returned") == len(found["search"])
    return len(found["search"])


ABSENT = ("_id", "permissions", "tenant")


def check_keys(suite: Suite, item: dict[str, Any], present: str, absent: str = "") -> None:
    for name in present.split():
        assert suite.name(name) in item, name
    for name in (*ABSENT, *absent.split()):
        assert suite.name(name) not in item, name


def test_row_46_search_counts(suite: Suite):
    for kind in ("logs", "executions"):
        found = search(suite, kind)
        assert len(found["search"]) == 7, kind
        assert meta(suite, found, "count_returned") == 7
        assert meta(suite, found, "record_limit") == 100
        assert meta(suite, found, "records_skipped") == 0
        assert meta(suite, found, "total_count") == 7
        if kind == "executions":
            check_keys(
                suite, found["search"][0], "executor id io runtime status _links", "api_server"
            )
            assert found["search"][0]["status"] == "COMPLETE"
        else:
            check_keys(suite, found["search"][0], "logs _links", "exp actor_id")
    found = search(suite, "actors")
    assert len(found["search"]) == meta(suite, found, "count_returned") == 10
    check_keys(
        suite,
        found["search"][0],
        "description gid hints link mounts name owner privileged status token _links",
        "api_server executions db_id",
    )
    assert found["search"][0]["token"] == "false"
    found = search(suite, "workers")
    assert len(found["search"]) <= 15
    check_keys(suite, found["search"][0], "status id")


def test_row_47_search_rights(suite: Suite):
    counts = [count(suite, kind, user=SHARER) for kind in ("logs", "executions", "actors")]
    assert counts == [4, 4, 1]
    assert count(suite, "workers", user=SHARER) == 1
    counts = [count(suite, kind, user=LIMITED) for kind in ("logs", "executions", "actors")]
    assert counts == [0, 0, 1]
    assert count(suite, "workers", user=LIMITED) <= 1


@pytest.mark.parametrize(
    ("kind", "query", "expected"),
    [
        ("executions", "message_received_time.gt=2000-05:00", 7),
        ("executions", "start_time.gt=2000-01-01T01:00", 7),
        ("executions", "start_time.lt=2000-01-01T01:00:00.000Z", 0),
        (
            "executions",
            "message_received_time.between=2000-01-01T01:00,2200-12-30T23:59:59.999Z",
            7,
        ),
        ("executions", "final_state.StartedAt.gt=2000-01-01", 7),
        ("actors", "create_time.between=2000-01-01,2200-01-01", 10),
    ],
)
def test_row_48_search_by_time(suite: Suite, kind: str, query: str, expected: int):
    assert count(suite, kind, f"?{query}") == expected


def test_row_49_search_by_text(suite: Suite):
    assert count(suite, "actors", "?exactsearch=abacosamples/sleep_loop") == 1
    found = search(suite, "actors", "?search=sleep_loop")
    assert found["search"][0]["image"] == "abacosamples/sleep_loop"
    assert count(suite, "actors", "?exactsearch=nothing_has_this_word") == 0


def test_row_50_search_by_operators(suite: Suite):
    assert count(suite, "executions", '?status.in=["COMPLETE", "READY"]'.replace(" ", "%20")) == 7
    assert count(suite, "executions", "?status.nin=['COMPLETE','READY']") == 0
    image = "abacosamples/sleep_loop"
    assert count(suite, "actors", f"?image={image}") == 1
    assert count(suite, "actors", f"?image.neq={image}") == 9
    assert count(suite, "actors", "?image.like=sleep_loop") == 1
    assert count(suite, "actors", "?image.nlike=sleep_loop") == 9
    found = search(suite, "actors", "?skip=4&limit=23")
    got = [
        meta(suite, found, name)
        for name in ("count_returned", "record_limit", "records_skipped", "total_count")
    ]
    assert got == [6, 23, 4, 10]


def test_row_51_tenants(suite: Suite):
    there: dict[str, Any] = {"tenant": STAGING}
    assert suite.get("/actors", **there).result == []
    actor_id = suite.register(None, image="abaco_test", stateless=False, **there)["id"]
    suite.until_ready(actor_id, **there)
    (listed,) = suite.get("/actors", **there).result
    assert listed["id"] == actor_id
    path = f"/actors/{actor_id}"
    assert suite.get(path, **there).result["id"] == actor_id
    assert suite.get(f"{path}/executions", **there).result["executions"] == []
    assert suite.get(f"{path}/messages", **there).result["messages"] == 0

    def ready_worker() -> Any:
        (worker,) = suite.get(f"{path}/workers", **there).result
        return worker if worker["status"] == "READY" else None

    worker = suite.until(ready_worker, "the worker to be READY", 30)
    assert worker["tenant"] == STAGING
    for name in ("status", "image", "location", "ch_name", "last_execution_time"):
        assert worker[suite.name(name)], name


def linked(suite: Suite, link: str = "") -> str:
    actor = suite.register(None, image="abaco_test", **({"link": link} if link else {}))
    return str(actor["id"])


def relink(suite: Suite, actor_id: str, link: str):
    return suite.put(f"/actors/{actor_id}", json_body={"image": "abaco_test", "link": link})


def test_row_52_cycles(suite: Suite):
    d = linked(suite)
    c, other = linked(suite, d), linked(suite, d)
    b = linked(suite, c)
    a = linked(suite, b)
    for last in (d, c):  # several into one, and a chain, are no cycles
        assert suite.get(f"/actors/{last}").result["id"] == last
    assert relink(suite, other, c).result["link"] == c
    for first in (a, b, c, d):  # longer and shorter ways round, and to oneself
        refused = relink(suite, d, first)
        assert (refused.status, CYCLE in refused.refusal) == (400, True)
    for actor_id in (a, b, other, c, d):
        assert suite.delete(f"/actors/{actor_id}").result is None


def test_row_53_a_webhook(suite: Suite):
    hook = suite.register(None, image="abaco_test")["id"]
    suite.until_ready(hook)
    nonce = suite.post(f"/actors/{hook}/nonces").result["id"]
    url = f"{suite.server.url}/actors/{hook}/messages?x-nonce={nonce}"
    suite.register("hooked", image="abaco_test", webhook=url)
    found = suite.until(lambda: suite.executions(hook), "the event", 35)
    path = f"/actors/{hook}/executions/{found[0]['id']}"
    suite.until_complete(path)
    log = suite.logs(path)
    for text in (
        "'event_type': 'ACTOR_READY'", "event_time_utc", "event_time_display", "actor_id",
    ):  # fmt: skip
        assert text in log, text


def test_row_54_a_link(suite: Suite):
    listener = suite.register(None, image="abaco_test")["id"]
    suite.until_ready(listener)
    speaker = suite.register("speaker", image="abaco_test", link=listener)["id"]
    suite.until_ready(speaker)
    suite.send(f"/actors/{speaker}", form={"message": "say something"})
    suite.until(lambda: len(suite.executions(listener)) >= 2, "two events", 35)
    logs = []
    for execution in suite.executions(listener)[:2]:
        path = f"/actors/{listener}/executions/{execution['id']}"
        suite.until_complete(path, 20)
        logs.append(suite.logs(path))
    assert "'event_type': 'ACTOR_READY'" in logs[0]
    assert "'event_type': 'EXECUTION_COMPLETE'" in logs[1]
    assert "execution_id" in logs[1]


@pytest.mark.parametrize("length", [3, 5])
def test_row_55_a_chain_cannot_be_closed(suite: Suite, length: int):
    end = linked(suite)
    first = linked(suite, end)
    last = first
    for _ in range(length):
        last = linked(suite, last)
    refused = relink(suite, first, last)
    assert (refused.status, CYCLE in refused.refusal) == (400, True)
