"""Executions, their logs and results; workers; state."""

import asyncio

import pytest

from abaco.domain.actor import ActorStatus
from abaco.domain.execution import HaltReason
from abaco.domain.worker import WorkerStatus
from abaco.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from abaco.operations import actors, executions, logs, messages, state, workers
from abaco.operations.definition import ActorDraft
from abaco.operations.messages import Post
from abaco.ports.notices import Topic

HELLO = Post(body="hello", content_type="str", environment={})


async def pages_of(pages):
    return [page async for page in pages]


@pytest.fixture
def actor(run, services, jane):
    return run(actors.register(services, jane, ActorDraft(image="busybox", stateless=False)))


@pytest.fixture
def execution(run, services, jane, actor):
    return run(messages.post(services, jane, actor.id, HELLO)).execution


class TestExecutions:
    def test_a_list_longer_than_a_page(self, run, services, jane, actor, monkeypatch):
        monkeypatch.setattr(executions, "_PAGE", 2)
        posted = [run(messages.post(services, jane, actor.id, HELLO)) for _ in range(4)]
        listing = run(executions.list_executions(services, jane, actor.id))
        listed = run(pages_of(listing.pages))
        assert [[item.id for item in page] for page in listed] == [
            [item.execution.id for item in posted[:2]],
            [item.execution.id for item in posted[2:]],
        ]
        assert (listing.actor, listing.totals.count) == (actor, 4)

    def test_a_list_ends_while_messages_keep_coming(self, run, services, jane, actor, monkeypatch):
        monkeypatch.setattr(executions, "_PAGE", 2)
        for _ in range(3):
            run(messages.post(services, jane, actor.id, HELLO))
        listing = run(executions.list_executions(services, jane, actor.id))

        async def read_and_post():
            sizes = []
            async for page in listing.pages:
                sizes.append(len(page))
                for _ in range(5):
                    await messages.post(services, jane, actor.id, HELLO)
            return sizes

        assert run(read_and_post()) == [2, 1]
        assert listing.totals.count == 3

    def test_others_may_not_list(self, run, services, joe, actor):
        with pytest.raises(ForbiddenError):
            run(executions.list_executions(services, joe, actor.id))

    def test_get(self, run, services, jane, joe, actor, execution):
        assert run(executions.get(services, jane, actor.id, execution.id)) == execution
        with pytest.raises(ForbiddenError):
            run(executions.get(services, joe, actor.id, execution.id))
        for unknown in ("nope!", services.ids.new_id(), "", "x" * 10_000):
            with pytest.raises(NotFoundError):
                run(executions.get(services, jane, actor.id, unknown))

    def test_halt(self, run, services, jane, joe, actor, execution, player):
        with pytest.raises(ConflictError, match="SUBMITTED"):
            run(executions.halt(services, jane, actor.id, execution.id))
        claim = run(player.start(actor.key))
        with pytest.raises(ForbiddenError):
            run(executions.halt(services, joe, actor.id, execution.id))
        with services.notices.subscribe(Topic.HALT) as subscription:
            for _ in range(2):
                halted = run(executions.halt(services, jane, actor.id, execution.id))
                assert halted.halt_requested is HaltReason.FORCE_QUIT
            assert subscription.take() == [execution.key]
        run(player.end(claim))
        with pytest.raises(ConflictError, match="COMPLETE"):
            run(executions.halt(services, jane, actor.id, execution.id))

    def test_results(self, run, services, jane, joe, actor, execution, player):
        claim = run(player.start(actor.key))
        run(player.hand_back(claim, [b"1", b"2"]))
        take = executions.take_result
        assert run(take(services, jane, actor.id, execution.id)) == b"1"
        with pytest.raises(ForbiddenError):
            run(take(services, joe, actor.id, execution.id))
        assert run(take(services, jane, actor.id, execution.id)) == b"2"
        assert run(take(services, jane, actor.id, execution.id)) == b""
        assert run(take(services, jane, actor.id, "unknown")) == b""

    def test_one_result_to_one_of_many(self, run, services, jane, actor, execution, player):
        claim = run(player.start(actor.key))
        run(player.hand_back(claim, [bytes([n]) for n in range(10)]))

        async def race():
            take = executions.take_result
            return await asyncio.gather(
                *(take(services, jane, actor.id, execution.id) for _ in range(15))
            )

        taken = run(race())
        assert sorted(result for result in taken if result) == [bytes([n]) for n in range(10)]


class TestLogs:
    def follow(self, services, caller, execution, offset=0):
        async def collect():
            stream = logs.follow(services, caller, execution.actor_id, execution.id, offset=offset)
            return [piece async for piece in stream]

        return collect()

    def test_follow_to_the_end(self, run, services, jane, actor, execution, player):
        async def both():
            following = asyncio.ensure_future(self.follow(services, jane, execution))
            claim = await player.start(actor.key, b"one ")
            for piece in (b"two ", b"three"):
                await asyncio.sleep(0.01)
                await player.write(claim, piece)
            await player.end(claim)
            return await following

        pieces = run(both())
        assert b"".join(pieces) == b"one two three"
        assert len(pieces) > 1

    def test_follow_what_is_over(self, run, services, jane, actor, execution, player):
        run(player.run(actor.key, b"all of it"))
        assert run(self.follow(services, jane, execution)) == [b"all of it"]
        assert run(self.follow(services, jane, execution, offset=7)) == [b"it"]
        assert run(self.follow(services, jane, execution, offset=9)) == []

    def test_follow_is_for_the_owner(self, run, services, joe, execution):
        with pytest.raises(ForbiddenError):
            run(self.follow(services, joe, execution))

    def test_read(self, run, services, jane, joe, actor, execution, player):
        run(player.run(actor.key, b"text"))
        _, final, text = run(logs.read(services, jane, actor.id, execution.id))
        assert (final.id, text) == (execution.id, "text")
        with pytest.raises(ForbiddenError):
            run(logs.read(services, joe, actor.id, execution.id))

    def test_a_limit_within_a_character(self, run, services, jane, actor, execution, player):
        claim = run(player.start(actor.key))
        run(player.write(claim, "€€€".encode(), max_bytes=4))
        run(player.end(claim))
        text = run(logs.stored_text(services, execution))
        assert text == "€ LOG LIMIT EXCEEDED; this execution log was TRUNCATED!"


class TestWorkers:
    def test_ensure_never_makes_too_many(self, run, services, admin, actor):
        async def race():
            return await asyncio.gather(
                *(workers.ensure(services, admin, actor.id, 3) for _ in range(5))
            )

        assert sum(run(race())) == 2
        assert len(run(workers.list_workers(services, admin, actor.id))) == 3

    @pytest.mark.parametrize("num", [0, -1, 101, 10**9])
    def test_ensure_a_sane_number(self, run, services, admin, actor, num):
        with pytest.raises(InvalidInputError) as caught:
            run(workers.ensure(services, admin, actor.id, num))
        assert caught.value.field == "num"

    def test_ensure_is_for_administrators(self, run, services, jane, privileged, actor):
        for caller in (jane, privileged):
            with pytest.raises(ForbiddenError):
                run(workers.ensure(services, caller, actor.id, 2))

    @pytest.mark.parametrize("status", [ActorStatus.ERROR, ActorStatus.SHUTTING_DOWN])
    def test_not_for_an_actor_that_cannot_run(self, run, services, admin, actor, status):
        run(services.stores.actors.set_status(actor.key, status, "", expect=set(ActorStatus)))
        with pytest.raises(ConflictError, match=status):
            run(workers.ensure(services, admin, actor.id, 2))

    def test_drain(self, run, services, jane, joe, actor, player):
        (worker,) = run(player.raise_workers(actor.key))
        with pytest.raises(ForbiddenError):
            run(workers.drain(services, joe, actor.id, worker.id))
        with services.notices.subscribe(Topic.POOL) as subscription:
            run(workers.drain(services, jane, actor.id, worker.id))
            assert subscription.take() == [actor.key]
        drained = run(workers.get(services, jane, actor.id, worker.id))
        assert drained.status is WorkerStatus.SHUTDOWN_REQUESTED

    def test_a_worker_on_its_way_out_is_left_alone(self, run, services, jane, actor):
        (worker,) = run(workers.list_workers(services, jane, actor.id))
        expect = set(WorkerStatus)
        run(
            services.stores.workers.set_status(
                worker.key, WorkerStatus.SHUTTING_DOWN, expect=expect
            )
        )
        run(workers.drain(services, jane, actor.id, worker.id))
        leaving = run(workers.get(services, jane, actor.id, worker.id))
        assert leaving.status is WorkerStatus.SHUTTING_DOWN

    def test_unknown(self, run, services, jane, actor):
        for worker_id in ("nope!", services.ids.new_id(), "x" * 1000):
            with pytest.raises(NotFoundError):
                run(workers.get(services, jane, actor.id, worker_id))


class TestState:
    def test_last_write_wins(self, run, services, jane, actor):
        for value in ({"n": 1}, "text", None, [1, {"a": None}]):
            written = run(state.replace(services, jane, actor.id, value))
            assert written.state == value
            assert run(state.get(services, jane, actor.id)) == value

    @pytest.mark.parametrize("value", ["nul\0", "\ud800", "x" * 140_000, ["x" * 20] * 10_000])
    def test_what_no_container_could_be_given(self, run, services, jane, actor, value):
        with pytest.raises(InvalidInputError) as caught:
            run(state.replace(services, jane, actor.id, value))
        assert caught.value.field == "state"
        assert run(state.get(services, jane, actor.id)) == {}

    def test_stateless(self, run, services, jane):
        actor = run(actors.register(services, jane, ActorDraft(image="busybox")))
        with pytest.raises(NotFoundError, match="actor is stateless"):
            run(state.replace(services, jane, actor.id, {}))

    def test_only_the_owner(self, run, services, joe, actor):
        with pytest.raises(ForbiddenError):
            run(state.get(services, joe, actor.id))
        with pytest.raises(ForbiddenError):
            run(state.replace(services, joe, actor.id, {}))
