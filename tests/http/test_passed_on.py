"""What of the way a message was sent is passed on to its container, and what is not."""

import asyncio

import pytest

from abaco.config import Settings
from abaco.ports.notices import Topic
from tests.http.conftest import opened
from tests.http.site import jwt_settings


@pytest.fixture
def passing():
    settings = jwt_settings().model_copy(
        update={"runtime": Settings(runtime={"inject_nonce": True}).runtime}
    )
    with opened(settings) as site:
        yield site


def nonce_of(site, actor_id):
    return site.post(f"/actors/{actor_id}/nonces").result["id"]


def post(site, actor_id, query, **options):
    reply = site.post(f"/actors/{actor_id}/messages{query}", json_body={"message": "m"}, **options)
    assert reply.status == 200, reply.error
    return taken(site, actor_id)


def taken(site, actor_id):
    """Run the message that waits; return what of it became variables."""
    return dict(site.run(site.player.run(site.key(actor_id))).message.environment)


class TestNonce:
    def test_the_one_that_was_redeemed(self, passing):
        actor_id = passing.register()
        nonce = nonce_of(passing, actor_id)
        given = post(passing, actor_id, f"?x-nonce={nonce}&A=1", user=None)
        assert given == {"x-nonce": nonce, "A": "1"}

    def test_the_first_of_several_is_the_one(self, passing):
        actor_id = passing.register()
        nonce = nonce_of(passing, actor_id)
        given = post(passing, actor_id, f"?x-nonce=&x-nonce={nonce}&x-nonce=spoof", user=None)
        assert given == {"x-nonce": nonce}

    def test_one_that_nobody_looked_at_is_not_passed_on(self, passing):
        actor_id = passing.register()
        assert post(passing, actor_id, "?x-nonce=spoof&A=1") == {"A": "1"}

    def test_with_a_batch_and_with_bytes(self, passing):
        actor_id = passing.register()
        nonce = nonce_of(passing, actor_id)
        path = f"/actors/{actor_id}/messages"
        items = [{"message": "m", "environment": {"x-nonce": "spoof", "MSG": "spoof", "A": 1}}]
        batch = {"messages": items}
        assert passing.post(f"{path}/batch?x-nonce={nonce}", json_body=batch, user=None).result
        assert taken(passing, actor_id) == {"x-nonce": nonce, "A": "1"}
        assert passing.post(f"{path}/batch", json_body=batch).result
        assert taken(passing, actor_id) == {"A": "1"}
        kind = {"Content-Type": "application/octet-stream"}
        sent = passing.post(f"{path}?x-nonce={nonce}", body=b"x", headers=kind, user=None)
        assert sent.status == 200, sent.error
        assert taken(passing, actor_id) == {"x-nonce": nonce}

    def test_it_is_not_by_default(self, snake):
        actor_id = snake.register()
        nonce = nonce_of(snake, actor_id)
        assert post(snake, actor_id, f"?x-nonce={nonce}&A=1", user=None) == {"A": "1"}


class TestSynchronous:
    @pytest.mark.parametrize(
        ("query", "given"), [("true", {"_abaco_synchronous": "true"}), ("false", {})]
    )
    def test_that_somebody_waits(self, passing, query, given):
        actor_id = passing.register()
        path = f"/actors/{actor_id}/messages?_abaco_synchronous={query}"

        async def both():
            key = passing.key(actor_id)
            with passing.services.notices.subscribe(Topic.MAILBOX, key=key) as posted:
                sent = {"json_body": {"message": "m"}}
                sending = asyncio.ensure_future(passing.fetch("POST", path, **sent))
                await posted.wait()
            played = await passing.player.run(key)
            await sending
            return played.message.environment

        assert dict(passing.run(both())) == given


@pytest.mark.parametrize("message", [{"n": [True, None]}, [1], 7, True])
def test_a_message_that_is_no_text_is_shown_as_the_container_sees_it(snake, message):
    actor_id = snake.register()
    reply = snake.post(f"/actors/{actor_id}/messages", json_body={"message": message})
    assert reply.result["msg"] == repr(message)
    played = snake.run(snake.player.run(snake.key(actor_id)))
    assert played.message.body == message  # for the variables that are JSON
