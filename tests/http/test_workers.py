"""/actors/{id}/workers."""

import pytest

from abaco.domain.actor import ActorStatus
from abaco.ports.notices import Topic


@pytest.fixture
def actor_id(site):
    return site.register(stateless=False)


def raised(site, actor_id):
    site.run(site.player.raise_workers(site.key(actor_id)))
    return site.get(f"/actors/{actor_id}/workers").result


def test_fields(site, actor_id):
    (worker,) = raised(site, actor_id)
    assert worker["status"] == "READY"
    for name in ("id", "image", "location", "cid", "tenant"):
        assert worker[name], name
    assert worker[site.name("ch_name")] == f"worker_{worker['id']}"
    assert worker[site.name("last_execution_time")] == "None"
    assert worker[site.name("last_health_check_time")].endswith("Z")
    assert worker[site.name("create_time")].endswith("Z")
    assert worker["tenant"] == "DEV-DEVELOP"
    assert {site.name("host_id"), site.name("host_ip")} <= set(worker)
    assert site.get(f"/actors/{actor_id}/workers/{worker['id']}").result == worker


def test_while_and_after_a_run(site, actor_id):
    site.send(actor_id)
    claim = site.run(site.player.start(site.key(actor_id)))
    (busy,) = site.get(f"/actors/{actor_id}/workers").result
    assert (busy["status"], busy["cid"]) == ("BUSY", f"box-{claim.execution.id}")
    site.run(site.player.end(claim))
    (ready,) = site.get(f"/actors/{actor_id}/workers").result
    assert ready["status"] == "READY"
    assert ready[site.name("last_execution_time")].endswith("Z")


def test_before_they_are_up(site, actor_id):
    (worker,) = site.get(f"/actors/{actor_id}/workers").result
    assert worker["status"] == "REQUESTED"


def test_no_put(site, actor_id):
    assert site.put(f"/actors/{actor_id}/workers", json_body={"num": 1}).status == 405


def test_ensure(site, actor_id):
    path = f"/actors/{actor_id}/workers"
    reply = site.post(path)
    assert reply.result is None
    assert len(site.get(path).result) == 1
    with site.services.notices.subscribe(Topic.POOL) as pool:
        assert site.post(path, json_body={"num": 2}).result is None
        assert list(pool.take()) == [site.key(actor_id)]
    assert len(site.get(path).result) == 2
    # at least, never fewer
    assert site.post(path, form={"num": "1"}).result is None
    assert len(site.get(path).result) == 2
    assert site.post(f"{path}?num=3").result is None
    assert len(site.get(path).result) == 3


@pytest.mark.parametrize("num", [0, -1, 101, "two", 1.5, [2], True, ""])
def test_ensure_a_number(site, actor_id, num):
    assert "num" in site.post(f"/actors/{actor_id}/workers", json_body={"num": num}).error


class TestEnsureByOthers:
    """Who may update an actor may have the workers it would be brought by messages."""

    def ask(self, site, actor_id, num, user="jane"):
        path = f"/actors/{actor_id}/workers"
        return site.post(path, json_body={"num": num}, user=user)

    def test_as_many_as_its_messages_bring(self, make_site):
        site = make_site()
        actor_id = site.register(user="jane")
        assert self.ask(site, actor_id, 20).result is None
        assert len(site.get(f"/actors/{actor_id}/workers").result) == 20
        reply = self.ask(site, actor_id, 21)
        assert (reply.status, "may have 20 workers" in reply.error) == (400, True)
        assert self.ask(site, actor_id, 21, user="testuser").result is None

    def test_a_limit_of_its_own_counts(self, site):
        body = site.fields(max_workers=3)
        actor_id = site.register(**body)
        path = f"/actors/{actor_id}/permissions"
        site.post(path, json_body={"user": "jane", "level": "UPDATE"})
        assert self.ask(site, actor_id, 3).result is None
        assert "may have 3 workers" in self.ask(site, actor_id, 4).error

    def test_a_stateful_one_has_one(self, site):
        actor_id = site.register(user="jane", stateless=False)
        assert self.ask(site, actor_id, 1).result is None
        assert "may have 1 workers" in self.ask(site, actor_id, 2).error

    def test_to_send_messages_is_not_enough(self, site):
        actor_id = site.register()
        path = f"/actors/{actor_id}/permissions"
        site.post(path, json_body={"user": "jane", "level": "EXECUTE"})
        assert "do not have access" in self.ask(site, actor_id, 1).error


def test_ensure_while_the_actor_is_going(site, actor_id):
    actors = site.services.stores.actors
    key = site.key(actor_id)
    site.run(actors.set_status(key, ActorStatus.ERROR, "no image", expect=set(ActorStatus)))
    assert "ERROR" in site.post(f"/actors/{actor_id}/workers", json_body={"num": 2}).error


def test_delete(site, actor_id):
    (worker,) = raised(site, actor_id)
    path = f"/actors/{actor_id}/workers/{worker['id']}"
    for _ in range(2):
        with site.services.notices.subscribe(Topic.POOL) as pool:
            assert site.delete(path).result is None
            assert list(pool.take()) == [site.key(actor_id)]
        assert site.get(path).result["status"] == "SHUTDOWN_REQUESTED"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("worker_id", ["nope", "0" * 13, "x" * 1000, "%2e%2e"])
def test_unknown(site, actor_id, method, worker_id):
    assert site.request(method, f"/actors/{actor_id}/workers/{worker_id}").status == 404


def test_others_may_not(site):
    actor_id = site.register(user="jane")
    (worker,) = site.get(f"/actors/{actor_id}/workers").result
    for path in ("", f"/{worker['id']}"):
        reply = site.get(f"/actors/{actor_id}/workers{path}", user="testotheruser")
        assert "do not have access" in reply.error
