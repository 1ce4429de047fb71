"""/actors/{id}/messages/batch: many messages at once, all or none."""

import json

import pytest

from abaco.domain.context import python_text
from abaco.ports.notices import Topic


@pytest.fixture
def actor_id(site):
    return site.register()


def path(actor_id, query=""):
    return f"/actors/{actor_id}/messages/batch{query}"


def batch(*items):
    return {"messages": list(items)}


def claimed(site, actor_id, count):
    """Run the messages one after the other; return them as the workers got them."""
    return [site.run(site.player.run(site.key(actor_id))).message for _ in range(count)]


class TestPost:
    def test_ids_in_the_order_of_the_messages(self, site, actor_id):
        reply = site.post(path(actor_id), json_body=batch("a", "b", "c"))
        ids = reply.result[site.name("execution_ids")]
        messages = claimed(site, actor_id, 3)
        assert [(each.execution_id, each.body) for each in messages] == list(
            zip(ids, "abc", strict=True)
        )
        for id_ in ids:
            execution = site.get(f"/actors/{actor_id}/executions/{id_}").result
            assert (execution["status"], execution["executor"]) == ("COMPLETE", "testuser")

    def test_the_reply(self, site, actor_id):
        result = site.post(path(actor_id), json_body=batch(1)).result
        assert set(result) == {site.name("execution_ids"), "_links"}
        api = f"https://api.example.org/actors/v2/{actor_id}"
        assert result["_links"] == {
            "self": f"{api}/messages/batch",
            "owner": "https://api.example.org/profiles/v2/testuser",
            "messages": f"{api}/messages",
            "executions": f"{api}/executions",
        }

    @pytest.mark.parametrize(
        ("item", "body", "content_type"),
        [
            ("text", "text", "application/json"),
            ({"n": 1}, {"n": 1}, "application/json"),
            ([1, None], [1, None], "application/json"),
            (None, None, "application/json"),
            (0, 0, "application/json"),
            ({"message": "text"}, "text", "str"),
            ({"message": {"a": True}}, {"a": True}, "str"),
            ({"message": 0}, 0, "str"),
            ({"message": ""}, {"message": ""}, "application/json"),
            ({"environment": {"A": "1"}}, {"environment": {"A": "1"}}, "application/json"),
        ],
    )
    def test_an_item_is_what_a_single_json_message_would_be(
        self, site, actor_id, item, body, content_type
    ):
        site.post(path(actor_id), json_body=batch(item))
        (message,) = claimed(site, actor_id, 1)
        assert (message.body, message.content_type) == (body, content_type)
        single, headers = json.dumps(item).encode(), {"Content-Type": "application/json"}
        reply = site.post(f"/actors/{actor_id}/messages", body=single, headers=headers)
        shown = python_text(body) if content_type == "str" else body
        assert reply.result["msg"] == shown

    def test_variables_for_all_and_for_each(self, site, actor_id):
        items = [{"message": "a", "environment": {"X": "own", "N": 5}}, "b"]
        site.post(path(actor_id, "?X=all&Y=all&message=no"), json_body=batch(*items))
        first, second = claimed(site, actor_id, 2)
        assert dict(first.environment) == {"X": "own", "Y": "all", "N": "5"}
        assert dict(second.environment) == {"X": "all", "Y": "all"}

    def test_wakes_the_workers_once(self, site, actor_id):
        with site.services.notices.subscribe(Topic.MAILBOX) as subscription:
            site.post(path(actor_id), json_body=batch(*range(50)))
            assert subscription.take() == [site.key(actor_id)]
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 50

    def test_a_full_one(self, site, actor_id):
        reply = site.post(path(actor_id), json_body=batch(*range(1000)))
        assert len(set(reply.result[site.name("execution_ids")])) == 1000
        listed = site.get(f"/actors/{actor_id}/executions").result
        assert listed[site.name("total_executions")] == 1000

    def test_it_uses_a_nonce_once(self, site, actor_id):
        wanted = site.fields(level="EXECUTE", max_uses=2)
        nonce = site.post(f"/actors/{actor_id}/nonces", json_body=wanted).result["id"]
        url = path(actor_id, f"?x-nonce={nonce}")
        for left in (1, 0):
            site.post(url, json_body=batch(1, 2, 3), user=None)
            found = site.get(f"/actors/{actor_id}/nonces/{nonce}").result
            assert found[site.name("remaining_uses")] == left
        assert site.post(url, json_body=batch(1), user=None).status == 400
        messages = claimed(site, actor_id, 6)
        assert all(nonce not in str(each.environment) for each in messages)

    def test_by_alias(self, site, actor_id):
        site.post("/actors/aliases", json_body=site.fields(alias="many", actor_id=actor_id))
        result = site.post(path("many"), json_body=batch(1)).result
        assert actor_id in result["_links"]["self"]

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_no_other_method(self, site, actor_id, method):
        assert site.request(method, path(actor_id)).status == 405


class TestRefusals:
    @pytest.mark.parametrize(
        "body",
        [
            {},
            [],
            ["a"],
            "a",
            None,
            batch(),
            {"messages": None},
            {"messages": "abc"},
            {"messages": {"a": 1}},
            {"messages": 5},
            batch(*range(1001)),
        ],
    )
    def test_what_is_no_batch(self, site, actor_id, body):
        reply = site.post(path(actor_id), json_body=body)
        assert (reply.status, "messages" in reply.error) == (400, True)
        assert site.get(f"/actors/{actor_id}/messages").result["messages"] == 0

    @pytest.mark.parametrize(
        "options",
        [
            {"form": {"messages": "a"}},
            {"body": b'{"messages": [1', "headers": {"Content-Type": "application/json"}},
            {"body": b"x", "headers": {"Content-Type": "application/octet-stream"}},
            {},
        ],
    )
    def test_only_json(self, site, actor_id, options):
        assert site.post(path(actor_id), **options).status == 400

    @pytest.mark.parametrize(
        ("item", "words"),
        [
            ({"message": "m", "environment": ["A=1"]}, "item 2: environment must be"),
            ({"message": "m", "environment": {"A": {}}}, "item 2: a value in environment"),
            ({"message": "m", "environment": {"A": "\0"}}, "item 2"),
            ({"message": "m", "environment": {"": "x"}}, "item 2: '' cannot be the name"),
            ("nul\0", "item 2: 'message' has a NUL"),
            ("x" * 140_000, "item 2: message is too large"),
        ],
    )
    def test_one_bad_item_and_none_is_accepted(self, site, actor_id, item, words):
        reply = site.post(path(actor_id), json_body=batch("a", "b", item))
        assert reply.status == 400
        assert f"messages: {words}" in reply.error
        assert site.get(f"/actors/{actor_id}/executions").result["executions"] == []

    def test_nobody_waits_for_one(self, site, actor_id):
        reply = site.post(path(actor_id, "?_abaco_synchronous=true"), json_body=batch(1))
        assert "_abaco_synchronous" in reply.error
        assert site.post(path(actor_id, "?_abaco_synchronous=false"), json_body=batch(1)).result

    def test_an_actor_that_is_not_there(self, site):
        assert site.post(path(site.services.ids.new_id()), json_body=batch(1)).status == 404

    def test_the_limit_is_a_setting(self, make_site):
        site = make_site(max_batch=2)
        actor_id = site.register()
        assert site.post(path(actor_id), json_body=batch(1, 2)).status == 200
        assert "list of 1 to 2" in site.post(path(actor_id), json_body=batch(1, 2, 3)).error

    def test_a_body_above_the_limit(self, make_site):
        site = make_site(max_body_length=1000)
        actor_id = site.register()
        assert site.post(path(actor_id), json_body=batch("x" * 1000)).status == 413
