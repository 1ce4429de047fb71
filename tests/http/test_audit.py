"""The audit log: who did what, and that nothing gets by it."""

import asyncio
import dataclasses
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest

from abaco.config import Settings
from abaco.domain.audit import AuditOutcome, fingerprint
from abaco.errors import ForbiddenError, NotFoundError, StoreUnavailableError, UnauthenticatedError
from abaco.operations.access import Scope
from handlers.auditing import named_object, outcome_of
from handlers.routes import INTERNAL, OPERATING, ROUTES
from tests.http.conftest import opened
from tests.http.site import TENANT, make_token
from tests.support.records import an_audit_record


def log(site, query="", **options):
    """Return the log as the server shows it, names in snake."""
    found = site.get(f"/actors/admin/audit{query}", **options).result
    names = ("remote_address", "request_id")
    for record in found:
        for name in names:
            record.setdefault(name, record.get(site.name(name)))
    return found


def actions(site):
    return [(record["action"], record["outcome"]) for record in log(site)]


class TestDeclaration:
    """A route without its declaration fails here."""

    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
    def test_every_verb_that_changes_something_says_what_it_is_called(self, route):
        changing = {verb for verb in route.rights if verb != "GET"}
        for_admins = {verb for verb, right in route.rights.items() if right.is_for_admins}
        assert set(route.actions) == changing | for_admins, (
            "say in handlers/routes.py what the audit log calls it, or None if it is not recorded"
        )

    def test_what_is_not_recorded_is_known(self):
        unrecorded = {
            (verb, re.sub(r"\(\?!.*?\$\)\)", "", route.path))
            for route in ROUTES
            for verb, action in route.actions.items()
            if action is None
        }
        assert unrecorded == {
            ("POST", "/actors/([^/]+)/messages"),
            ("POST", "/actors/([^/]+)/messages/batch"),
            ("POST", "/actors/([^/]+)/state"),
            ("POST", "/admin/dashboard"),  # shows, and changes nothing
        }

    def test_names_have_one_form(self):
        named = [name for route in ROUTES for name in route.actions.values() if name]
        assert all(re.fullmatch(r"[a-z]+\.[a-z]+", name) for name in named)

    def test_what_is_open_changes_nothing(self):
        assert all(set(route.rights) == {"GET"} for route in (*OPERATING, *INTERNAL))


class TestRecords:
    def test_an_actors_life(self, site):
        actor_id = site.register(image="busybox", default_environment={"PASSWORD": "hunter2"})
        path = f"/actors/{actor_id}"
        site.put(path, json_body={"image": "alpine"})
        site.post(f"{path}/workers", form={"num": 3})
        worker_id = site.get(f"{path}/workers").result[0]["id"]
        site.delete(f"{path}/workers/{worker_id}")
        site.send(actor_id)
        site.delete(f"{path}/messages")
        site.send(actor_id)
        site.post(f"{path}/state", json_body={"secret": "hunter2"})
        claim = site.run(site.player.start(site.key(actor_id)))
        site.delete(f"{path}/executions/{claim.execution.id}")

        async def both():
            deleting = site.fetch("DELETE", path)
            ending = site.player.end(claim)
            return await asyncio.gather(deleting, ending, site.player.retire(site.key(actor_id)))

        site.run(both())
        records = log(site)
        assert [(record["action"], record["detail"]) for record in records] == [
            ("actor.register", {"image": "busybox"}),
            ("actor.update", {"image": "alpine", "revision": "2"}),
            ("worker.ensure", {"num": "3"}),
            ("worker.drain", {"worker": worker_id}),
            ("messages.purge", {"count": "1"}),
            ("execution.halt", {"execution": claim.execution.id}),
            ("actor.delete", {}),
        ]
        assert {record["object"] for record in records} == {f"actor:{actor_id}"}
        assert {record["outcome"] for record in records} == {"done"}
        assert {record["status"] for record in records} == {200}

    def test_who_when_and_from_where(self, site):
        before = datetime.now(UTC) - timedelta(seconds=1)
        reply = site.post("/actors", json_body={"image": "busybox"}, user="testshareuser")
        (record,) = log(site)
        assert (record["tenant"], record["user"]) == (TENANT, "testshareuser")
        assert record["roles"] == ["Internal/abaco-privileged", "Internal/everyone"]
        assert record["proof"] == "token"
        assert record["remote_address"] == "127.0.0.1"
        assert record["request_id"] == reply.headers["X-Request-Id"]
        assert before < datetime.fromisoformat(record["time"]) <= datetime.now(UTC)

    def test_sharing(self, site):
        first, second = site.register(), site.register()
        site.post("/actors/aliases", json_body=site.fields(alias="hello", actor_id=first))
        site.put("/actors/aliases/hello", json_body=site.fields(actor_id=second))
        site.post("/actors/hello/permissions", json_body={"user": "jane", "level": "READ"})
        site.post("/actors/aliases/hello/permissions", json_body={"user": "a.b", "level": "NONE"})
        site.delete("/actors/aliases/hello")
        found = [(r["action"], r["object"], r["detail"]) for r in log(site)[2:]]
        assert found == [
            ("alias.create", "alias:hello", {"actor": first}),
            ("alias.repoint", "alias:hello", {"actor": second}),
            ("permission.grant", f"actor:{second}", {"user": "jane", "level": "READ"}),
            ("permission.grant", "alias:hello", {"user": "a.b", "level": "NONE"}),
            ("alias.delete", "alias:hello", {}),
        ]

    def test_nonces_are_told_apart_and_not_told(self, site):
        actor_id = site.register()
        path = f"/actors/{actor_id}/nonces"
        wanted = site.fields(level="UPDATE", max_uses=-1)
        nonce = site.post(path, json_body=wanted).result["id"]
        body = {"user": "jane", "level": "READ"}
        by_nonce = f"/actors/{actor_id}/permissions?x-nonce={nonce}"
        assert site.post(by_nonce, json_body=body, user=None).status == 200
        assert site.delete(f"{path}/{nonce}").status == 200
        reply = site.get("/actors/admin/audit")
        assert nonce not in reply.body.decode()
        assert nonce.rpartition("_")[2] not in reply.body.decode()
        created, granted, deleted = reply.result[1:]
        mark = fingerprint(nonce)
        assert created["detail"] == {"nonce": mark, "level": "UPDATE", "max_uses": "-1"}
        assert (granted["proof"], granted["user"]) == (f"nonce:{mark}", "testuser")
        assert (deleted["action"], deleted["detail"]) == ("nonce.delete", {"nonce": mark})

    def test_configs_without_their_values(self, site):
        config = {"name": "c", "value": "hunter2", "actors": site.register()}
        wanted = {**config, site.name("is_secret"): True}
        assert site.post("/actors/configs", json_body=wanted).status == 200
        site.put("/actors/configs/c", json_body={**wanted, "value": "hunter3"})
        site.post("/actors/configs/c/permissions", json_body={"user": "jane", "level": "READ"})
        site.delete("/actors/configs/c")
        reply = site.get("/actors/admin/audit")
        assert "hunter" not in reply.body.decode()
        assert [(r["action"], r["object"], r["detail"]) for r in reply.result[1:]] == [
            ("config.create", "config:c", {"secret": "True"}),
            ("config.update", "config:c", {"secret": "True"}),
            ("permission.grant", "config:c", {"user": "jane", "level": "READ"}),
            ("config.delete", "config:c", {}),
        ]

    def test_messages_and_reading_are_no_matter_of_it(self, site, monkeypatch):
        actor_id = site.register()
        before = log(site)

        async def fail(_):
            raise AssertionError("the audit log was written")

        monkeypatch.setattr(site.services.stores.audit, "append", fail)
        site.send(actor_id)
        for path in (f"/actors/{actor_id}", "/actors", "/actors/admin", "/admin/dashboard"):
            assert site.get(path).status == 200
        assert site.request("HEAD", "/actors/admin").status == 200
        assert site.request("OPTIONS", "/actors").status == 200
        assert log(site) == before

    def test_what_is_only_wrong_changes_nothing_and_is_not_recorded(self, site):
        site.post("/actors", json_body={})
        site.post("/actors", body=b"{", headers={"Content-Type": "application/json"})
        site.delete("/actors/aliases/nobody")
        site.put("/actors/yP0PDpZWG38Bg", json_body={"image": "x"})
        assert log(site) == []

    def test_refusals_are_recorded_with_who_tried(self, site):
        actor_id = site.register()
        site.get("/actors/admin", user="jane")
        site.request("HEAD", "/admin/dashboard", user="jane")
        site.post(f"/actors/{actor_id}/workers", form={"num": 2}, user="jane")
        site.delete(f"/actors/{actor_id}", user="testshareuser")
        records = log(site)[1:]
        assert [(r["action"], r["user"], r["object"], r["outcome"]) for r in records] == [
            ("admin.actors", "jane", "", "refused"),
            ("admin.dashboard", "jane", "", "refused"),
            ("worker.ensure", "jane", f"actor:{actor_id}", "refused"),
            ("actor.delete", "testshareuser", f"actor:{actor_id}", "refused"),
        ]
        assert {record["status"] for record in records} == {400}

    def test_nobody_without_a_proof_can_fill_it(self, site):
        for path in ("/actors/admin", "/admin/dashboard"):
            assert site.get(path, user=None).status == 400
        assert site.post("/actors", json_body={"image": "x"}, user=None).status == 400
        assert log(site) == []

    def test_a_long_name_is_cut(self, snake):
        snake.delete(f"/actors/{'x' * 200}%0A", user="jane")
        assert log(snake) == []  # no such actor: nothing was refused
        snake.register(image="a" * 200)
        assert all(len(record["object"]) < 300 for record in log(snake))

    @pytest.mark.usefixtures("expected_errors")
    def test_a_fault_of_ours_is_recorded_as_one(self, snake, monkeypatch):
        async def broken(*_, **__):
            raise RuntimeError("a bug, on purpose")

        monkeypatch.setattr(snake.services.stores.actors, "insert", broken)
        assert snake.post("/actors", json_body={"image": "x"}).status == 500
        (record,) = log(snake)
        assert (record["outcome"], record["status"]) == ("failed", 500)
        assert "bug" not in str(record)


class TestOrder:
    def test_the_answer_waits_for_the_record(self, snake, monkeypatch):
        steps = []
        real = snake.services.stores.audit.append

        async def slow(record):
            await asyncio.sleep(0.05)
            steps.append("written")
            return await real(record)

        monkeypatch.setattr(snake.services.stores.audit, "append", slow)
        snake.register()
        steps.append("answered")
        assert steps == ["written", "answered"]

    def test_a_client_that_leaves_takes_no_record_along(self, snake, monkeypatch):
        real, gate = snake.services.stores.audit.append, asyncio.Event()

        async def slow(record):
            await gate.wait()
            return await real(record)

        monkeypatch.setattr(snake.services.stores.audit, "append", slow)

        async def leave():
            _, writer = await asyncio.open_connection("127.0.0.1", snake.port)
            writer.write(
                f"POST /actors HTTP/1.1\r\nHost: h\r\nX-Jwt-Assertion-{TENANT}:"
                f" {make_token('jane')}\r\nContent-Length: 17\r\n\r\n".encode()
                + b'{"image": "busy"}'
            )
            await asyncio.sleep(0.1)
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(0.05)
            gate.set()
            await asyncio.sleep(0.05)

        snake.run(leave())
        assert actions(snake) == [("actor.register", "done")]

    def test_requests_on_one_connection_are_answered_in_order(self, snake):
        head = f"Host: h\r\nX-Jwt-Assertion-{TENANT}: {make_token('jane')}\r\n"
        post = f"POST /actors HTTP/1.1\r\n{head}Content-Length: 17\r\n\r\n".encode()
        get = f"GET /actors HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode()
        answer = snake.run(snake.raw(post + b'{"image": "busy"}' + get))
        assert answer.count(b"HTTP/1.1 200") == 2
        assert answer.index(b"Actor created") < answer.index(b"Actors retrieved")


class TestFailure:
    def test_a_record_that_cannot_be_written_goes_to_the_servers_log(
        self, snake, monkeypatch, caplog, expected_errors
    ):
        async def away(_):
            raise StoreUnavailableError("the store does not answer")

        before = failures(snake)
        monkeypatch.setattr(snake.services.stores.audit, "append", away)
        actor_id = snake.register()  # it is there: a client must not be told otherwise
        (line,) = [
            record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR
        ]
        assert "audit log could not be written" in line
        assert actor_id in line
        assert "actor.register" in line
        assert failures(snake) == before + 1


def failures(site):
    text = site.get("/metrics", user=None).body.decode()
    return float(re.search(r"^abaco_audit_failures_total (\S+)$", text, re.M)[1])


class TestPages:
    @pytest.fixture
    def filled(self, site):
        now = datetime.now(UTC)

        async def fill():
            for number in range(5):
                time = now - timedelta(hours=5 - number)
                await site.services.stores.audit.append(
                    an_audit_record(time=time, user=f"user{number}")
                )

        site.run(fill())
        return now

    def test_after_and_limit(self, site, filled):
        first = log(site, "?limit=2")
        assert [record["user"] for record in first] == ["user0", "user1"]
        second = log(site, f"?after={first[-1]['id']}&limit=2")
        assert [record["user"] for record in second] == ["user2", "user3"]
        assert len(log(site, f"?after={second[-1]['id']}&limit=2")) == 1

    def test_since(self, site, filled):
        start = (filled - timedelta(hours=2, minutes=30)).isoformat().replace("+", "%2B")
        assert [record["user"] for record in log(site, f"?since={start}")] == ["user3", "user4"]
        small = f"{filled - timedelta(minutes=90):%Y-%m-%dt%H:%M:%Sz}"
        assert [record["user"] for record in log(site, f"?since={small}")] == ["user4"]

    @pytest.mark.parametrize(
        ("time", "count"),
        [("0001-01-01T00:00:00%2B23:59", 5), ("9999-12-31T23:59:59-23:59", 0)],
    )
    def test_the_ends_of_time(self, site, filled, time, count):
        assert len(log(site, f"?since={time}")) == count

    @pytest.mark.parametrize(
        ("query", "name"),
        [
            ("after=-1", "after"),
            ("after=x", "after"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("since=yesterday", "since"),
            ("since=2026-01-31T12:00:00", "since"),
            ("since=2026-02-31T12:00:00Z", "since"),
            ("since=2026-01-31T12:00:00+01:00", "since"),
            ("after=99999999999999999999", "after"),
        ],
    )
    def test_wrong_values_name_the_parameter(self, site, query, name):
        assert name in site.get(f"/actors/admin/audit?{query}").error

    def test_others_cannot_read_it(self, site):
        site.register(user="jane")
        for user in ("jane", "testshareuser", "testotheruser"):
            assert "administrators" in site.get("/actors/admin/audit", user=user).error

    def test_nobody_can_change_it(self, site):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert site.request(method, "/actors/admin/audit").status == 405


class TestRules:
    @pytest.mark.parametrize(
        ("status", "raised", "is_reading", "expected"),
        [
            (200, None, False, AuditOutcome.DONE),
            (200, None, True, None),
            (400, ForbiddenError("no"), False, AuditOutcome.REFUSED),
            (403, ForbiddenError("no"), True, AuditOutcome.REFUSED),
            (400, UnauthenticatedError("who?"), False, AuditOutcome.REFUSED),
            (404, NotFoundError("no"), False, None),
            (500, RuntimeError("bug"), False, AuditOutcome.FAILED),
            (503, StoreUnavailableError("away"), True, None),
            (503, StoreUnavailableError("away"), False, AuditOutcome.FAILED),
        ],
    )
    def test_how_it_ended(self, status, raised, is_reading, expected):
        assert outcome_of(status, raised, is_reading=is_reading) is expected

    def test_what_was_asked_for(self):
        assert named_object(Scope.ACTOR, ["a\n"]) == "actor:a\ufffd"
        assert named_object(Scope.NOTHING, ["a"]) == ""
        assert named_object(Scope.ALIAS, []) == ""

    def test_records_have_no_room_for_bodies(self):
        names = {field.name for field in dataclasses.fields(an_audit_record())}
        assert not names & {"body", "query", "headers", "message", "nonce", "token"}


def test_open_access_says_so(open_site):
    open_site.register(user=None)
    (record,) = open_site.get("/actors/admin/audit", user=None).result
    assert (record["proof"], record["user"]) == ("open", "anonymous")


@pytest.fixture
def open_site():
    settings = Settings(general={"tag": "test-tag"}, web={"access_control": "none"})
    with opened(settings) as site:
        yield site
