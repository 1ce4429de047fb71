"""Channels: named, typed ways for values between coroutines, processes and hosts.

A channel carries values of one type, as JSON. What is put in comes out once, in order, at one of
those who ``get``; what is published comes out at everybody who has subscribed. A channel is itself
a value: sent through another one it arrives as a channel of the same name, which is how an answer
finds its way back.

How far a channel reaches is its transport's doing: ``LocalTransport`` stays in the process, others
are backends. Channels are bounded: whoever puts into a full one waits. Nothing in them is durable;
what must not be lost is a record in a store first.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from abaco.errors import (
    AbacoError,
    CallFailedError,
    ChannelClosedError,
    ChannelFrameError,
    ChannelTimeoutError,
)
from abaco.ports.channels import PRIVATE, Transport

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

#: values a channel holds before whoever puts waits
CAPACITY = 64
#: longest value, as JSON
MAX_FRAME_BYTES = 1_048_576
#: seconds a subscriber may keep a publisher waiting before it is left out
SLOW_SUBSCRIBER_S = 5.0


class Channel(Generic[T]):
    """One end of a channel; any number of ends of one name are the same channel.

    Args:
        transport: Carries it.
        name: What the others call it, too.
        kind: Type of the values: anything pydantic has a JSON form for.
        capacity: Values it holds at most.

    """

    def __init__(
        self, transport: Transport, name: str, kind: Any, *, capacity: int = CAPACITY
    ) -> None:
        self._transport = transport
        self.name = name
        self._kind = kind
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        self._capacity = capacity

    def __repr__(self) -> str:
        """Name the channel."""
        return f"Channel({self.name!r})"

    async def open(self) -> None:
        """Make it usable again after a ``close``. A channel that was never closed is open."""
        await self._transport.open(self.name)

    async def close(self) -> None:
        """Let nothing more in. What is in it still comes out; then ``get`` is refused."""
        await self._transport.close(self.name)

    async def put(self, value: T, timeout_s: float | None = None) -> None:
        """Put a value in, after waiting for room.

        Raises:
            ChannelClosedError: Nobody will take it.
            ChannelTimeoutError: It was full all the time.
            ChannelFrameError: The value is no value of this channel, or too long.

        """
        await self._transport.push(self.name, self._encode(value), self._capacity, timeout_s)

    async def get(self, timeout_s: float | None = None) -> T:
        """Take the oldest value out, after waiting for one.

        Raises:
            ChannelClosedError: It is closed and empty.
            ChannelTimeoutError: It was empty all the time.
            ChannelFrameError: What came out is no value of this channel; it is gone.

        """
        return self._decode(await self._transport.pop(self.name, timeout_s))

    async def publish(self, value: T) -> int:
        """Give a value to everybody who has subscribed. Returns to how many.

        A subscriber that takes nothing until its own queue is full, and for some seconds more, is
        subscribed no longer, and finds out at its next ``get``.
        """
        frame, reached = self._encode(value), 0
        for member in await self._transport.members(self.name):
            try:
                await self._transport.push(member, frame, self._capacity, SLOW_SUBSCRIBER_S)
                reached += 1
            except ChannelClosedError:
                await self._transport.leave(self.name, member)
            except ChannelTimeoutError:
                await self._transport.leave(self.name, member)
                await self._transport.drop(member)
        return reached

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Channel[T]]:
        """Yield a channel that gets all that is published from now on, until the context ends."""
        own: Channel[T] = self._private(self._kind)
        await own.open()
        await self._transport.join(self.name, own.name)
        try:
            yield own
        finally:
            await self._transport.leave(self.name, own.name)
            await self._transport.drop(own.name)

    @asynccontextmanager
    async def reply_to(self, kind: Any) -> AsyncIterator[Channel[Any]]:
        """Yield a channel of this transport that nobody knows yet; gone when the context ends."""
        own: Channel[Any] = self._private(kind)
        await own.open()
        try:
            yield own
        finally:
            await self._transport.drop(own.name)

    def _private(self, kind: Any) -> Channel[Any]:
        name = f"{PRIVATE}{self.name}.{secrets.token_hex(16)}"
        return Channel(self._transport, name, kind, capacity=self._capacity)

    def _encode(self, value: T) -> bytes:
        try:
            frame = self._adapter.dump_json(self._adapter.validate_python(value))
        except (ValidationError, ValueError, TypeError) as error:
            raise ChannelFrameError(f"channel {self.name}: no value of its type") from error
        if len(frame) > MAX_FRAME_BYTES:
            raise ChannelFrameError(f"channel {self.name}: longer than {MAX_FRAME_BYTES} bytes")
        return frame

    def _decode(self, frame: bytes) -> T:
        try:
            return self._adapter.validate_json(frame, context={"transport": self._transport})
        except ValidationError as error:
            raise ChannelFrameError(
                f"channel {self.name}: what came is no value of its type"
            ) from error

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let channels be part of values: they travel as their name."""
        (kind,) = get_args(source) or (Any,)

        def find(value: Any, info: core_schema.ValidationInfo) -> Channel[Any]:
            if isinstance(value, Channel):
                return value
            if not (isinstance(value, dict) and isinstance(value.get("channel"), str)):
                raise ValueError("no channel")
            if not info.context:
                raise ValueError("a channel arrives through a channel only")
            return Channel(info.context["transport"], value["channel"], kind)

        return core_schema.with_info_plain_validator_function(
            find,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda channel: {"channel": channel.name}
            ),
        )


class Answer(BaseModel, Generic[A]):
    """What comes back: a value, or why there is none."""

    value: A | None = None
    error: str | None = None
    code: str = ""


class Call(BaseModel, Generic[Q, A]):
    """A question, and the channel its answer is awaited on."""

    model_config = {"arbitrary_types_allowed": True}

    body: Q
    reply: Channel[Answer[A]]


async def ask(channel: Channel[Call[Q, A]], body: Q, answer: type[A], timeout_s: float) -> A | None:
    """Send a question through a channel and wait for its answer.

    Args:
        channel: Where somebody answers questions, see ``answer_calls``.
        body: The question.
        answer: Type of the answer.
        timeout_s: Seconds for both ways.

    Raises:
        CallFailedError: It could not be answered.
        ChannelTimeoutError: There was no answer in time.
        ChannelClosedError: Nobody answers.

    """
    until_s = asyncio.get_running_loop().time() + timeout_s
    async with channel.reply_to(Answer[answer]) as reply:  # type: ignore[valid-type]
        await channel.put(Call(body=body, reply=reply), timeout_s)
        left_s = max(0.0, until_s - asyncio.get_running_loop().time())
        answered: Answer[A] = await reply.get(left_s)
    if answered.error is not None:
        raise CallFailedError(answered.error, failure=answered.code)
    return answered.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Served(Generic[Q, A]):
    """How questions of one kind are answered.

    Attributes:
        answer: Answers one. An AbacoError it raises is the answer.
        give_back: Is told of an answer that nobody waits for any more.
        parallel: Questions answered at the same time; the others wait in the channel.

    """

    answer: Callable[[Q], Awaitable[A]]
    give_back: Callable[[A], Awaitable[None]]
    parallel: int


async def answer_calls(channel: Channel[Call[Q, A]], served: Served[Q, A]) -> None:
    """Answer questions until the channel is closed, some at the same time."""
    places = asyncio.Semaphore(served.parallel)

    async def answer_one(call: Call[Q, A]) -> None:
        try:
            await _answer(call, served)
        finally:
            places.release()

    async with asyncio.TaskGroup() as group:
        while True:
            await places.acquire()
            try:
                call = await channel.get()
            except ChannelClosedError:
                return
            except ChannelFrameError:
                places.release()  # whoever wrote that gets no answer
                continue
            group.create_task(answer_one(call))


async def _answer(call: Call[Q, A], served: Served[Q, A]) -> None:
    answered: Answer[A]
    try:
        value = await served.answer(call.body)
    except AbacoError as error:
        answered = Answer(error=error.message, code=error.code)
    else:
        answered = Answer(value=value)
    try:
        await call.reply.put(answered, SLOW_SUBSCRIBER_S)
    except (ChannelClosedError, ChannelTimeoutError):  # whoever asked has left
        if answered.value is not None:
            await served.give_back(answered.value)
