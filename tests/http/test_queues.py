"""The attributes queue and hints, and workers of actors on several queues."""

import pytest

from abaco.config import Settings
from tests.http.site import Site, jwt_settings


@pytest.fixture(params=["snake", "camel"])
def queues_site(request):
    base = jwt_settings(request.param, all_queues="default, special, gpu")
    spawner = base.spawner.model_copy(update={"host_queues": ("default", "special")})
    site = Site(Settings.model_validate({**dict(base), "spawner": spawner}))
    site.open()
    yield site
    site.close()


def body(**more):
    return {"image": "abacosamples/test", **more}


def test_a_queue_is_echoed(queues_site):
    made = queues_site.post("/actors", json_body=body(queue="special")).result
    assert made["queue"] == "special"
    assert queues_site.get(f"/actors/{made['id']}").result["queue"] == "special"


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("form", [True, False])
def test_an_unknown_queue_is_named(queues_site, method, form):
    path = "/actors" if method == "POST" else f"/actors/{queues_site.register()}"
    sent = {"form" if form else "json_body": body(queue="tpu")}
    reply = queues_site.request(method, path, **sent)
    assert reply.status == 400
    assert "queue" in reply.error
    assert "'gpu'" in reply.error


def test_an_update_moves_an_actor_to_another_queue(queues_site):
    path = f"/actors/{queues_site.register()}"
    assert queues_site.put(path, json_body=body(queue="special")).result["queue"] == "special"
    assert queues_site.put(path, json_body=body()).result["queue"] == "default"


def test_others_than_privileged_users_may_only_name_the_default(queues_site):
    assert queues_site.post("/actors", json_body=body(queue="default"), user="jane").status == 200
    reply = queues_site.post("/actors", json_body=body(queue="special"), user="jane")
    assert (reply.status, "queue" in reply.error) == (400, True)


def test_an_actor_of_another_hosts_queue_has_no_workers(queues_site):
    actor_id = queues_site.register(queue="gpu")
    assert queues_site.get(f"/actors/{actor_id}/workers").result == []
    assert "'gpu'" in queues_site.post(f"/actors/{actor_id}/workers").error
    assert queues_site.post(f"/actors/{actor_id}/messages", form={"message": "x"}).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_hints_are_kept_as_they_are_sent(queues_site, method):
    path = "/actors" if method == "POST" else f"/actors/{queues_site.register()}"
    for sent, kept in (
        ({"form": body(hints=["sync", "fast", "7"])}, ["sync", "fast", "7"]),
        ({"json_body": body(hints=["sync"])}, ["sync"]),
        ({"json_body": body(hints="sync")}, ["sync"]),
        ({"json_body": body(hints=[])}, []),
        ({"json_body": body()}, []),
    ):
        assert queues_site.request(method, path, **sent).result["hints"] == kept


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("hint", ["a'b", 'a"b', "{a", "a}", "[a", "a]"])
def test_hints_with_quotes_or_brackets_are_refused(queues_site, method, hint):
    path = "/actors" if method == "POST" else f"/actors/{queues_site.register()}"
    reply = queues_site.request(method, path, json_body=body(hints=["ok", hint]))
    assert (reply.status, "hints" in reply.error) == (400, True)
