"""Batches and keys, below HTTP."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from abaco.config import Settings
from abaco.errors import InvalidInputError, KeyReusedError, NotFoundError, ThrottledError
from abaco.operations import actors, messages
from abaco.operations.definition import ActorDraft
from abaco.operations.intake import SLICE, Post
from abaco.ports.notices import Topic


def a_post(body="hello", **environment):
    return Post(body=body, content_type="str", environment=environment)


@pytest.fixture
def actor(run, services, jane):
    return run(actors.register(services, jane, ActorDraft(image="busybox")))


class TestBatch:
    def test_ids_in_order(self, run, services, jane, actor, player):
        posts = [a_post(f"m{n}") for n in range(3)]
        posted = run(messages.post_batch(services, jane, actor, posts))
        taken = [run(player.run(actor.key)).message for _ in posts]
        assert tuple(message.execution_id for message in taken) == posted.execution_ids
        assert [message.body for message in taken] == ["m0", "m1", "m2"]
        assert (posted.actor, posted.is_replay) == (actor, False)

    def test_the_number_of_the_bad_one_is_told(self, run, services, jane, actor):
        posts = [a_post(), a_post(), a_post("nul\0"), a_post("\0")]
        with pytest.raises(InvalidInputError, match="item 2: 'message' has a NUL") as caught:
            run(messages.post_batch(services, jane, actor, posts))
        assert caught.value.field == "messages"
        assert run(services.stores.mailbox.count(actor.key)) == 0

    def test_others_get_their_turn_while_a_long_one_is_checked(self, run, services, jane, actor):
        async def both():
            turns = 0
            posting = asyncio.ensure_future(
                messages.post_batch(services, jane, actor, [a_post()] * (SLICE * 5))
            )
            while not posting.done():
                await asyncio.sleep(0)
                turns += 1
            return turns

        assert run(both()) > 5

    def test_one_wake_up_for_all(self, run, services, jane, actor):
        with services.notices.subscribe(Topic.MAILBOX) as subscription:
            run(messages.post_batch(services, jane, actor, [a_post()] * 9))
            assert subscription.take() == [actor.key]

    def test_of_an_actor_that_is_gone(self, run, services, jane, actor):
        run(services.stores.actors.delete(actor.key))
        with pytest.raises(NotFoundError):
            run(messages.post_batch(services, jane, actor, [a_post()]))


class TestKeys:
    def test_a_repeat_wakes_the_workers_again(self, run, services, jane, actor):
        first = run(messages.post(services, jane, actor, a_post(), key="k"))
        with services.notices.subscribe(Topic.MAILBOX) as subscription:
            again = run(messages.post(services, jane, actor, a_post(), key="k"))
            assert subscription.take() == [actor.key]
        assert (again.execution.id, again.is_replay) == (first.execution.id, True)
        assert again.message.execution_id == first.execution.id

    def test_another_message(self, run, services, jane, joe, actor):
        run(messages.post(services, jane, actor, a_post(), key="k"))
        with pytest.raises(KeyReusedError):
            run(messages.post(services, jane, actor, a_post("other"), key="k"))
        assert not run(messages.post(services, joe, actor, a_post("other"), key="k")).is_replay

    def test_the_time_a_key_is_kept(self, run, services, jane, actor):
        services = replace(services, settings=Settings(runtime={"idempotency_ttl": 60}))
        before = services.clock.now()
        run(messages.post(services, jane, actor, a_post(), key="k"))
        expire = services.stores.intake.expire
        assert run(expire(before + timedelta(seconds=59))) == 0
        assert run(expire(services.clock.now() + timedelta(seconds=60))) == 1

    def test_no_key_is_empty(self, run, services, jane, actor):
        with pytest.raises(InvalidInputError, match="Idempotency-Key"):
            run(messages.post(services, jane, actor, a_post(), key=""))


class TestRoom:
    def test_settings_are_limits(self, run, services, jane, actor):
        runtime = {"max_mailbox": 2, "max_tenant_mailbox": 3, "dev_max_mailbox": 5}
        services = replace(services, settings=Settings(runtime=runtime))
        run(messages.post_batch(services, jane, actor, [a_post()] * 3))
        with pytest.raises(ThrottledError, match="max_tenant_mailbox is 3") as caught:
            run(messages.post_batch(services, jane, actor, [a_post()]))
        assert caught.value.retry_after_s == 1

    def test_by_default_there_are_none(self, run, services, jane, actor):
        run(messages.post_batch(services, jane, actor, [a_post()] * 500))
        assert run(services.stores.intake.waiting(actor.tenant)) == 500


RESERVED = {"x-nonce": "n", "_abaco_synchronous": "true", "_abaco_actor_id": "x", "MSG": "y"}


class TestPassingOn:
    def given(self, run, services, jane, actor, **post):
        posted = replace(a_post(A="1", **RESERVED), **post)
        return run(messages.post(services, jane, actor, posted)).message.environment

    def test_by_default_nothing_reserved_is_kept(self, run, services, jane, actor):
        given = self.given(run, services, jane, actor, nonce="real", is_synchronous=True)
        assert given == {"A": "1"}

    def test_what_the_server_found_is_passed_on_where_wanted(self, run, services, jane, actor):
        runtime = {"inject_nonce": True}
        services = replace(services, settings=Settings(runtime=runtime))
        assert self.given(run, services, jane, actor) == {"A": "1"}
        given = self.given(run, services, jane, actor, nonce="real", is_synchronous=True)
        assert given == {"A": "1", "x-nonce": "real", "_abaco_synchronous": "true"}

    def test_what_is_passed_on_makes_no_other_message_of_it(self, run, services, jane, actor):
        services = replace(services, settings=Settings(runtime={"inject_nonce": True}))
        posts = [replace(a_post(), nonce=nonce) for nonce in ("one", "two", None)]
        ids = {
            run(messages.post(services, jane, actor, post, key="k")).execution.id for post in posts
        }
        assert len(ids) == 1
