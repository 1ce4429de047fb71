"""Executions, their logs and results; workers; state."""

import asyncio

import pytest

from abaco.domain.actor import ActorStatus
from abaco.domain.execution import HaltReason
from abaco.domain.worker import WorkerStatus
from abaco.errors import ConflictError, InvalidInputError, NotFoundError
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
    return run(messages.post(services, jane, actor, HELLO)).execution


class TestExecutions:
    def test_a_list_longer_than_a_page(self, run, services, jane, actor, monkeypatch):
        monkeypatch.setattr(executions, "_PAGE", 2)
        posted = [run(messages.post(services, jane, actor, HELLO)) for _ in range(4)]
        listing = run(executions.list_executions(services, actor))
        listed = run(pages_of(listing.pages))
        assert [[item.id for item in page] for page in listed] == [
            [item.execution.id for item in posted[:2]],
            [item.execution.id for item in posted[2:]],
        ]
        assert (listing.actor, listing.totals.count) == (actor, 4)

    def test_a_list_ends_while_messages_keep_coming(self, run, services, jane, actor, monkeypatch):
        monkeypatch.setattr(executions, "_PAGE", 2)
        for _ in range(3):
            run(messages.post(services, jane, actor, HELLO))
        listing = run(executions.list_executions(services, actor))

        async def read_and_post():
            sizes = []
            async for page in listing.pages:
                sizes.append(len(page))
                for _ in range(5):
                    await messages.post(services, jane, actor, HELLO)
            return sizes

        assert run(read_and_post()) == [2, 1]
        assert listing.totals.count == 3

    def test_get(self, run, services, actor, execution):
        assert run(executions.get(services, actor, execution.id)) == execution
        for unknown in ("nope!", services.ids.new_id(), "", "x" * 10_000):
            with pytest.raises(NotFoundError):
                run(executions.get(services, actor, unknown))

    def test_halt(self, run, services, actor, execution, player):
        with pytest.raises(ConflictError, match="SUBMITTED"):
            run(executions.halt(services, actor, execution.id))
        claim = run(player.start(actor.key))
        with services.notices.subscribe(Topic.HALT) as subscription:
            for _ in range(2):
                halted = run(executions.halt(services, actor, execution.id))
                assert halted.halt_requested is HaltReason.FORCE_QUIT
            assert subscription.take() == [execution.key]
        run(player.end(claim))
        with pytest.raises(ConflictError, match="COMPLETE"):
            run(executions.halt(services, actor, execution.id))

    def test_results(self, run, services, actor, execution, player):
        claim = run(player.start(actor.key))
        run(player.hand_back(claim, [b"1", b"2"]))
        take = executions.take_result
        assert run(take(services, actor, execution.id)) == b"1"
        assert run(take(services, actor, execution.id)) == b"2"
        assert run(take(services, actor, execution.id)) == b""
        assert run(take(services, actor, "unknown")) == b""

    def test_one_result_to_one_of_many(self, run, services, actor, execution, player):
        claim = run(player.start(actor.key))
        run(player.hand_back(claim, [bytes([n]) for n in range(10)]))

        async def race():
            take = executions.take_result
            return await asyncio.gather(*(take(services, actor, execution.id) for _ in range(15)))

        taken = run(race())
        assert sorted(result for result in taken if result) == [bytes([n]) for n in range(10)]


class TestLogs:
    def test_read(self, run, services, actor, execution, player):
        run(player.run(actor.key, b"text"))
        final, text = run(logs.read(services, actor, execution.id))
        assert (final.id, text) == (execution.id, "text")

    def test_a_limit_within_a_character(self, run, services, actor, execution, player):
        claim = run(player.start(actor.key))
        run(player.write(claim, "€€€".encode(), max_bytes=4))
        run(player.end(claim))
        text = run(logs.stored_text(services, execution))
        assert text == "€ LOG LIMIT EXCEEDED; this execution log was TRUNCATED!"


class TestWorkers:
    def test_ensure_never_makes_too_many(self, run, services, actor):
        async def race():
            return await asyncio.gather(*(workers.ensure(services, actor, 3) for _ in range(5)))

        assert sum(run(race())) == 2
        assert len(run(workers.list_workers(services, actor))) == 3

    @pytest.mark.parametrize("num", [0, -1, 101, 10**9])
    def test_ensure_a_sane_number(self, run, services, actor, num):
        with pytest.raises(InvalidInputError) as caught:
            run(workers.ensure(services, actor, num))
        assert caught.value.field == "num"

    @pytest.mark.parametrize("status", [ActorStatus.ERROR, ActorStatus.SHUTTING_DOWN])
    def test_not_for_an_actor_that_cannot_run(self, run, services, actor, status):
        run(services.stores.actors.set_status(actor.key, status, "", expect=set(ActorStatus)))
        actor = run(services.stores.actors.get(actor.key))
        with pytest.raises(ConflictError, match=status):
            run(workers.ensure(services, actor, 2))

    def test_drain(self, run, services, actor, player):
        (worker,) = run(player.raise_workers(actor.key))
        with services.notices.subscribe(Topic.POOL) as subscription:
            run(workers.drain(services, actor, worker.id))
            assert subscription.take() == [actor.key]
        drained = run(workers.get(services, actor, worker.id))
        assert drained.status is WorkerStatus.SHUTDOWN_REQUESTED

    def test_a_worker_on_its_way_out_is_left_alone(self, run, services, actor):
        (worker,) = run(workers.list_workers(services, actor))
        expect = set(WorkerStatus)
        run(
            services.stores.workers.set_status(
                worker.key, WorkerStatus.SHUTTING_DOWN, expect=expect
            )
        )
        run(workers.drain(services, actor, worker.id))
        leaving = run(workers.get(services, actor, worker.id))
        assert leaving.status is WorkerStatus.SHUTTING_DOWN

    def test_unknown(self, run, services, actor):
        for worker_id in ("nope!", services.ids.new_id(), "x" * 1000):
            with pytest.raises(NotFoundError):
                run(workers.get(services, actor, worker_id))


class TestState:
    def test_last_write_wins(self, run, services, actor):
        for value in ({"n": 1}, "text", None, [1, {"a": None}]):
            written = run(state.replace(services, actor, value))
            assert written.state == value
            assert run(services.stores.actors.get(actor.key)).state == value

    @pytest.mark.parametrize("value", ["nul\0", "\ud800", "x" * 140_000, ["x" * 20] * 10_000])
    def test_what_no_container_could_be_given(self, run, services, actor, value):
        with pytest.raises(InvalidInputError) as caught:
            run(state.replace(services, actor, value))
        assert caught.value.field == "state"
        assert run(services.stores.actors.get(actor.key)).state == {}

    def test_stateless(self, run, services, jane):
        actor = run(actors.register(services, jane, ActorDraft(image="busybox")))
        with pytest.raises(NotFoundError, match="actor is stateless"):
            run(state.replace(services, actor, {}))
