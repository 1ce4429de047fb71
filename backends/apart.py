"""Blocking calls that may never return, in threads nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Apart:
    """Runs blocking calls, each in a thread of its own.

    A call to a file server that is away may last for ever. It keeps its thread then, and its
    place: when all places are taken, calls time out without a thread. The threads end with the
    process.

    Args:
        name: Of the threads.
        count: Calls at one time.
        timeout_s: Seconds a call may take, waiting for a place included.

    """

    def __init__(self, name: str, *, count: int, timeout_s: float) -> None:
        self._name = name
        self._places = asyncio.Semaphore(count)
        self._timeout_s = timeout_s

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Return what the function returns, or raise what it raises; TimeoutError."""
        async with asyncio.timeout(self._timeout_s):
            await self._places.acquire()
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[T] = loop.create_future()
            thread = threading.Thread(
                target=self._work,
                args=(loop, answer, partial(function, *args)),
                name=self._name,
                daemon=True,
            )
            thread.start()
            return await answer

    def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: asyncio.Future[T],
        function: Callable[[], T],
    ) -> None:
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            put = partial(answer.set_exception, error)
        else:
            put = partial(answer.set_result, result)
        with suppress(RuntimeError):  # the loop is closed by now, and nobody waits
            loop.call_soon_threadsafe(self._deliver, answer, put)

    def _deliver(self, answer: asyncio.Future[Any], put: Callable[[], None]) -> None:
        self._places.release()
        if not answer.cancelled():
            put()
