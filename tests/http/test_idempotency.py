"""Idempotency-Key: a repeated POST is answered like the first one, and runs nothing again."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from abaco.ports.notices import Topic
from tests.http.test_messages import site_headers

KEY = {"Idempotency-Key": "order-1"}


@pytest.fixture
def actor_id(site):
    return site.register()


def post(site, actor_id, body="hi", headers=KEY, query="", **options):
    url = f"/actors/{actor_id}/messages{query}"
    return site.post(url, json_body={"message": body}, headers=headers, **options)


def waiting(site, actor_id):
    return site.get(f"/actors/{actor_id}/messages").result["messages"]


def is_replay(reply):
    return reply.headers.get("Idempotency-Replayed") == "true"


class TestMessages:
    def test_the_same_reply_again(self, site, actor_id):
        first, again = (post(site, actor_id) for _ in range(2))
        assert first.result == again.result
        assert (is_replay(first), is_replay(again)) == (False, True)
        assert waiting(site, actor_id) == 1

    def test_also_when_the_execution_is_over(self, site, actor_id):
        first = post(site, actor_id)
        site.run(site.player.run(site.key(actor_id)))
        assert post(site, actor_id).result == first.result
        assert waiting(site, actor_id) == 0

    def test_without_a_key_everything_is_new(self, site, actor_id):
        replies = [post(site, actor_id, headers=None) for _ in range(2)]
        assert len({reply.result[site.name("execution_id")] for reply in replies}) == 2
        assert not any(is_replay(reply) for reply in replies)

    @pytest.mark.parametrize(
        "other",
        [{"body": "ho"}, {"query": "?A=1"}, {"body": ["hi"]}],
    )
    def test_a_key_for_another_request(self, site, actor_id, other):
        post(site, actor_id)
        reply = post(site, actor_id, **other)
        assert reply.status == 422
        assert "Idempotency-Key was used before" in reply.error
        assert "order-1" not in reply.error
        assert waiting(site, actor_id) == 1

    def test_a_form_and_json_that_say_the_same_are_the_same(self, site, actor_id):
        post(site, actor_id)
        reply = site.post(f"/actors/{actor_id}/messages", form={"message": "hi"}, headers=KEY)
        assert is_replay(reply)

    def test_another_user_or_actor_has_keys_of_its_own(self, site, actor_id):
        first = post(site, actor_id).result
        other = post(site, site.register()).result
        site.post(f"/actors/{actor_id}/permissions", json_body={"user": "jane", "level": "EXECUTE"})
        janes = post(site, actor_id, user="jane").result
        name = site.name("execution_id")
        assert len({first[name], other[name], janes[name]}) == 3

    def test_an_alias_names_the_same_actor(self, site, actor_id):
        site.post("/actors/aliases", json_body=site.fields(alias="shop", actor_id=actor_id))
        assert post(site, actor_id).result == post(site, "shop").result
        assert waiting(site, actor_id) == 1

    @pytest.mark.parametrize("key", ["", "x" * 256, "é"])
    def test_what_is_no_key(self, site, actor_id, key):
        reply = post(site, actor_id, headers={"Idempotency-Key": key})
        assert (reply.status, "Idempotency-Key must be" in reply.error) == (400, True)
        assert waiting(site, actor_id) == 0

    def test_two_keys_are_none(self, site, actor_id):
        head = (
            f"POST /actors/{actor_id}/messages?message=m HTTP/1.1\r\n"
            "Idempotency-Key: a\r\nIdempotency-Key: b\r\nConnection: close\r\n"
            f"{site_headers(site)}Content-Length: 0\r\n\r\n"
        )
        answer = site.run(site.raw(head.encode()))
        assert b" 400 " in answer
        assert b"more than one Idempotency-Key" in answer

    def test_of_32_at_once_one_runs(self, site, actor_id):
        async def race():
            return await asyncio.gather(
                *(
                    site.fetch(
                        "POST",
                        f"/actors/{actor_id}/messages",
                        json_body={"message": "hi"},
                        headers=KEY,
                    )
                    for _ in range(32)
                )
            )

        replies = site.run(race())
        assert len({reply.result[site.name("execution_id")] for reply in replies}) == 1
        assert sum(not is_replay(reply) for reply in replies) == 1
        assert waiting(site, actor_id) == 1

    def test_a_repeat_by_nonce(self, site, actor_id):
        wanted = site.fields(level="EXECUTE", max_uses=3)
        nonce = site.post(f"/actors/{actor_id}/nonces", json_body=wanted).result["id"]
        first, again = (
            post(site, actor_id, query=f"?x-nonce={nonce}", user=None) for _ in range(2)
        )
        assert first.result == again.result
        assert is_replay(again)
        # it acts as its owner, whose key this is too
        assert post(site, actor_id).result == first.result

    def test_a_key_is_forgotten_in_the_end(self, site, actor_id):
        first = post(site, actor_id).result
        after = site.services.clock.now() + timedelta(seconds=86_401)
        assert site.run(site.services.stores.intake.expire(after)) == 1
        assert post(site, actor_id).result != first

    def test_how_long_it_is_kept_is_a_setting(self, make_site):
        site = make_site()
        runtime = site.settings.runtime.model_copy(update={"idempotency_ttl": 1})
        services = replace(
            site.services, settings=site.settings.model_copy(update={"runtime": runtime})
        )

        async def serve():
            site.serve(services)

        site.run(serve())
        actor_id = site.register()
        post(site, actor_id)
        after = site.services.clock.now() + timedelta(seconds=2)
        assert site.run(site.services.stores.intake.expire(after)) == 1

    def test_keys_are_not_logged(self, site, actor_id, caplog):
        caplog.set_level("DEBUG")
        for body in ("hi", "hi", "ho"):
            post(site, actor_id, body)
        assert "order-1" not in caplog.text


class TestBatches:
    def post(self, site, actor_id, items, headers=KEY):
        url = f"/actors/{actor_id}/messages/batch"
        return site.post(url, json_body={"messages": items}, headers=headers)

    def test_the_same_ids_again(self, site, actor_id):
        first, again = (self.post(site, actor_id, [1, 2, 3]) for _ in range(2))
        assert first.result == again.result
        assert (is_replay(first), is_replay(again)) == (False, True)
        assert waiting(site, actor_id) == 3

    def test_another_batch_or_a_message_with_its_key(self, site, actor_id):
        self.post(site, actor_id, ["a"])
        assert self.post(site, actor_id, ["a", "a"]).status == 422
        assert site.post(f"/actors/{actor_id}/messages", json_body="a", headers=KEY).status == 422
        assert waiting(site, actor_id) == 1


class TestSynchronous:
    QUERY = "?_abaco_synchronous=true"

    def test_a_repeat_waits_for_the_first_execution(self, site, actor_id):
        async def story():
            with site.services.notices.subscribe(Topic.MAILBOX) as subscription:
                url = f"/actors/{actor_id}/messages{self.QUERY}"
                body = {"message": "hi"}
                both = [
                    asyncio.ensure_future(site.fetch("POST", url, json_body=body, headers=KEY))
                    for _ in range(2)
                ]
                await subscription.wait()
            await asyncio.sleep(0.05)
            await site.player.run(site.key(actor_id), b"done\n")
            return await asyncio.gather(*both)

        replies = site.run(story())
        assert [reply.body for reply in replies] == [b"done\n"] * 2
        assert sorted(is_replay(reply) for reply in replies) == [False, True]
        listed = site.get(f"/actors/{actor_id}/executions").result
        assert listed[site.name("total_executions")] == 1

    def test_a_repeat_of_what_is_over_is_answered_at_once(self, site, actor_id):
        post(site, actor_id)
        site.run(site.player.run(site.key(actor_id), b"done\n"))
        reply = post(site, actor_id, query=self.QUERY)
        assert (reply.status, reply.body, is_replay(reply)) == (200, b"done\n", True)

    def test_a_repeat_is_not_refused_for_what_waits(self, site, actor_id):
        post(site, actor_id)
        site.run(site.player.run(site.key(actor_id), b"done\n"))
        for _ in range(5):
            site.send(actor_id)
        assert post(site, actor_id, query=self.QUERY).body == b"done\n"
        fresh = post(site, actor_id, "new", headers=None, query=self.QUERY)
        assert fresh.status == 400

    def test_a_repeat_of_what_failed(self, site, actor_id):
        post(site, actor_id)
        claim = site.run(site.player.claim(site.key(actor_id)))
        site.run(site.player.end(claim, error="no image"))
        reply = post(site, actor_id, query=self.QUERY)
        assert (reply.status, is_replay(reply)) == (500, True)
