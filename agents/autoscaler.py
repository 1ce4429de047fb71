"""The slow tick under the notices: asks again for whoever has messages and nobody at work."""

from __future__ import annotations

from abaco.ports.notices import Topic
from agents.kit import Kit
from agents.spawner import Spawner

#: seconds between two ticks
TICK_S = 5.0


class Autoscaler:
    """Every change of a mailbox or a pool wakes the spawner by itself; this misses nothing."""

    def __init__(self, kit: Kit, spawner: Spawner) -> None:
        self._kit = kit
        self._spawner = spawner

    async def round(self) -> None:
        """Ask once. The cost grows with the actors that have messages, not with all."""
        asking = self._spawner.take_undecided()
        for actor in await self._kit.stores.mailbox.backlog():
            if not self._spawner.attends(actor):
                asking.add(actor)
        for queue in self._kit.slots.queues:
            following = self._kit.slots.next_in(queue)
            if following is not None:
                asking.add(following)
        for actor in asking:
            self._kit.notices.publish(Topic.POOL, actor)
