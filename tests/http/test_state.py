"""/actors/{id}/state."""

import pytest

VALUES = [{}, {"a": [1, None]}, [], [1], "abc", "", 0, 1.5, -1, True, False, None, 10**30]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_any_json_value(site, value):
    actor_id = site.register(stateless=False)
    before = site.get(f"/actors/{actor_id}").result
    # a body of JSON null is a value; only no body at all is missing
    body = {"headers": {"Content-Type": "application/json"}, "body": b"null"}
    reply = site.post(
        f"/actors/{actor_id}/state", **(body if value is None else {"json_body": value})
    )
    assert reply.result == {**before, "state": value} or (
        value is None and reply.result.get("state") is None
    )
    assert site.get(f"/actors/{actor_id}/state").result == {"state": value}


def test_at_first_it_is_empty(site):
    for stateless in (True, False):
        actor_id = site.register(stateless=stateless)
        assert site.get(f"/actors/{actor_id}/state").result == {"state": {}}


@pytest.mark.parametrize("body", [b"not quoted", b"{'a': 1}", "gr\u00fc\u00dfe".encode(), b'{"a":'])
def test_text_that_is_no_json_is_a_string(site, body):
    actor_id = site.register(stateless=False)
    headers = {"Content-Type": "application/json; charset=utf-8"}
    reply = site.post(f"/actors/{actor_id}/state", body=body, headers=headers)
    assert reply.result["state"] == body.decode()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"  ", "application/json"),
        (b"a=1", "application/x-www-form-urlencoded"),
        (b"text", "text/plain"),
        (b"\xff", "application/json"),
        (b"NaN", "application/json"),
        (b"nul\0", "application/json"),
        (b'"' + b"x" * 140_000 + b'"', "application/json"),
    ],
)
def test_refused(site, body, content_type):
    actor_id = site.register(stateless=False)
    reply = site.post(
        f"/actors/{actor_id}/state", body=body, headers={"Content-Type": content_type}
    )
    assert reply.status == 400
    assert site.get(f"/actors/{actor_id}/state").result == {"state": {}}


def test_stateless_actors_have_none(site):
    actor_id = site.register()
    reply = site.post(f"/actors/{actor_id}/state", json_body={"a": 1})
    assert reply.status == 404
    assert "register it with stateless: false" in reply.error
    assert site.post(f"/actors/{actor_id}/state", form={"a": 1}).status >= 399


def test_others_may_not(site):
    actor_id = site.register(stateless=False, user="jane")
    for method in ("GET", "POST"):
        reply = site.request(
            method, f"/actors/{actor_id}/state", json_body={"a": 1}, user="testotheruser"
        )
        assert "you do not have access to this actor" in reply.error


def test_the_next_execution_gets_it(site):
    actor_id = site.register(stateless=False)
    site.post(f"/actors/{actor_id}/state", json_body={"n": 7})
    site.send(actor_id)
    assert site.run(site.player.claim(site.key(actor_id))).actor.state == {"n": 7}
