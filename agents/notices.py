"""Publish and subscribe inside the process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from abaco.domain.actor import ActorKey
from abaco.domain.execution import ExecutionKey
from abaco.ports.notices import Notices, Subscription, Topic

Key = ActorKey | ExecutionKey | None


class EventSubscription(Subscription):
    """A subscription on one asyncio event: notices between two waits merge into one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._keys: dict[ActorKey | ExecutionKey, None] = {}

    def notice(self, key: ActorKey | ExecutionKey) -> None:
        """Note the key and wake whoever waits."""
        self._keys[key] = None
        self._event.set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the next notice; False on timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def take(self) -> list[ActorKey | ExecutionKey]:
        """Return, and forget, the keys noticed so far, each once, in order."""
        keys, self._keys = self._keys, {}
        return list(keys)


class LocalNotices(Notices):
    """Notices for one loop. All calls come from the loop's thread."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[Topic, Key], set[EventSubscription]] = defaultdict(set)

    def publish(self, topic: Topic, key: ActorKey | ExecutionKey) -> None:
        """Wake the listeners of this key and those of the whole topic."""
        for place in ((topic, key), (topic, None)):
            for subscription in self._listeners.get(place, ()):
                subscription.notice(key)

    @contextmanager
    def subscribe(
        self, *topics: Topic, key: ActorKey | ExecutionKey | None = None
    ) -> Iterator[Subscription]:
        """Listen until the context ends."""
        subscription = EventSubscription()
        for topic in topics:
            self._listeners[topic, key].add(subscription)
        try:
            yield subscription
        finally:
            for topic in topics:
                listeners = self._listeners[topic, key]
                listeners.discard(subscription)
                if not listeners:
                    del self._listeners[topic, key]
