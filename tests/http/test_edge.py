"""Paths, methods, envelope, CORS, failures of ours, the access log, and operating endpoints."""

import asyncio
import dataclasses
import logging
from datetime import UTC, datetime

import pytest

from abaco import errors
from abaco.domain.health import AgentReport, CheckReport
from abaco.ports.notices import Topic
from handlers.base import MODERN_STATUS, STATUS, status_of
from handlers.routes import normalise
from tests.http.site import PUBLIC_KEY, make_token


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "normal"),
        [
            ("/actors", "/actors"),
            ("//actors", "/actors"),
            ("/actors/", "/actors"),
            ("/actors//", "/actors"),
            ("/actors/v2", "/actors"),
            ("//actors//v2//", "/actors"),
            ("/actors/v2/abc/state/", "/actors/abc/state"),
            ("/actors/v2x", "/actors/v2x"),
            ("/actors/v2/v2", "/actors/v2"),
            ("/", "/"),
            ("///", "/"),
            ("", ""),
        ],
    )
    def test_normal_form(self, path, normal):
        assert normalise(path) == normal

    @pytest.mark.parametrize(
        "form", ["/actors/{}", "//actors//{}/", "/actors/v2/{}", "/actors/v2//{}/"]
    )
    def test_every_form_is_answered(self, site, form):
        actor_id = site.register()
        assert site.get(form.format(actor_id)).result["id"] == actor_id

    @pytest.mark.parametrize(
        "path", ["/", "/nope", "/actor", "/actors/a/b", "/actors/a/executions/b/c", "/v2/actors"]
    )
    @pytest.mark.parametrize("user", ["testuser", None])
    def test_unknown_paths(self, snake, path, user):
        for method in ("GET", "POST", "OPTIONS", "BREW"):
            reply = snake.request(method, path, user=user)
            assert (reply.status, reply.envelope["status"]) == (
                404 if method != "BREW" else 405,
                "error",
            )

    @pytest.mark.parametrize("method", ["PATCH", "TRACE", "BREW", "PUT"])
    @pytest.mark.parametrize("user", ["testuser", None])
    def test_wrong_methods(self, snake, method, user):
        reply = snake.request(method, "/actors", user=user)
        assert (reply.status, reply.envelope["status"]) == (405, "error")
        assert reply.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


class TestCors:
    PATHS = ("/actors", "/actors/x/messages", "/actors/x/workers")

    def test_the_origin_is_echoed(self, site):
        reply = site.get("/actors", headers={"Origin": "https://app.example.org"})
        assert reply.result == []
        assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
        assert reply.headers["Vary"] == "Origin"

    def test_without_an_origin(self, snake):
        reply = snake.get("/actors")
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in reply.headers

    @pytest.mark.parametrize("path", PATHS)
    def test_preflight_needs_no_token(self, snake, path):
        headers = {
            "Origin": "https://app.example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "X-Requested-With, Content-Type",
        }
        reply = snake.request("OPTIONS", path, user=None, headers=headers)
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
        allowed = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
        assert reply.headers["Access-Control-Allow-Methods"] == allowed
        assert reply.headers["Access-Control-Allow-Headers"] == "X-Requested-With, Content-Type"
        assert "POST" in reply.headers["Allow"]

    def test_options_of_their_own(self, snake):
        reply = snake.request("OPTIONS", "/actors/x/workers/y", user=None)
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"
        assert "Access-Control-Allow-Headers" not in reply.headers

    @pytest.mark.parametrize("path", ["/actors/nope", "/nope"])
    def test_errors_carry_the_headers_too(self, snake, path):
        for options in ({}, {"user": None}):
            reply = snake.get(path, headers={"Origin": "https://a.b"}, **options)
            assert reply.headers["Access-Control-Allow-Origin"] == "https://a.b"


class TestErrorTable:
    def test_every_error_has_a_status(self):
        def walk(cls):
            yield cls
            for child in cls.__subclasses__():
                if child.__module__ == errors.__name__:
                    yield from walk(child)

        tree = set(walk(errors.AbacoError))
        assert len(tree) > 15
        assert set(STATUS) == tree
        assert set(MODERN_STATUS) <= tree

    def test_a_subclass_made_elsewhere_takes_its_parents(self):
        class Special(errors.NotFoundError):
            pass

        assert status_of(Special("x")) == 404

    def test_what_modern_changes(self):
        assert status_of(errors.UnauthenticatedError("x")) == 400
        assert status_of(errors.UnauthenticatedError("x"), modern=True) == 401
        assert status_of(errors.ForbiddenError("x"), modern=True) == 403
        assert status_of(errors.NotFoundError("x"), modern=True) == 404


class BrokenActors:
    """An actor store whose every call ends the same way."""

    def __init__(self, error):
        self._error = error

    def __getattr__(self, name):
        async def call(*args, **options):
            raise self._error

        return call


def breaking(site, error):
    """Serve the same stores once more, but with broken actors."""
    stores = dataclasses.replace(site.services.stores, actors=BrokenActors(error))

    async def serve():
        site.serve(dataclasses.replace(site.services, stores=stores))

    site.run(serve())
    return site


class TestFailures:
    def test_the_store_does_not_answer(self, site):
        actor_id = site.register()
        breaking(site, errors.StoreUnavailableError("the store does not answer"))
        for method, path in [
            ("GET", "/actors"),
            ("POST", "/actors?image=b"),
            ("GET", f"/actors/{actor_id}"),
            ("POST", f"/actors/{actor_id}/messages?message=m"),
        ]:
            reply = site.request(method, path)
            assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
            assert reply.envelope["status"] == "error"
            assert "the store does not answer" in reply.envelope["message"]

    @pytest.mark.usefixtures("expected_errors")
    @pytest.mark.parametrize(
        "error",
        [
            errors.StoreError("the store is corrupt", detail="page 5"),
            KeyError("secret"),
            ValueError(),
        ],
    )
    def test_faults_of_ours(self, site, error, caplog):
        breaking(site, error)
        reply = site.get("/actors")
        envelope = reply.envelope
        assert (reply.status, envelope["status"], envelope["result"]) == (500, "error", None)
        assert "Error" not in envelope["message"]
        assert "secret" not in envelope["message"]
        request_id = reply.headers["X-Request-Id"]
        assert request_id in envelope["message"]
        logged = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(logged) == 1
        assert request_id in logged[0].getMessage()
        assert logged[0].exc_info

    @pytest.mark.usefixtures("expected_errors")
    def test_tracebacks_when_asked_for(self, make_site):
        site = breaking(make_site(show_traceback=True), KeyError("secret"))
        message = site.get("/actors").envelope["message"]
        assert "Traceback" in message
        assert "KeyError: 'secret'" in message

    def test_refusals_have_no_traceback(self, make_site):
        site = make_site(show_traceback=True)
        assert "Traceback" not in site.get("/actors/nope").error

    def test_each_request_has_its_id(self, snake):
        ids = {snake.get("/actors").headers["X-Request-Id"] for _ in range(3)}
        assert len(ids) == 3


class TestAccessLog:
    def test_one_line_without_secrets(self, snake, caplog):
        caplog.set_level("DEBUG")
        token = make_token("testuser")
        headers = {"X-Jwt-Assertion-DEV-DEVELOP": token, "Authorization": "Bearer hush"}
        path = "/actors/nope/messages?x-nonce=NONCE&password=PASS"
        snake.post(path, user=None, headers=headers, form={"message": "BODY"})
        text = "\n".join(record.getMessage() for record in caplog.records)
        lines = [line for line in text.splitlines() if "POST /actors/nope/messages 404" in line]
        assert len(lines) == 1
        for secret in (token, token[-20:], "hush", "NONCE", "PASS", "BODY", PUBLIC_KEY):
            assert secret not in text

    def test_reading_is_routine(self, snake, caplog):
        caplog.set_level("DEBUG", logger="handlers.access")
        snake.get("/actors")
        snake.post("/actors", form={"image": "b"})
        snake.get("/actors/nope")
        levels = [r.levelname for r in caplog.records if r.name == "handlers.access"]
        assert levels == ["DEBUG", "INFO", "INFO"]


AGENT = AgentReport(
    name="spawner",
    is_running=True,
    age_s=12.34567,
    restart_count=1,
    last_failure="EngineUnavailableError: gone",
    last_failure_time=datetime(2024, 5, 1, 14, 45, 41, 591_999, tzinfo=UTC),
)
SHOWN = {
    "name": "spawner",
    "running": True,
    "age_s": 12.346,
    "restarts": 1,
    "last_failure": "EngineUnavailableError: gone",
    "last_failure_time": "2024-05-01T14:45:41.591Z",
}


class TestOperating:
    def test_health_needs_no_token_and_no_store(self, site):
        site.agents = [AGENT]
        breaking(site, errors.StoreUnavailableError("away"))
        assert site.get("/health", user=None).result == {"agents": [SHOWN]}

    def test_ready(self, site):
        site.agents = [AGENT]
        site.checks = [CheckReport(name="store", is_ok=True, detail="memory")]
        result = site.get("/ready", user=None).result
        checks = [{"name": "store", "ok": True, "detail": "memory"}]
        assert result == {"checks": checks, "agents": [SHOWN]}

    def test_not_ready(self, site):
        site.agents = [AGENT]
        site.checks = [
            CheckReport(name="store", is_ok=True, detail="memory"),
            CheckReport(name="engine", is_ok=False, detail="connection refused"),
        ]
        reply = site.get("/ready", user=None)
        assert reply.status == 503
        assert reply.envelope["message"] == "not ready: engine"
        assert reply.envelope["result"]["checks"][1]["detail"] == "connection refused"
        assert reply.envelope["result"]["agents"] == [SHOWN]

    def test_metrics(self, snake):
        reply = snake.get("/metrics", user=None)
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/plain")
        assert b"python_info" in reply.body


def test_a_client_that_leaves_early(snake):
    actor_id = snake.register()

    async def leave():
        _, writer = await asyncio.open_connection("127.0.0.1", snake.port)
        token = make_token("testuser")
        writer.write(
            f"DELETE /actors/{actor_id} HTTP/1.1\r\nHost: h\r\n"
            f"X-Jwt-Assertion-DEV-DEVELOP: {token}\r\n\r\n".encode()
        )
        with snake.services.notices.subscribe(Topic.ACTOR) as subscription:
            await subscription.wait()
            writer.close()
            await writer.wait_closed()
            await snake.player.retire(snake.key(actor_id))
        await asyncio.sleep(0.05)

    snake.run(leave())
    # what was begun was done, and nothing was logged as a fault
    assert snake.get("/actors").result == []


def test_many_at_once(snake):
    actor_id = snake.register()

    async def flood():
        return await asyncio.gather(
            *(
                snake.fetch("POST", f"/actors/{actor_id}/messages", form={"message": str(n)})
                for n in range(100)
            )
        )

    replies = snake.run(flood())
    assert {reply.status for reply in replies} == {200}
    assert snake.get(f"/actors/{actor_id}/messages").result["messages"] == 100
    executions = snake.get(f"/actors/{actor_id}/executions").result["executions"]
    assert len({item["id"] for item in executions}) == 100
