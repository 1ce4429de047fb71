"""Channels behave the same in one process and over a Redis server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from abaco.channels import Answer, Call, Channel, Served, answer_calls, ask
from abaco.errors import (
    CallFailedError,
    ChannelClosedError,
    ChannelFrameError,
    ChannelTimeoutError,
    ChannelUnavailableError,
    NotFoundError,
)
from abaco.ports.channels import Transport
from backends.channels.local import LocalTransport
from backends.channels.redis import open_redis
from tests.support.redis import RedisServer, a_redis

#: longest anything may take
PATIENCE_S = 5.0
#: how long to look whether something does not happen
MOMENT_S = 0.05


@dataclass(frozen=True)
class Parcel:
    """Something with parts of several types."""

    number: int
    text: str = ""
    sent_at: datetime | None = None
    back: Channel[int] | None = None


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with a_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["local", "redis"])
async def ends(
    request: pytest.FixtureRequest,
) -> AsyncIterator[tuple[Transport, Transport]]:
    """Two transports that reach each other: one object, or two connections to one server."""
    async with AsyncExitStack() as stack:
        if request.param == "local":
            transport = LocalTransport()
            yield transport, transport
            return
        server: RedisServer = request.getfixturevalue("redis_server")
        prefix = f"{request.node.name}."
        near = await stack.enter_async_context(open_redis(server.url, prefix))
        far = await stack.enter_async_context(open_redis(server.url, prefix))
        yield near, far
        await near._client.flushall()


def pair(
    ends: tuple[Transport, Transport], kind: Any = int, **options: Any
) -> tuple[Channel[Any], Channel[Any]]:
    return Channel(ends[0], "c", kind, **options), Channel(ends[1], "c", kind, **options)


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        return await awaitable


async def stays_waiting(task: asyncio.Task[Any]) -> None:
    await asyncio.sleep(MOMENT_S)
    assert not task.done()


class TestValues:
    async def test_come_out_in_order_and_once(self, ends):
        near, far = pair(ends)
        for number in range(20):
            await near.put(number)
        assert [await far.get() for _ in range(20)] == list(range(20))
        with pytest.raises(ChannelTimeoutError):
            await far.get(0)

    async def test_keep_their_type(self, ends):
        near, far = pair(ends, Parcel)
        parcel = Parcel(1, "ünïcödé \n", datetime.now(UTC))
        await near.put(parcel)
        assert await far.get() == parcel

    @pytest.mark.parametrize("value", ["x", None, object(), 1.5])
    async def test_of_another_type_are_refused(self, ends, value):
        with pytest.raises(ChannelFrameError, match="no value"):
            await pair(ends)[0].put(value)

    async def test_of_another_type_at_the_other_end_are_gone(self, ends):
        await Channel(ends[0], "c", str).put("no number")
        far = Channel(ends[1], "c", int)
        with pytest.raises(ChannelFrameError):
            await far.get()
        with pytest.raises(ChannelTimeoutError):
            await far.get(0)

    async def test_that_are_too_long_are_refused(self, ends):
        with pytest.raises(ChannelFrameError, match="longer"):
            await Channel(ends[0], "c", str).put("x" * 2_000_000)

    async def test_are_json_and_nothing_that_runs(self, ends):
        near, _ = pair(ends, Parcel)
        await near.put(Parcel(1, "a"))
        frame = await ends[1].pop("c", 1)
        assert json.loads(frame) == {"number": 1, "text": "a", "sent_at": None, "back": None}

    async def test_of_other_names_stay_apart(self, ends):
        near, far = pair(ends)
        await Channel(ends[0], "d", int).put(1)
        with pytest.raises(ChannelTimeoutError):
            await far.get(0)
        await near.put(2)
        assert await far.get() == 2


class TestWaiting:
    async def test_for_a_value(self, ends):
        near, far = pair(ends)
        taking = asyncio.create_task(far.get())
        await stays_waiting(taking)
        await near.put(7)
        assert await soon(taking) == 7

    async def test_for_room(self, ends):
        near, far = pair(ends, capacity=2)
        await near.put(1)
        await near.put(2)
        putting = asyncio.create_task(near.put(3))
        await stays_waiting(putting)
        assert await far.get() == 1
        await soon(putting)
        assert [await far.get(), await far.get()] == [2, 3]

    async def test_of_many_for_room(self, ends):
        near, far = pair(ends, capacity=1)
        putting = [asyncio.create_task(near.put(number)) for number in range(10)]
        taken = [await soon(far.get()) for _ in range(10)]
        await soon(asyncio.gather(*putting))
        assert sorted(taken) == list(range(10))

    async def test_of_many_for_a_value(self, ends):
        near, far = pair(ends)
        taking = [asyncio.create_task(far.get()) for _ in range(10)]
        for number in range(10):
            await near.put(number)
        assert sorted(await soon(asyncio.gather(*taking))) == list(range(10))

    async def test_ends_in_time(self, ends):
        near, far = pair(ends, capacity=1)
        with pytest.raises(ChannelTimeoutError):
            await soon(far.get(MOMENT_S))
        await near.put(1)
        with pytest.raises(ChannelTimeoutError):
            await soon(near.put(2, MOMENT_S))
        assert await far.get(0) == 1
        with pytest.raises(ChannelTimeoutError):
            await far.get(0)

    async def test_that_is_cancelled_takes_nothing_later(self, ends):
        near, far = pair(ends, capacity=1)
        await near.put(1)
        putting = asyncio.create_task(near.put(2))
        await stays_waiting(putting)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        assert await far.get(0) == 1
        with pytest.raises(ChannelTimeoutError):
            await far.get(MOMENT_S)


class TestClosing:
    async def test_lets_out_what_is_in(self, ends):
        near, far = pair(ends)
        await near.put(1)
        await near.close()
        with pytest.raises(ChannelClosedError):
            await far.put(2)
        assert await far.get() == 1
        for _ in range(2):
            with pytest.raises(ChannelClosedError):
                await far.get()

    async def test_ends_every_wait(self, ends):
        near, far = pair(ends, capacity=1)
        taking = [asyncio.create_task(far.get()) for _ in range(5)]
        await stays_waiting(taking[0])
        await near.close()
        ended = await soon(asyncio.gather(*taking, return_exceptions=True))
        assert [type(error) for error in ended] == [ChannelClosedError] * 5

    async def test_ends_waits_for_room_too(self, ends):
        near, far = pair(ends, capacity=1)
        await near.put(1)
        putting = [asyncio.create_task(near.put(2)) for _ in range(5)]
        await stays_waiting(putting[0])
        await far.close()
        ended = await soon(asyncio.gather(*putting, return_exceptions=True))
        assert [type(error) for error in ended] == [ChannelClosedError] * 5
        assert await far.get() == 1

    async def test_twice_is_once_and_can_be_taken_back(self, ends):
        near, far = pair(ends)
        await near.put(1)
        await near.close()
        await far.close()
        await near.open()
        await near.put(2)
        assert [await far.get(), await far.get()] == [1, 2]
        with pytest.raises(ChannelTimeoutError):
            await far.get(0)


class TestPublishing:
    async def test_reaches_everybody_who_listens(self, ends):
        near, far = pair(ends)
        assert await near.publish(0) == 0
        async with near.subscribe() as one, far.subscribe() as two:
            for number in (1, 2, 3):
                assert await near.publish(number) == 2
            for own in (one, two):
                assert [await soon(own.get()) for _ in range(3)] == [1, 2, 3]
        assert await near.publish(4) == 0
        with pytest.raises(ChannelTimeoutError):
            await far.get(0)

    async def test_does_not_wait_for_ever_for_the_slow(self, ends, monkeypatch):
        monkeypatch.setattr("abaco.channels.SLOW_SUBSCRIBER_S", MOMENT_S)
        near, far = pair(ends, capacity=2)
        async with far.subscribe() as slow, far.subscribe() as quick:
            for number in range(3):
                await near.publish(number)
                assert await soon(quick.get()) == number
            assert await near.publish(3) == 1
            with pytest.raises(ChannelClosedError):
                await soon(slow.get())

    async def test_passes_over_who_has_gone(self, ends):
        near, far = pair(ends)
        async with far.subscribe() as own:
            await ends[1].drop(own.name)
            assert await near.publish(1) == 0
            assert await ends[0].members("c") == []


class TestChannelsAsValues:
    async def test_arrive_as_channels(self, ends):
        near, far = pair(ends, Parcel)
        async with near.reply_to(int) as back:
            await near.put(Parcel(5, back=back))
            parcel = await far.get()
            assert isinstance(parcel.back, Channel)
            await parcel.back.put(parcel.number + 1)
            assert await soon(back.get()) == 6

    async def test_are_gone_with_whoever_made_them(self, ends):
        near, far = pair(ends, Parcel)
        async with near.reply_to(int) as back:
            await near.put(Parcel(5, back=back))
        parcel = await far.get()
        with pytest.raises(ChannelClosedError):
            await parcel.back.put(1)
        with pytest.raises(ChannelClosedError):
            await parcel.back.get(1)
        await parcel.back.close()
        with pytest.raises(ChannelClosedError):
            await parcel.back.put(1)

    async def test_keep_the_type_of_their_values(self, ends):
        near, far = pair(ends, Parcel)
        async with near.reply_to(int) as back:
            await near.put(Parcel(5, back=back))
            with pytest.raises(ChannelFrameError):
                await (await far.get()).back.put("no number")

    @pytest.mark.parametrize("back", [5, {}, {"channel": 5}, "c"])
    async def test_are_not_anything(self, ends, back):
        _, far = pair(ends, Parcel)
        await ends[0].push("c", json.dumps({"number": 1, "back": back}).encode(), 9, 1)
        with pytest.raises(ChannelFrameError):
            await far.get()

    def test_come_from_nowhere_else(self):
        from pydantic import TypeAdapter, ValidationError

        with pytest.raises(ValidationError, match="through a channel"):
            TypeAdapter(Parcel).validate_json('{"number": 1, "back": {"channel": "c"}}')


class Square:
    """Answers with the square; notes what nobody waited for."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        self.given_back: list[int] = []
        self.at_once = self.most = 0

    async def answer(self, number: int) -> int:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(self.pause_s)
        self.at_once -= 1
        if number < 0:
            raise NotFoundError("no square of that")
        return number * number

    async def give_back(self, value: int) -> None:
        self.given_back.append(value)

    def served(self, parallel: int = 4) -> Served[int, int]:
        return Served(answer=self.answer, give_back=self.give_back, parallel=parallel)


class TestQuestions:
    def calls(self, ends) -> tuple[Channel[Any], Channel[Any]]:
        return pair(ends, Call[int, int])

    async def test_are_answered(self, ends):
        near, far = self.calls(ends)
        serving = asyncio.create_task(answer_calls(far, Square().served()))
        answers = [ask(near, number, int, PATIENCE_S) for number in range(20)]
        assert await soon(asyncio.gather(*answers)) == [number**2 for number in range(20)]
        await near.close()
        await soon(serving)

    async def test_some_at_a_time(self, ends):
        near, far = self.calls(ends)
        square = Square(pause_s=0.02)
        serving = asyncio.create_task(answer_calls(far, square.served(parallel=3)))
        await soon(asyncio.gather(*[ask(near, 1, int, PATIENCE_S) for _ in range(12)]))
        assert square.most == 3
        await near.close()
        await soon(serving)

    async def test_may_fail(self, ends):
        near, far = self.calls(ends)
        serving = asyncio.create_task(answer_calls(far, Square().served()))
        with pytest.raises(CallFailedError, match="no square") as caught:
            await ask(near, -1, int, PATIENCE_S)
        assert caught.value.failure == NotFoundError.code
        assert await ask(near, 2, int, PATIENCE_S) == 4
        await near.close()
        await soon(serving)

    async def test_that_nobody_answers_end_in_time(self, ends):
        near, _ = self.calls(ends)
        with pytest.raises(ChannelTimeoutError):
            await soon(ask(near, 1, int, MOMENT_S))

    async def test_whose_asker_has_left_give_their_answer_back(self, ends):
        near, far = self.calls(ends)
        square = Square(pause_s=4 * MOMENT_S)
        serving = asyncio.create_task(answer_calls(far, square.served()))
        with pytest.raises(ChannelTimeoutError):
            await ask(near, 3, int, MOMENT_S)
        await near.close()
        await soon(serving)
        assert square.given_back == [9]

    async def test_that_are_none_are_passed_over(self, ends):
        near, far = self.calls(ends)
        await ends[0].push("c", b'{"body": "x"}', 9, 1)
        serving = asyncio.create_task(answer_calls(far, Square().served(parallel=1)))
        assert await ask(near, 2, int, PATIENCE_S) == 4
        await near.close()
        await soon(serving)

    async def test_an_answer_is_a_value_or_an_error(self):
        assert Answer[int](value=1).error is None


async def test_a_local_transport_keeps_nothing_it_need_not():
    transport = LocalTransport()
    channel: Channel[int] = Channel(transport, "c", int)
    await channel.put(1)
    await channel.get()
    async with channel.subscribe() as own:
        await channel.publish(1)
        assert own.name in transport.names
    async with channel.reply_to(int) as reply:
        await reply.put(1)
    with pytest.raises(ChannelTimeoutError):
        await channel.get(0)
    assert transport.names == []


async def test_a_redis_transport_leaves_nothing_that_lasts(redis_server):
    async with open_redis(redis_server.url, "left.") as transport:
        channel: Channel[int] = Channel(transport, "c", int, capacity=1)
        await channel.put(1)
        await channel.get()
        async with channel.subscribe() as own:
            await channel.publish(1)
            assert own.name
        async with channel.reply_to(int) as reply:
            await reply.put(1)
        keys = await transport._client.keys("left.*")
        for key in keys:
            assert 0 < await transport._client.ttl(key) <= 60, key
        await transport._client.flushall()


async def test_a_server_that_is_away_is_told(tmp_path: Path):
    with a_redis(tmp_path) as server:
        async with open_redis(server.url) as transport:
            channel: Channel[int] = Channel(transport, "c", int)
            await channel.put(1)
            taking = asyncio.create_task(Channel[int](transport, "d", int).get())
            await stays_waiting(taking)
            server.stop()
            for call in (channel.put(2), channel.get(), channel.publish(1), taking):
                with pytest.raises(ChannelUnavailableError):
                    await soon(call)
            server.start()
            await channel.put(3)
            assert await channel.get() == 3


_OTHER_PROCESS = """
import asyncio, sys
from abaco.channels import Call, Channel, Served, answer_calls
from backends.channels.redis import open_redis

async def double(number):
    return 2 * number

async def give_back(value):
    raise AssertionError(value)

async def main():
    async with open_redis(sys.argv[1], "procs.") as transport:
        channel = Channel(transport, "double", Call[int, int])
        await answer_calls(channel, Served(answer=double, give_back=give_back, parallel=2))

asyncio.run(main())
"""


async def test_another_process_answers(redis_server):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _OTHER_PROCESS, redis_server.url
    )
    async with open_redis(redis_server.url, "procs.") as transport:
        channel: Channel[Any] = Channel(transport, "double", Call[int, int])
        assert await ask(channel, 21, int, 20) == 42
        await channel.close()
        async with asyncio.timeout(10):
            assert await process.wait() == 0
