"""/actors/utilization, /actors/admin and the dashboard."""

import asyncio
import html
import json
import re

import pytest

from abaco.domain.permission import Level
from abaco.errors import StoreUnavailableError
from handlers import listing
from handlers.dashboard import POLICY
from tests.http.site import TENANT
from tests.support.records import an_actor

SECRET = "hunter2-in-the-environment"

SUMS = (
    "total_actors_{}",
    "total_actors_{}_with_executions",
    "total_executions_{}",
    "total_execution_runtime_{}",
    "total_execution_cpu_{}",
    "total_execution_io_{}",
)


def remove(site, actor_id, tenant=TENANT, user="testuser"):
    """Delete an actor and play the spawner that finishes it."""

    async def both():
        key = site.key(actor_id, tenant)
        deleting = site.fetch("DELETE", f"/actors/{actor_id}", user=user, tenant=tenant)
        return await asyncio.gather(deleting, site.player.retire(key))

    assert site.run(both())[0].status == 200


def run_one(site, actor_id, tenant=TENANT):
    site.send(actor_id, tenant=tenant)
    site.run(site.player.run(site.key(actor_id, tenant)))


class TestUtilization:
    def test_of_an_empty_instance(self, site):
        expected = {"currentActors": 0, "totalActors": 0, "workers": 0, "commandQueue": 0}
        assert site.get("/actors/utilization", user="jane").result == expected

    def test_it_counts_all_tenants_in_either_case_by_the_same_names(self, site):
        first = site.register()
        site.register(tenant="OTHER")
        site.run(site.player.raise_workers(site.key(first)))
        expected = {"currentActors": 2, "totalActors": 2, "workers": 2, "commandQueue": 1}
        assert site.get("/actors/utilization").result == expected
        remove(site, first)
        expected = {"currentActors": 1, "totalActors": 2, "workers": 1, "commandQueue": 1}
        assert site.get("/actors/v2/utilization", user="testotheruser").result == expected

    def test_somebody_must_ask(self, site):
        assert site.get("/actors/utilization", user=None).status == 400


class TestActors:
    def test_all_tenants_oldest_first_with_what_is_theirs(self, site):
        first = site.register(name="one", default_environment={"PASSWORD": SECRET})
        second = site.register(tenant="OTHER", user="jane", stateless=False)
        site.post(f"/actors/{second}/state", json_body=SECRET, tenant="OTHER", user="jane")
        run_one(site, first)
        site.send(first)
        reply = site.get("/actors/admin")
        assert SECRET not in reply.body.decode()
        one, two = reply.result
        assert (one["id"], one["tenant"], one["name"]) == (first, TENANT, "one")
        assert (two["id"], two["tenant"], two["owner"]) == (second, "OTHER", "jane")
        assert one[site.name("db_id")] == f"{TENANT}_{first}"
        assert one[site.name("api_server")] == "https://api.example.org"
        assert (one["messages"], one["executions"], one["runtime"]) == (1, 2, 2)
        assert (two["messages"], two["executions"], two["runtime"]) == (0, 0, 0)
        (worker,) = one["workers"]
        assert worker == site.get(f"/actors/{first}/workers").result[0]
        for actor in (one, two):
            assert not {"state", site.name("default_environment"), "_links"} & set(actor)

    def test_a_long_list_is_sent_in_slices(self, snake, monkeypatch):
        monkeypatch.setattr(listing, "SLICE_ITEMS", 3)
        monkeypatch.setattr("abaco.operations.reports._ACTORS_PAGE", 2)
        ids = [snake.register() for _ in range(8)]
        reply = snake.get("/actors/admin")
        assert "Transfer-Encoding" in reply.headers
        assert [actor["id"] for actor in reply.result] == ids

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
    def test_every_number_of_actors_around_a_page(self, snake, monkeypatch, count):
        monkeypatch.setattr("abaco.operations.reports._ACTORS_PAGE", 2)
        ids = [snake.register() for _ in range(count)]
        assert [actor["id"] for actor in snake.get("/actors/admin").result] == ids


class TestWorkers:
    def test_counts_and_list(self, site):
        first, second = site.register(), site.register(tenant="OTHER")
        site.run(site.services.stores.actors.insert(site_actor(site)))
        site.post(f"/actors/{first}/workers", form={"num": 2})
        site.send(first)
        site.run(site.player.start(site.key(first)))
        result = site.get("/actors/admin/workers").result
        assert result["summary"] == site.fields(
            total_workers=3,
            ready_workers=1,
            requested_workers=1,
            error_workers=0,
            busy_workers=1,
            actors_no_workers=1,
        )
        assert [worker[site.name("actor_id")] for worker in result["workers"]].count(first) == 2
        named = {worker[site.name("actor_dbid")] for worker in result["workers"]}
        assert named == {f"{TENANT}_{first}", f"OTHER_{second}"}
        shown = site.get(f"/actors/{second}/workers", tenant="OTHER").result[0]
        assert {**shown, **site.fields(actor_id=second, actor_dbid=f"OTHER_{second}")} in (
            result["workers"]
        )

    def test_pages(self, snake, monkeypatch):
        monkeypatch.setattr("abaco.operations.reports._WORKERS_PAGE", 2)
        ids = [snake.register() for _ in range(5)]
        workers = snake.get("/actors/admin/workers").result["workers"]
        assert {worker["actor_id"] for worker in workers} == set(ids)
        assert len(workers) == 5


def site_actor(site):
    """Build an actor that has no worker."""
    return an_actor(tenant=TENANT)


class TestExecutions:
    def sums(self, site, which, *values):
        return {
            site.name(name.format(which)): value for name, value in zip(SUMS, values, strict=True)
        }

    def test_sums_know_the_deleted_and_the_list_those_that_exist(self, site):
        kept, gone, idle = site.register(), site.register(tenant="OTHER"), site.register()
        run_one(site, kept)
        run_one(site, gone, "OTHER")
        run_one(site, gone, "OTHER")
        remove(site, gone, "OTHER")
        result = site.get("/actors/admin/executions").result
        assert result["summary"] == {
            **self.sums(site, "all", 3, 2, 3, 7, 15_000_000, 3_072),
            **self.sums(site, "existing", 2, 1, 1, 2, 5_000_000, 1_024),
        }
        used, unused = result["actors"]
        assert used == site.fields(
            actor_id=kept,
            owner="testuser",
            image="abacosamples/test",
            total_executions=1,
            total_execution_cpu=5_000_000,
            total_execution_io=1_024,
            total_execution_runtime=2,
        )
        assert unused[site.name("actor_id")] == idle
        assert unused[site.name("total_executions")] == 0

    def test_purged_messages_count(self, site):
        actor_id = site.register()
        site.send(actor_id)
        site.delete(f"/actors/{actor_id}/messages")
        summary = site.get("/actors/admin/executions").result["summary"]
        assert summary[site.name("total_executions_all")] == 1


@pytest.mark.parametrize(
    "path", ["/actors/admin", "/actors/admin/workers", "/actors/admin/executions"]
)
@pytest.mark.usefixtures("expected_errors")
def test_a_store_that_is_away_is_503_and_never_half_a_list(snake, monkeypatch, path):
    snake.register()

    async def away(**_):
        raise StoreUnavailableError("the store does not answer")

    for method in ("list_actors", "list_workers"):
        monkeypatch.setattr(snake.services.stores.usage, method, away)
    assert snake.get(path).status == 503


class TestDashboard:
    def page(self, site, path="/admin/dashboard", **options):
        reply = site.get(path, **options)
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        return reply.body.decode()

    def cells(self, text):
        rows = re.findall(r"<tr>(.*?)</tr>", text, re.S)
        return [
            [html.unescape(cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)]
            for row in rows
        ]

    def test_it_shows_actors_of_all_tenants_with_their_workers(self, site):
        first, second = site.register(name="one"), site.register(tenant="OTHER")
        run_one(site, first)
        site.post(f"/actors/{second}/workers", form={"num": 2}, tenant="OTHER")
        site.send(second, tenant="OTHER")
        cells = self.cells(self.page(site))
        (one,) = [row for row in cells if first in row]
        assert one[:9] == [
            TENANT,
            first,
            "one",
            "abacosamples/test",
            "testuser",
            "READY",
            "0",
            "1",
            "2",
        ]
        assert re.fullmatch(r"[0-9TZ:.-]{24}", one[9])
        assert len(one) == 15
        assert one[14] == "READY"
        (two,) = [row for row in cells if second in row]
        assert two[6] == "1"
        assert two[12:] == ["", "", "REQUESTED"]
        assert len([row for row in cells if row[-1:] == ["REQUESTED"]]) == 2
        assert ["2", "2", "3", "2", "2", "2"] in cells

    def test_what_users_choose_is_text_and_nothing_else(self, site):
        evil = "<script>alert('x')</script>"
        site.register(name=evil, description=evil, image="a/b")
        text = self.page(site)
        assert html.escape(evil) in text
        assert "<script" not in text.lower()

    def test_it_fetches_and_runs_nothing(self, snake):
        reply = snake.get("/admin/dashboard")
        assert reply.headers["Content-Security-Policy"] == POLICY
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert not re.search(rb"<script|src=|<link|@import|url\(|http", reply.body)

    def test_a_form_of_the_older_system_shows_the_same(self, snake):
        form = {"base_url": "http://x", "jwt_header": "h", "jwt": "secret-token"}
        reply = snake.post("/admin/dashboard", form=form)
        assert reply.status == 200
        assert b"secret-token" not in reply.body
        assert reply.body == snake.get("/admin/dashboard").body

    def test_a_long_list_has_pages(self, snake, monkeypatch):
        monkeypatch.setattr("abaco.operations.reports._ACTORS_PAGE", 3)
        ids = [snake.register() for _ in range(7)]
        path, seen = "/admin/dashboard", []
        while path:
            text = self.page(snake, path)
            seen += [name for name in ids if name in self.cells_of_first_column(text)]
            link = re.search(r'<a href="([^"]+)"', text)
            path = "/admin/dashboard" + html.unescape(link[1]) if link else None
        assert seen == ids

    def cells_of_first_column(self, text):
        return {row[1] for row in self.cells(text) if len(row) > 10}

    def test_a_page_after_an_actor_that_is_gone(self, snake):
        reply = snake.get("/admin/dashboard?tenant=X&actor=nobody")
        assert reply.status == 404

    def test_only_administrators(self, site):
        for user in ("jane", "testshareuser", None):
            for method in ("GET", "POST"):
                reply = site.request(method, "/admin/dashboard", user=user)
                assert reply.status == 400
                assert reply.headers["Content-Type"] == "application/json"


def test_of_a_webhook_only_whom_it_calls_is_shown(site):
    nonce = "DEV_0123456789abcdef0123456789abcdef"
    site.register(webhook=f"https://hooks.example.org:8443/T0/secret?x-nonce={nonce}", user="jane")
    (listed,) = site.get("/actors/admin").result
    assert listed["webhook"] == "https://hooks.example.org:8443/***"
    assert nonce not in site.get("/admin/dashboard").body.decode()


def test_admin_lists_show_more_than_what_is_shared(snake):
    actor_id = snake.register(user="jane")
    assert snake.get("/actors").result == []
    assert [actor["id"] for actor in snake.get("/actors/admin").result] == [actor_id]
    key = snake.key(actor_id).shared
    levels = snake.run(snake.services.stores.permissions.levels(key))
    assert dict(levels) == {"jane": Level.UPDATE}


def test_answers_are_plain_json(site):
    for path in ("", "/workers", "/executions", "/audit"):
        reply = site.get(f"/actors/admin{path}")
        assert json.loads(reply.body)["status"] == "success"
