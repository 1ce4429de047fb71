"""A log as it grows: pieces, their places, what is lost and begins again."""

import asyncio
from contextlib import aclosing

import pytest

from abaco.operations import actors, logs, messages
from abaco.operations.definition import ActorDraft
from abaco.operations.logs import Ended, Piece, Quiet, Restarted
from abaco.operations.messages import Post
from abaco.ports.notices import Topic


@pytest.fixture
def actor(run, services, jane):
    return run(actors.register(services, jane, ActorDraft(image="busybox", stateless=False)))


@pytest.fixture
def execution(run, services, jane, actor):
    post = Post(body="hello", content_type="str", environment={})
    return run(messages.post(services, jane, actor, post)).execution


async def collect(services, execution, **options):
    steps = logs.follow(services, execution, **options)
    return [step async for step in steps]


def texts(steps):
    return [step.text for step in steps if isinstance(step, Piece)]


def test_to_the_end(run, services, actor, execution, player):
    async def both():
        following = asyncio.ensure_future(collect(services, execution))
        claim = await player.start(actor.key, b"one ")
        for piece in (b"two ", b"three"):
            await asyncio.sleep(0.01)
            await player.write(claim, piece)
        await player.end(claim)
        return await following

    *pieces, last = run(both())
    assert pieces[-1].offset == len("one two three")
    assert "".join(texts(pieces)) == "one two three"
    assert len(pieces) > 1
    assert isinstance(last, Ended)
    assert (last.execution.id, last.execution.status) == (execution.id, "COMPLETE")


def test_what_is_over(run, services, actor, execution, player):
    run(player.run(actor.key, b"all of it"))
    assert texts(run(collect(services, execution))) == ["all of it"]
    assert texts(run(collect(services, execution, offset=7))) == ["it"]
    (end,) = run(collect(services, execution, offset=9))
    assert isinstance(end, Ended)


def test_long_logs_come_in_pieces(run, services, actor, execution, player, monkeypatch):
    monkeypatch.setattr(logs, "PIECE_BYTES", 10)
    run(player.run(actor.key, b"0123456789" * 5 + b"x"))
    *pieces, _ = run(collect(services, execution))
    assert [(piece.text, piece.offset) for piece in pieces] == [
        *(("0123456789", n) for n in range(10, 60, 10)),
        ("x", 51),
    ]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_characters_cut_in_two(run, services, actor, execution, player, monkeypatch, size):
    monkeypatch.setattr(logs, "PIECE_BYTES", size)
    text = "a€b🎉c"
    run(player.run(actor.key, text.encode()))
    *pieces, _ = run(collect(services, execution))
    assert "".join(texts(pieces)) == text
    # from any place that was told, the rest is whole
    for number, piece in enumerate(pieces):
        rest = text[len("".join(texts(pieces[: number + 1]))) :]
        assert "".join(texts(run(collect(services, execution, offset=piece.offset)))) == rest


def test_half_a_character_at_the_end_is_shown_as_such(run, services, actor, execution, player):
    run(player.run(actor.key, b"x\xe2\x82"))
    assert "".join(texts(run(collect(services, execution)))) == "x\ufffd"


def test_what_was_left_out_is_said(run, services, actor, execution, player):
    claim = run(player.start(actor.key))
    run(player.write(claim, b"x" * 50, max_bytes=10))
    run(player.end(claim))
    steps = run(collect(services, execution))
    assert "".join(texts(steps)) == run(logs.stored_text(services, execution))
    assert [step.offset for step in steps[:-1]] == [10, 10]


def test_it_matches_what_is_read_at_once(run, services, actor, execution, player):
    run(player.run(actor.key, b"a\xff\0b\xe2"))
    followed = "".join(texts(run(collect(services, execution))))
    execution = run(services.stores.executions.get(execution.key))
    assert followed == run(logs.stored_text(services, execution)) == "a\ufffd\0b\ufffd"


def test_silence_is_told(run, services, execution):
    async def first():
        async with aclosing(logs.follow(services, execution, quiet_s=0.01)) as steps:
            return [await anext(steps), await anext(steps)]

    assert run(first()) == [Quiet(), Quiet()]


def test_a_run_that_was_lost_begins_again(run, services, actor, execution, player):
    stores, notices = services.stores, services.notices

    async def story():
        async with aclosing(logs.follow(services, execution)) as steps:
            claim = await player.start(actor.key, b"a long beginning")
            first = await anext(steps)
            await stores.mailbox.release(execution.key, 1, lost=True)
            notices.publish(Topic.EXECUTION, execution.key)
            rest = asyncio.ensure_future(collect_rest(steps))
            await asyncio.sleep(0.01)
            claim = await player.claim(actor.key)
            await stores.logs.clear(execution.key)
            await stores.mailbox.mark_running(execution.key, 2, "c2", services.clock.now())
            await player.write(claim, b"another beginning, and longer")
            await player.end(claim)
            return [first, *await rest]

    async def collect_rest(steps):
        return [step async for step in steps]

    first, again, second, end = run(story())
    assert (first.text, second.text) == ("a long beginning", "another beginning, and longer")
    assert isinstance(again, Restarted)
    assert isinstance(end, Ended)


def test_a_place_beyond_the_end_means_that_it_began_again(run, services, actor, execution, player):
    run(player.run(actor.key, b"short"))
    again, piece, _ = run(collect(services, execution, offset=1000))
    assert isinstance(again, Restarted)
    assert piece.text == "short"


def test_nobody_listens_after_the_end(run, services, actor, execution, player):
    run(player.run(actor.key, b"x"))
    run(collect(services, execution))
    assert services.notices._listeners == {}
