"""Post, wait, count, purge."""

import asyncio

import pytest

from abaco.domain.context import build_environment
from abaco.domain.execution import ExecutionStatus
from abaco.domain.ids import WorkerId
from abaco.errors import ConflictError, InvalidInputError, LimitExceededError
from abaco.operations import actors, messages
from abaco.operations.definition import ActorDraft
from abaco.operations.messages import Failed, GivenUp, Post, Replied, StillRunning
from abaco.ports.notices import Topic

MAX_MESSAGE = 131_071 - len("MSG=")


def a_post(body="hello", **environment):
    return Post(body=body, content_type="str", environment=environment)


@pytest.fixture
def actor(run, services, jane):
    return run(actors.register(services, jane, ActorDraft(image="busybox")))


class TestPost:
    def test_execution_and_message_belong_together(self, run, services, jane, actor):
        with services.notices.subscribe(Topic.MAILBOX) as subscription:
            posted = run(messages.post(services, jane, actor, a_post(foo="1")))
            assert subscription.take() == [actor.key]
        assert posted.execution.id == posted.message.execution_id
        stored = run(services.stores.executions.get(posted.execution.key))
        assert stored == posted.execution
        assert (stored.executor, stored.status) == ("jane", ExecutionStatus.SUBMITTED)
        message = posted.message
        assert (message.username, message.revision, dict(message.environment)) == (
            "jane",
            1,
            {"foo": "1"},
        )
        assert run(services.stores.mailbox.count(actor.key)) == 1

    def test_the_revision_is_that_of_now(self, run, services, jane, actor):
        actor = run(actors.update(services, jane, actor, ActorDraft(image="other")))
        assert run(messages.post(services, jane, actor, a_post())).message.revision == 2

    def test_what_is_accepted_fits_the_container_of_any_worker(self, run, services, jane, actor):
        posted = run(messages.post(services, jane, actor, a_post("m" * MAX_MESSAGE)))
        worker_id = WorkerId(services.ids.new_id())
        environment = build_environment(actor, posted.message, worker_id, access_token="")
        assert len(environment["MSG"]) == MAX_MESSAGE

    @pytest.mark.parametrize(
        ("post", "name"),
        [
            (a_post("m" * (MAX_MESSAGE + 1)), "message"),
            (a_post("€" * 50_000), "message"),
            (a_post(["m"] * 50_000), "message"),
            (a_post("nul\0"), "message"),
            (a_post("\ud800"), "message"),
            (a_post(big="x" * 140_000), "big"),
            (a_post(nul="\0"), "nul"),
            (a_post(**{"": "x"}), "name of a variable"),
            (a_post(**{"a=b": "x"}), "a=b"),
            (a_post(**{f"v{n}": "x" * 100_000 for n in range(20)}), "environment"),
        ],
    )
    def test_what_no_container_could_be_given(self, run, services, jane, actor, post, name):
        with pytest.raises(InvalidInputError, match=name) as caught:
            run(messages.post(services, jane, actor, post))
        # a variable is no parameter of ours: its name must not be spelled in camel
        assert caught.value.field == ""
        assert run(services.stores.mailbox.count(actor.key)) == 0

    def test_reserved_names_are_dropped(self, run, services, jane, actor):
        post = a_post(_abaco_username="evil", MSG="evil", **{"x-nonce": "\0"})
        posted = run(messages.post(services, jane, actor, post))
        environment = build_environment(actor, posted.message, WorkerId("w"), access_token="")
        assert (environment["_abaco_username"], environment["MSG"]) == ("jane", "hello")
        assert "x-nonce" not in environment

    def test_a_state_that_is_too_large_by_now_is_named(self, run, services, jane):
        actor = run(actors.register(services, jane, ActorDraft(image="b", stateless=False)))
        actor = run(services.stores.actors.set_state(actor.key, "x" * 140_000))
        with pytest.raises(InvalidInputError, match="_abaco_actor_state"):
            run(messages.post(services, jane, actor, a_post()))

    def test_administrators_too(self, run, services, admin, actor):
        assert run(messages.post(services, admin, actor, a_post())).execution.executor == "root"


class TestWait:
    @pytest.fixture
    def wait(self, services, jane, actor, player):
        """Post and wait, while ``play`` has the container do something."""

        async def both(play, timeout_s=5):
            with services.notices.subscribe(Topic.MAILBOX) as subscription:
                waiting = asyncio.ensure_future(
                    messages.post_and_wait(services, jane, actor, a_post(), timeout_s=timeout_s)
                )
                await subscription.wait()
            await play()
            return await waiting

        return both

    def test_the_log(self, run, wait, actor, player):
        reply = run(wait(lambda: player.run(actor.key, b"out\n", exit_code=1)))
        assert isinstance(reply, Replied)
        assert (reply.result, reply.log) == (None, "out\n")

    def test_a_result_stored_with_the_end_wins(self, run, wait, actor, player):
        async def play():
            claim = await player.start(actor.key, b"out")
            await player.hand_back(claim, [b""])
            await player.end(claim)

        assert run(wait(play)).result == b""

    def test_an_error(self, run, wait, actor, player):
        async def play():
            await player.end(await player.claim(actor.key), error="no image")

        reply = run(wait(play))
        assert isinstance(reply, Failed)
        assert reply.reason == "no image"

    def test_a_purge(self, run, wait, services, jane, actor):
        reply = run(wait(lambda: messages.purge(services, actor)))
        assert isinstance(reply, GivenUp)
        assert reply.reason == "purged"

    def test_a_deleted_actor(self, run, wait, services, jane, actor):
        reply = run(wait(lambda: actors.delete(services, actor, wait_s=0)))
        assert isinstance(reply, GivenUp)
        assert reply.reason == "actor_deleted"

    def test_other_notices_change_nothing_and_time_runs_out(self, run, wait, actor, player):
        async def play():
            await player.start(actor.key, b"still at it")

        assert isinstance(run(wait(play, timeout_s=0.05)), StillRunning)

    def test_cancelled_waiting_leaves_the_execution_alone(self, run, services, jane, actor, player):
        async def cancel():
            with services.notices.subscribe(Topic.MAILBOX) as subscription:
                waiting = asyncio.ensure_future(
                    messages.post_and_wait(services, jane, actor, a_post(), timeout_s=60)
                )
                await subscription.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        run(cancel())
        assert run(messages.count(services, actor)) == 1

    def test_too_many_wait(self, run, services, jane, actor):
        for _ in range(4):
            run(messages.post(services, jane, actor, a_post()))
        with pytest.raises(LimitExceededError):
            run(messages.post_and_wait(services, jane, actor, a_post(), timeout_s=60))
        assert run(messages.count(services, actor)) == 4


class TestPurge:
    def test_only_what_waits(self, run, services, jane, actor, player):
        posted = [run(messages.post(services, jane, actor, a_post())) for _ in range(3)]
        run(player.start(actor.key))
        with services.notices.subscribe(Topic.EXECUTION) as subscription:
            assert run(messages.purge(services, actor)) == 2
            assert set(subscription.take()) == {item.execution.key for item in posted[1:]}
        statuses = [
            run(services.stores.executions.get(item.execution.key)).status for item in posted
        ]
        assert statuses == [
            ExecutionStatus.RUNNING,
            ExecutionStatus.ERROR,
            ExecutionStatus.ERROR,
        ]

    def test_an_empty_mailbox(self, run, services, jane, actor):
        assert run(messages.purge(services, actor)) == 0


def test_messages_of_an_actor_that_goes_are_refused(run, services, jane, actor):
    run(actors.delete(services, actor, wait_s=0))
    with pytest.raises(ConflictError):
        run(messages.post_and_wait(services, jane, actor, a_post(), timeout_s=60))
