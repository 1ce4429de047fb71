"""/metrics: what is shown, at which cost, with which labels, and on which port."""

import asyncio
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tornado.netutil import bind_sockets

from abaco.app import App
from abaco.config import Settings
from abaco.domain.health import AgentReport
from abaco.errors import ConfigError, StoreUnavailableError
from abaco.operations import exposition
from abaco.settings import WebSettings
from handlers.entry import label_of
from handlers.routes import INTERNAL, OPERATING, ROUTES, make_internal_application
from handlers.server import make_server
from tests.http.site import TENANT


def scrape(site):
    """Return the samples by name and labels."""
    reply = site.get("/metrics", user=None)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(reply.body.decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def one(samples, name, /, **labels):
    return samples[(name, *sorted(labels.items()))]


def names(samples, name):
    return [dict(key[1:]) for key in samples if key[0] == name]


class TestRecords:
    def test_queues_and_workers(self, snake):
        first, second = snake.register(), snake.register(tenant="OTHER")
        for _ in range(2):
            snake.send(first)
        snake.send(second, tenant="OTHER")
        snake.run(snake.player.start(snake.key(first)))
        samples = scrape(snake)
        states = {"accepted": 3, "queued": 2, "leased": 1, "final": 0}
        for state, count in states.items():
            assert one(samples, "abaco_messages", state=state) == count
        assert one(samples, "abaco_mailbox_messages", tenant=TENANT) == 1
        assert one(samples, "abaco_mailbox_messages", tenant="OTHER") == 1
        for tenant, actor in ((TENANT, first), ("OTHER", second)):
            assert one(samples, "abaco_actor_messages", tenant=tenant, actor=actor) == 1
            assert one(samples, "abaco_actor_workers", tenant=tenant, actor=actor) == 1
        assert one(samples, "abaco_workers", status="BUSY", queue="default") == 1
        assert one(samples, "abaco_workers", status="REQUESTED", queue="default") == 1
        assert one(samples, "abaco_workers", status="ERROR", queue="default") == 0
        assert one(samples, "abaco_command_backlog", queue="default") == 1
        assert one(samples, "message_count_for_command_channel", name="default") == 1
        assert one(samples, "abaco_actors") == 2

    def test_what_is_over_leaves_no_series_behind(self, snake):
        actor_id = snake.register()
        snake.send(actor_id)
        assert names(scrape(snake), "abaco_actor_messages")
        snake.delete(f"/actors/{actor_id}/messages")
        samples = scrape(snake)
        assert names(samples, "abaco_actor_messages") == []
        assert names(samples, "abaco_mailbox_messages") == []
        assert one(samples, "abaco_messages", state="final") == 1

    def test_only_the_longest_queues_have_series(self, snake, monkeypatch):
        monkeypatch.setattr(exposition, "SHOWN", 2)
        ids = [snake.register(tenant=f"T{number}") for number in range(4)]
        for number, actor_id in enumerate(ids):
            for _ in range(number + 1):
                snake.send(actor_id, tenant=f"T{number}")
        samples = scrape(snake)
        shown = {labels["actor"] for labels in names(samples, "abaco_actor_messages")}
        assert shown == set(ids[2:])
        tenants = {labels["tenant"] for labels in names(samples, "abaco_mailbox_messages")}
        assert tenants == {"T2", "T3"}

    def test_asking_changes_nothing_and_costs_a_few_calls(self, snake, monkeypatch):
        for _ in range(5):
            snake.send(snake.register())
        calls = []
        usage, workers = snake.services.stores.usage, snake.services.stores.workers

        def counted(method):
            async def call(*args, **kwargs):
                calls.append(method.__name__)
                return await method(*args, **kwargs)

            return call

        for store in (usage, workers, snake.services.stores.actors):
            for name in (name for name in dir(store) if not name.startswith("_")):
                monkeypatch.setattr(store, name, counted(getattr(store, name)))
        first, second = scrape(snake), scrape(snake)
        assert len(calls) == 2 * (4 + 5)
        kept = ("abaco_messages", "abaco_workers", "abaco_actor_messages", "abaco_executions_total")
        for key in first:
            if key[0] in kept:
                assert first[key] == second[key]

    def test_purged_and_deleted_messages_are_counted_executions(self, snake):
        label = {"status": "ERROR", "reason": "purged"}
        actor_id = snake.register()
        snake.send(actor_id)
        snake.delete(f"/actors/{actor_id}/messages")
        before = one(scrape(snake), "abaco_executions_total", **label)
        snake.send(actor_id)
        snake.send(actor_id)
        snake.delete(f"/actors/{actor_id}/messages")
        assert one(scrape(snake), "abaco_executions_total", **label) == before + 2

    @pytest.mark.usefixtures("expected_errors")
    def test_a_store_that_is_away(self, snake, monkeypatch):
        async def away(*_):
            raise StoreUnavailableError("the store does not answer")

        monkeypatch.setattr(snake.services.stores.usage, "deepest", away)
        assert snake.get("/metrics", user=None).status == 503


class TestAgents:
    def test_lasting_ones_by_name_and_others_by_number(self, snake):
        snake.agents = [
            AgentReport(name="spawner", is_running=True, age_s=1, restart_count=3),
            AgentReport(name="reaper", is_running=False, age_s=1),
            AgentReport(name="worker-abc", is_running=True, age_s=1, is_lasting=False),
            AgentReport(name="worker-abd", is_running=True, age_s=1, is_lasting=False),
        ]
        samples = scrape(snake)
        assert one(samples, "abaco_agent_up", agent="spawner") == 1
        assert one(samples, "abaco_agent_up", agent="reaper") == 0
        assert one(samples, "abaco_agent_restarts_total", agent="spawner") == 3
        assert one(samples, "abaco_passing_agents", kind="worker") == 2
        assert "abc" not in str(samples)


class TestRequests:
    def count(self, site, **labels):
        samples = scrape(site)
        key = ("abaco_http_request_seconds_count", *sorted(labels.items()))
        return samples.get(key, 0)

    @pytest.mark.parametrize(
        ("method", "path", "route", "code"),
        [
            ("GET", "/actors/nobody", "/actors/{name}", 404),
            ("HEAD", "/actors/nobody/workers/w", "/actors/{name}/workers/{name}", 404),
            ("GET", "//actors/v2/utilization/", "/actors/utilization", 200),
            ("PUT", "/actors", "/actors", 405),
            ("GET", "/nowhere/secret-name", "unknown", 404),
        ],
    )  # fmt: skip
    def test_by_the_pattern_of_the_path(self, snake, method, path, route, code):
        labels = {"route": route, "method": method, "code": str(code)}
        before = self.count(snake, **labels)
        assert snake.request(method, path).status == code
        assert self.count(snake, **labels) == before + 1
        assert "secret-name" not in snake.get("/metrics", user=None).body.decode()

    def test_methods_nobody_knows_are_one(self, snake):
        before = self.count(snake, route="/actors", method="other", code="405")
        for method in ("BREW", "TRACE"):
            snake.request(method, "/actors")
        assert self.count(snake, route="/actors", method="other", code="405") == before + 2

    def test_a_body_above_the_limit(self, make_site):
        site = make_site(max_body_length=100, max_content_length=100)
        before = self.count(site, route="too large", method="POST", code="413")
        assert site.post("/actors", body=b"x" * 200).status == 413
        assert self.count(site, route="too large", method="POST", code="413") == before + 1

    def test_the_older_name(self, snake):
        before = one(scrape(snake), "request_processing_seconds_count")
        snake.get("/actors")
        assert one(scrape(snake), "request_processing_seconds_count") >= before + 2

    def test_labels_hold_no_pattern(self):
        labels = [label_of(route.path) for route in (*ROUTES, *OPERATING, *INTERNAL)]
        assert len(set(labels)) == len(labels)
        assert all(re.fullmatch(r"(/[a-z.-]+|/\{name\})+", label) for label in labels)


class TestPorts:
    @pytest.mark.parametrize(
        ("web", "is_shown"),
        [
            ({}, True),
            ({"address": "0.0.0.0"}, False),
            ({"internal_port": 9100}, False),
            ({"internal_port": 9100, "internal_address": "0.0.0.0"}, False),
        ],
    )
    def test_the_main_port_has_it_only_while_nobody_else_reaches_that(
        self, make_site, web, is_shown
    ):
        site = make_site(**web)
        assert site.get("/metrics", user=None).status == (200 if is_shown else 404)
        for path in ("/health", "/ready"):
            assert site.get(path, user=None).status == 200

    def test_the_internal_port_has_the_checks_and_the_metrics_and_nothing_else(self, make_site):
        site = make_site(internal_port=0)
        ports = []

        async def open_internal():
            application = make_internal_application(
                site.services, agents=lambda: site.agents, checks=site._check
            )
            sockets = bind_sockets(0, "127.0.0.1")
            ports.append(sockets[0].getsockname()[1])
            server = make_server(application, file_limit=1024, max_body_bytes=1000)
            server.add_sockets(sockets)
            site.stack.push_async_callback(site._stop, server)

        site.run(open_internal())
        (port,) = ports
        for path in ("/health", "/ready", "/metrics"):
            assert site.run(status(port, path)) == 200
        for path in ("/actors", "/docs", "/openapi.json", "/admin/dashboard", "/actors/admin"):
            assert site.run(status(port, path)) == 404

    def test_two_ports_that_are_one_stop_the_start(self):
        with pytest.raises(ValueError, match="must not be the port of everything else"):
            WebSettings(port=8000, internal_port=8000)
        assert WebSettings(port=0, internal_port=0).internal_port == 0
        assert not WebSettings(port=8000, internal_port=8001).shows_metrics


# Tornado leaves the socket it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*socket")
async def test_the_whole_application_opens_both(tmp_path):
    settings = Settings(
        general={"data_dir": tmp_path},
        store={"backend": "memory"},
        engine={"driver": "scripted"},
        web={"port": 0, "internal_port": 0},
    )
    app = App(settings)
    await app.start()
    try:
        assert 0 < app.port != app.internal_port > 0
        for port, path, expected in (
            (app.port, "/metrics", 404),
            (app.internal_port, "/metrics", 200),
            (app.internal_port, "/actors", 404),
            (app.internal_port, "/health", 200),
        ):
            assert await status(port, path) == expected
        taken = settings.model_copy(
            update={"web": settings.web.model_copy(update={"internal_port": app.internal_port})}
        )
        other = App(taken)
        with pytest.raises(ConfigError, match=r"web\.internal_port: cannot listen"):
            await other.start()
    finally:
        await app.stop()


async def status(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer[9:12])
