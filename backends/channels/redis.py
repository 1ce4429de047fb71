"""Channels between processes and hosts, over a Redis server.

A name is a list of frames. A closed name has a mark beside it, and at the end of its list a frame
that says so, which everybody who takes it puts back. Whoever finds a list full waits for an entry
of another list, which everybody who takes a frame adds to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import redis.asyncio
from redis.exceptions import RedisError

from abaco.errors import ChannelClosedError, ChannelTimeoutError, ChannelUnavailableError
from abaco.ports.channels import PRIVATE, Transport

T = TypeVar("T")

#: seconds of one blocking call; a longer wait is several
SLICE_S = 2.0
#: seconds the server has to answer; longer than a slice
ANSWER_TIMEOUT_S = 10.0
#: seconds a private name lives when its process died; each use begins them anew
PRIVATE_TTL_S = 86_400

#: the frame that says that no more will come; no JSON text is it
_END = b"end"

#: keys: list, closed, opened. Arguments: frame, capacity, needs to be opened, its life in seconds.
_PUSH = """
if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
if ARGV[3] == '1' then
    if redis.call('EXPIRE', KEYS[3], ARGV[4]) == 0 then return -1 end
end
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[1])
if ARGV[3] == '1' then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return 1
"""

#: keys: list, closed, room. Argument: the last frame.
_CLOSE = """
if redis.call('SETNX', KEYS[2], '1') == 1 then redis.call('RPUSH', KEYS[1], ARGV[1]) end
redis.call('RPUSH', KEYS[3], '1')
redis.call('EXPIRE', KEYS[3], 60)
return 1
"""

#: keys: list, closed, opened. Arguments: the last frame, needs to be opened, its life in seconds.
_OPEN = """
if redis.call('DEL', KEYS[2]) == 1 then redis.call('LREM', KEYS[1], 0, ARGV[1]) end
if ARGV[2] == '1' then redis.call('SET', KEYS[3], '1', 'EX', ARGV[3]) end
return 1
"""

#: keys: list, closed, opened, room. Argument: the last frame. Wakes whoever waits.
_DROP = """
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], 10)
redis.call('RPUSH', KEYS[4], '1')
redis.call('EXPIRE', KEYS[4], 10)
return 1
"""


class RedisTransport(Transport):
    """Queues in a Redis server.

    Args:
        client: Connected; replies as bytes.
        prefix: Begins every key, so that installations can share a server.

    """

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def _keys(self, name: str) -> tuple[str, str, str, str]:
        """Return list, closed, opened and room of a name; one hash tag for all."""
        base = f"{self._prefix}{{{name}}}"
        return base, f"{base}.closed", f"{base}.opened", f"{base}.room"

    async def _do(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except (RedisError, OSError) as error:
            raise ChannelUnavailableError(
                "the server of channels does not answer", detail=str(error)
            ) from error

    async def _script(self, script: str, keys: tuple[str, ...], *arguments: Any) -> int:
        answer = self._client.eval(script, len(keys), *keys, *arguments)
        return int(await self._do(lambda: answer))

    async def open(self, name: str) -> None:
        """Take a close back, or make a private name."""
        keys = self._keys(name)[:3]
        await self._script(_OPEN, keys, _END, _is_private(name), PRIVATE_TTL_S)

    async def push(self, name: str, frame: bytes, capacity: int, timeout_s: float | None) -> None:
        """Append a frame once there is room."""
        wait = _Wait(timeout_s)
        queue, closed, opened, room = self._keys(name)
        while True:
            pushed = await self._script(
                _PUSH, (queue, closed, opened), frame, capacity, _is_private(name), PRIVATE_TTL_S
            )
            if pushed == 1:
                return
            if pushed < 0:
                await self._pass_on(room)
                raise ChannelClosedError(f"channel {name} is closed")
            await self._blpop(room, wait.next_slice(name))

    async def pop(self, name: str, timeout_s: float | None) -> bytes:
        """Take the oldest frame."""
        wait = _Wait(timeout_s)
        queue, closed, opened, room = self._keys(name)
        if _is_private(name) and not await self._do(lambda: self._exists(opened)):
            raise ChannelClosedError(f"channel {name} is not there any more")
        while True:
            frame = await self._blpop(queue, wait.next_slice(name))
            if frame == _END:
                await self._put_back(queue, closed)
                raise ChannelClosedError(f"channel {name} is closed")
            if frame is not None:
                await self._pass_on(room)
                return frame

    async def _exists(self, key: str) -> bool:
        return bool(await self._client.exists(key))

    async def _blpop(self, key: str, timeout_s: float) -> bytes | None:
        found = await self._do(
            lambda: cast(Awaitable[Any], self._client.blpop([key], timeout=timeout_s))
        )
        return None if found is None else cast(bytes, found[1])

    async def _pass_on(self, room: str) -> None:
        """Wake one of those who wait for room; if it was a close, it wakes the next."""

        async def add() -> None:
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.rpush(room, "1")
                pipe.ltrim(room, 0, 0)
                pipe.expire(room, 60)
                await pipe.execute()

        await self._do(add)

    async def _put_back(self, queue: str, closed: str) -> None:
        async def add() -> None:
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.rpush(queue, _END)
                if not await self._exists(closed):  # dropped, not closed
                    pipe.expire(queue, 10)
                await pipe.execute()

        await self._do(add)

    async def close(self, name: str) -> None:
        """Refuse what is pushed from now on."""
        queue, closed, opened, room = self._keys(name)
        if _is_private(name) and not await self._do(lambda: self._exists(opened)):
            return
        await self._script(_CLOSE, (queue, closed, room), _END)
        if _is_private(name):
            await self._do(lambda: cast(Awaitable[Any], self._client.expire(closed, PRIVATE_TTL_S)))

    async def drop(self, name: str) -> None:
        """Forget a private name."""
        queue, closed, opened, room = self._keys(name)
        await self._script(_DROP, (queue, closed, opened, room), _END)
        await self._do(lambda: cast(Awaitable[Any], self._client.delete(closed)))

    async def join(self, name: str, member: str) -> None:
        """Add a subscriber."""
        key = self._members(name)
        await self._do(lambda: cast(Awaitable[Any], self._client.sadd(key, member)))

    async def leave(self, name: str, member: str) -> None:
        """Take a subscriber away."""
        key = self._members(name)
        await self._do(lambda: cast(Awaitable[Any], self._client.srem(key, member)))

    async def members(self, name: str) -> list[str]:
        """Return the subscribers."""
        key = self._members(name)
        found = await self._do(lambda: cast(Awaitable[Any], self._client.smembers(key)))
        return [member.decode() for member in found]

    def _members(self, name: str) -> str:
        return f"{self._keys(name)[0]}.members"


class _Wait:
    """Cuts a wait into slices."""

    def __init__(self, timeout_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._until_s = None if timeout_s is None else self._loop.time() + timeout_s
        self._has_tried = False

    def next_slice(self, name: str) -> float:
        """Return the seconds of the next blocking call; the first is made in any case.

        Raises:
            ChannelTimeoutError: The time is up.

        """
        if self._until_s is None:
            return SLICE_S
        left_s = self._until_s - self._loop.time()
        if left_s <= 0 and self._has_tried:
            raise ChannelTimeoutError(f"channel {name}: nothing happened in time")
        self._has_tried = True
        # 0 would be for ever
        return min(SLICE_S, max(0.01, left_s))


def _is_private(name: str) -> int:
    return int(name.startswith(PRIVATE))


@asynccontextmanager
async def open_redis(url: str, prefix: str = "abaco.channel.") -> AsyncIterator[RedisTransport]:
    """Connect to a server.

    Args:
        url: ``redis://host:port/db``, or ``unix://path``.
        prefix: Begins every key.

    Raises:
        ChannelUnavailableError: It does not answer.

    """
    client = redis.asyncio.from_url(
        url, socket_timeout=ANSWER_TIMEOUT_S, socket_connect_timeout=ANSWER_TIMEOUT_S
    )
    transport = RedisTransport(client, prefix)
    try:
        await transport._do(lambda: cast(Awaitable[Any], client.ping()))
        yield transport
    finally:
        await client.aclose()
