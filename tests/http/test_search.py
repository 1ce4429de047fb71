"""Searching over HTTP: the interface's rules of parameters, results and rights."""

from urllib.parse import urlencode

import pytest

from abaco.domain.search import SearchKind
from tests.http.site import TENANT

STARTED = "2024-05-01T14:45:41.591Z"  # what the player's engine says

#: what is never shown
HIDDEN = {"_id", "permissions", "tenant", "db_id", "exp", "executions"}


def run(site, actor_id, output=b"Contents of MSG: hello\n", **options):
    """Send a message and bring it to its end."""
    execution_id = site.send(actor_id, **options)
    site.run(site.player.run(site.key(actor_id), output=output))
    return execution_id


@pytest.fixture
def ids(site):
    """Ten actors of one user, seven of whose messages ran; one is shared."""
    images = ["abacosamples/test", "abacosamples/sleep_loop", "abacosamples/func"]
    images += ["abacosamples/test"] * 7
    ids = [site.register(image=image, name=f"n{n}") for n, image in enumerate(images)]
    for _ in range(4):
        run(site, ids[0])
    for actor_id in ids[1:4]:
        run(site, actor_id)
    site.post(
        f"/actors/{ids[0]}/permissions", json_body={"user": "testshareuser", "level": "UPDATE"}
    )
    site.register(user="testotheruser", image="abacosamples/other")
    return ids


def search(site, kind, query="", user="testuser"):
    """Search, and hold the counts against the list."""
    result = site.get(f"/actors/search/{kind}?{query}", user=user).result
    assert set(result) == {"_metadata", "search"}
    metadata = result["_metadata"]
    names = ("count_returned", "record_limit", "records_skipped", "total_count")
    assert set(metadata) == set(map(site.name, names))
    assert metadata[site.name("count_returned")] == len(result["search"])
    return result["search"], metadata[site.name("total_count")]


class TestCounts:
    """Rows 46 and 47 of the functional suite."""

    @pytest.mark.parametrize(
        ("user", "logs", "executions", "actors", "workers"),
        [("testuser", 7, 7, 10, 10), ("testshareuser", 4, 4, 1, 1), ("testotheruser", 0, 0, 1, 1)],
    )
    def test_per_user(self, site, ids, user, logs, executions, actors, workers):
        expected = {"logs": logs, "executions": executions, "actors": actors, "workers": workers}
        for kind, count in expected.items():
            found, total = search(site, kind, user=user)
            assert (len(found), total) == (count, count), kind
        assert search(site, "executions", user="jane") == ([], 0)

    def test_metadata_of_a_plain_search(self, site, ids):
        metadata = site.get("/actors/search/executions").result["_metadata"]
        assert metadata == site.fields(
            count_returned=7, record_limit=100, records_skipped=0, total_count=7
        )

    def test_actors(self, site, ids):
        found, _ = search(site, "actors")
        assert [actor["id"] for actor in found] == ids
        first = found[0]
        shown = site.get(f"/actors/{ids[0]}").result
        assert {name: value for name, value in first.items() if value is not None} == {
            name: value for name, value in shown.items() if value is not None
        }
        wanted = "description gid hints link mounts name owner privileged status token _links"
        assert set(wanted.split()) <= set(first)
        assert not {*HIDDEN, site.name("api_server"), site.name("db_id")} & set(first)
        # nulls are kept in both spellings
        assert first["gid"] is None
        assert site.name("max_workers") in first
        assert first["token"] == "false"

    def test_executions(self, site, ids):
        found, _ = search(site, "executions")
        first = found[0]
        shown = site.get(f"/actors/{ids[0]}/executions/{first['id']}").result
        del shown[site.name("api_server")]
        assert first == shown
        assert first["status"] == "COMPLETE"
        assert not {*HIDDEN, site.name("api_server")} & set(first)
        below = f"/actors/v2/{ids[0]}/executions/{first['id']}"
        assert first["_links"]["logs"].endswith(f"{below}/logs")

    def test_an_execution_that_has_not_ended_keeps_its_nulls(self, site):
        actor_id = site.register()
        site.send(actor_id)
        ((found,), _) = search(site, "executions")
        names = ("exit_code", "final_state", "start_time", "finish_time", "worker_id")
        assert {found[site.name(name)] for name in names} == {None}

    def test_workers(self, site, ids):
        found, _ = search(site, "workers")
        first = found[0]
        (shown,) = site.get(f"/actors/{ids[0]}/workers").result
        del shown["tenant"]
        assert first == {**shown, site.name("actor_id"): ids[0]}
        assert not HIDDEN & set(first)

    def test_logs(self, site, ids):
        found, _ = search(site, "logs")
        assert {frozenset(item) for item in found} == {frozenset({"logs", "_links"})}
        assert found[0]["logs"] == "Contents of MSG: hello\n"
        execution = site.get(f"/actors/{ids[0]}/executions").result["executions"][0]["id"]
        assert found[0] == site.get(f"/actors/{ids[0]}/executions/{execution}/logs").result


class TestTimes:
    """Row 48, and all forms of a time that are accepted."""

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ("message_received_time.gt=2000-05:00", 7),
            ("start_time.lt=2200-01-01", 7),
            ("final_state.StartedAt.gt=2200-12-30T23:59:59.999Z", 0),
            ("final_state.StartedAt.between=2000-01-01T01:00,2200-01-01", 7),
            (f"final_state.StartedAt={STARTED}", 7),
            ("finish_time.gte=2000-01-01T01:00:00.000Z", 7),
            ("finish_time.lt=2000-01-01T01:00:00%2B0500", 0),
        ],
    )
    def test_executions(self, site, ids, query, count):
        assert search(site, "executions", query)[1] == count

    def test_actors(self, site, ids):
        query = "create_time.between=2000-01-01T01:00,2200-12-30T23:59:59.999Z"
        assert search(site, "actors", query)[1] == 10

    def test_a_time_as_it_was_shown_is_found(self, site, ids):
        shown = site.get(f"/actors/{ids[3]}").result[site.name("create_time")]
        assert ids[3] in [actor["id"] for actor in search(site, "actors", f"createTime={shown}")[0]]

    @pytest.mark.parametrize("value", ["yesterday", "2000-13", "2000-01-01T25", "", "5", "20000"])
    def test_bad_ones_name_their_key(self, site, value):
        for key in ("create_time.gt", "createTime", "final_state.StartedAt.lte"):
            assert key in site.get(f"/actors?{key}={value}").error


class TestText:
    """Row 49."""

    def test_a_phrase(self, site, ids):
        assert search(site, "actors", "exactsearch=abacosamples/sleep_loop")[1] == 1
        assert search(site, "actors", "exactsearch=AbacoSamples/Sleep_Loop")[1] == 1
        assert search(site, "actors", "exactsearch=abacosamples/sleep")[1] == 0
        assert search(site, "actors", "exactsearch=unheardof")[1] == 0

    def test_several_phrases_must_all_be_there(self, site, ids):
        assert search(site, "actors", "exactsearch=abacosamples&exactsearch=n2")[1] == 1

    def test_words_rank(self, site, ids):
        found, total = search(site, "actors", "search=sleep_loop")
        assert (found[0]["image"], total) == ("abacosamples/sleep_loop", 1)
        found, total = search(site, "actors", "search=abacosamples+func")
        assert (found[0]["image"], total) == ("abacosamples/func", 10)
        assert [actor["id"] for actor in found[1:]] == [ids[0], ids[1], *ids[3:]]

    def test_logs(self, site, ids):
        run(site, ids[9], b"something else\n")
        assert search(site, "logs", "exactsearch=msg:%20hello")[1] == 7
        found, total = search(site, "logs", "search=Else")
        assert (total, found[0]["logs"]) == (1, "something else\n")


class TestOperators:
    """Row 50."""

    @pytest.mark.parametrize(
        ("kind", "query", "count"),
        [
            ("executions", 'status.in=["COMPLETE",%20"READY"]', 7),
            ("executions", "status.in=['COMPLETE',%20'READY']", 7),
            ("executions", 'status.nin=["COMPLETE",%20"READY"]', 0),
            ("actors", "image=abacosamples/sleep_loop", 1),
            ("actors", "image.eq=abacosamples/sleep_loop", 1),
            ("actors", "image.neq=abacosamples/sleep_loop", 9),
            ("actors", "image.like=sleep", 1),
            ("actors", "image.like=Sleep", 0),
            ("actors", "image.nlike=sleep", 9),
            ("actors", "image.like=_loop$&name.like=^n", 1),
            ("actors", "name=n3&image=abacosamples/test", 1),
            ("actors", "name=n3&name=n4", 0),
            ("actors", "privileged=False&stateless=TRUE", 10),
            ("actors", "token=false", 10),
            ("actors", "max_workers=none", 10),
            ("actors", "maxWorkers=none", 10),
            ("actors", "unheard_of=none", 10),
            ("actors", "unheard_of=1", 0),
            ("actors", "revision.between=1,1", 10),
            ("executions", "exit_code.lt=1", 7),
            ("executions", "exitCode.gte=1", 0),
            ("executions", "final_state.Status=exited", 7),
            ("executions", "finalState.OOMKilled=true", 0),
            ("workers", "status=READY", 4),
        ],
    )
    def test_counts(self, site, ids, kind, query, count):
        assert search(site, kind, query)[1] == count

    def test_paging(self, site, ids):
        result = site.get("/actors?skip=4&limit=23").result
        assert result["_metadata"] == site.fields(
            count_returned=6, record_limit=23, records_skipped=4, total_count=10
        )
        assert [actor["id"] for actor in result["search"]] == ids[4:]
        assert [actor["id"] for actor in search(site, "actors", "limit=2&skip=1")[0]] == ids[1:3]
        assert search(site, "actors", "limit=0") == ([], 10)
        assert search(site, "actors", "skip=11&search=abacosamples") == ([], 10)
        assert search(site, "actors", "limit=0&search=abacosamples") == ([], 10)


class TestWhere:
    """The five ways in, and whom they show what."""

    def test_below_an_actor(self, site, ids):
        site.post("/actors/aliases", json_body={"alias": "first", "actor_id": ids[0]})
        for name in (ids[0], "first"):
            found = site.get(f"/actors/{name}/executions?limit=10").result
            assert found["_metadata"][site.name("total_count")] == 4
            (worker,) = site.get(f"/actors/{name}/workers?limit=10").result["search"]
            assert worker[site.name("actor_id")] == ids[0]

    def test_below_an_execution(self, site, ids):
        first, second = site.get(f"/actors/{ids[0]}/executions").result["executions"][:2]
        path = f"/actors/{ids[0]}/executions/{second['id']}/logs"
        (found,) = site.get(f"{path}?limit=5").result["search"]
        assert found["_links"]["self"].endswith(f"/{second['id']}/logs")
        assert site.get(f"{path}?logs.like=nothing").result["search"] == []
        assert site.get(f"/actors/{ids[1]}/executions/{first['id']}/logs?limit=5").status == 404

    def test_to_follow_a_log_is_not_to_search_it(self, site, ids):
        (execution,) = site.get(f"/actors/{ids[1]}/executions").result["executions"]
        path = f"/actors/{ids[1]}/executions/{execution['id']}/logs"
        reply = site.get(f"{path}?follow=false")
        assert b"_metadata" not in reply.body

    @pytest.mark.parametrize("kind", [*SearchKind, "ACTORS", "Executions"])
    def test_types(self, site, ids, kind):
        assert search(site, kind)[1] > 0

    def test_an_unknown_type(self, site):
        assert "nonces" in site.get("/actors/search/nonces").error
        assert site.get("/actors/search").status == 404

    def test_a_nonce_works_below_an_actor_and_uses_itself_up(self, site, ids):
        body = site.fields(max_uses=3, level="READ")
        nonce = site.post(f"/actors/{ids[0]}/nonces", json_body=body).result["id"]
        path = f"/actors/{ids[0]}/executions"
        plain = site.get(f"{path}?x-nonce={nonce}", user=None).result
        assert "executions" in plain
        execution_id = plain["executions"][0]["id"]
        found = site.get(f"{path}?x-nonce={nonce}&limit=2", user=None).result["search"]
        assert len(found) == 2
        logs = site.get(f"{path}/{execution_id}/logs?x-nonce={nonce}&limit=2", user=None).result
        assert len(logs["search"]) == 1
        assert site.get(f"{path}?x-nonce={nonce}&limit=2", user=None).status == 400

    def test_the_admin_role_shows_nothing(self, site):
        actor_id = site.register(user="jane")
        run(site, actor_id, user="jane")
        assert site.get(f"/actors/{actor_id}/executions").result["executions"] != []
        for path in ("executions?limit=5", "workers?limit=5"):
            assert site.get(f"/actors/{actor_id}/{path}").result["search"] == []
            assert len(site.get(f"/actors/{actor_id}/{path}", user="jane").result["search"]) == 1
        assert search(site, "actors") == ([], 0)

    def test_everybody(self, site):
        actor_id = site.register(user="jane")
        body = {"user": "ABACO_WORLD", "level": "READ"}
        site.post(f"/actors/{actor_id}/permissions", json_body=body, user="jane")
        assert search(site, "actors", user="testotheruser")[1] == 1
        other = site.get("/actors/search/actors", user="testuser", tenant="OTHER").result
        assert other["search"] == []
        site.post(
            f"/actors/{actor_id}/permissions",
            json_body={"user": "ABACO_WORLD", "level": "NONE"},
            user="jane",
        )
        assert search(site, "actors", user="testotheruser")[1] == 0

    def test_what_belonged_to_a_deleted_actor_is_gone(self, site, ids):
        site.run(site.services.stores.actors.delete(site.key(ids[0], TENANT)))
        assert search(site, "actors")[1] == 9
        assert search(site, "executions")[1] == 3
        assert search(site, "logs")[1] == 3
        assert search(site, "workers")[1] == 9


BAD = [
    ("limit", "many"), ("limit", "-1"), ("limit", "10001"), ("limit", "1.5"), ("limit", ""),
    ("skip", "x"), ("skip", "-1"), ("skip", str(2**31)), ("image.like", "("),
    ("image.nlike", "(?=a)"), ("image.like", "a{2000}"), ("image.like", r"\pL{1000}"),
    ("status.in", "COMPLETE"), ("status.nin", '{"a":1}'), ("status.in", "[" * 5000),
    ("status.in", '["\\ud800"]'), ("status.in", "[1e999]"), ("revision.between", "1"),
    ("revision.between", "1,2,3"), ("revision.between", "a,b"), ("create_time.between", "2000"),
    ("$where", "1"), ("state.$ne", "1"), ("image$", "x"), ("exactsearch", "x" * 1001),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_bad_value_is_refused_by_the_name_of_its_key(snake, key, value):
    assert key in snake.get(f"/actors?{urlencode({key: value})}").error


def test_too_many_conditions(snake):
    many = "&".join(f"state.k{number}.neq=1" for number in range(101))
    assert "at most 100" in snake.get(f"/actors?{many}").error
    assert snake.get(f"/actors?{many.replace('&state.k0.neq=1', '', 1)[len('state.k0.neq=1&') :]}")


def test_too_many_values(snake):
    values = "[" + ",".join(["1"] * 501) + "]"
    assert "at most 1000" in snake.get(f"/actors?name.in={values}&name.nin={values}").error
    values = "[" + ",".join(["1"] * 1001) + "]"
    assert "name.in" in snake.get(f"/actors?name.in={values}").error


def test_an_alias_list_is_not_searched(snake):
    assert snake.get("/actors/aliases?limit=1").result == []


def test_a_secret_cannot_be_guessed_at(snake):
    snake.register(webhook="http://hooks.example.org/x", webhook_secret="whsec_" + "c2VjcmV0" * 4)
    assert snake.get("/actors?webhook=http://hooks.example.org/x").result["search"]
    for query in (
        "webhook_secret.like=.",
        "webhook_secret.neq=none",
        "search=whsec_" + "c2VjcmV0" * 4,
    ):
        assert snake.get(f"/actors?{query}").result["search"] == []


def test_head(snake):
    snake.register()
    reply = snake.request("HEAD", "/actors/search/actors?limit=1")
    assert (reply.status, reply.body) == (200, b"")


def test_a_pattern_that_is_slow_elsewhere(snake):
    actor_id = snake.register(description="a" * 100_000)
    assert snake.get("/actors?description.like=(a%2B)%2B$").result["search"][0]["id"] == actor_id
    assert snake.get("/actors?description.like=(a|aa)%2B%2Bb$").status in (200, 400)
    assert snake.get("/actors?description.like=(a*)*b$").result["search"] == []
