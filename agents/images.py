"""Brings images to the engine: one pull per reference at a time, shared by all who wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from abaco.ports.driver import Driver, ImageInfo, PullPolicy


class ImageKeeper:
    """Makes sure images are there.

    Args:
        driver: The engine.
        policy: When to pull although the image is there.
        timeout_s: Seconds a pull may take.
        max_parallel_pulls: Pulls of different images at the same time.

    """

    def __init__(
        self, driver: Driver, policy: PullPolicy, *, timeout_s: float, max_parallel_pulls: int
    ) -> None:
        self._driver = driver
        self._policy = policy
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(max_parallel_pulls)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: how many are in or before the lock of a reference; at 0 the lock goes
        self._users: defaultdict[str, int] = defaultdict(int)
        #: images pulled while others waited for the same reference
        self._fresh: dict[str, ImageInfo] = {}

    async def ensure(
        self, reference: str, progress: Callable[[str], None] | None = None
    ) -> ImageInfo:
        """Return the image, pulled if the policy says so.

        Whoever waits behind a pull of the same reference shares its outcome.
        Raises what ``Driver.ensure_image`` raises.
        """
        self._users[reference] += 1
        try:
            async with self._locks[reference]:
                if reference in self._fresh:
                    return self._fresh[reference]
                async with self._slots:
                    image = await self._driver.ensure_image(
                        reference, self._policy, timeout_s=self._timeout_s, progress=progress
                    )
                self._fresh[reference] = image
                return image
        finally:
            self._users[reference] -= 1
            if not self._users[reference]:
                del self._users[reference], self._locks[reference]
                self._fresh.pop(reference, None)
