"""Looks for what should not be: a lost instance, silent workers, messages nobody serves."""

from __future__ import annotations

import asyncio
import logging

from abaco.domain.worker import WorkerStatus
from abaco.errors import StoreError
from abaco.ports.notices import Topic
from agents.kit import Kit
from agents.spawner import Spawner

_log = logging.getLogger(__name__)

#: seconds between two health rounds
HEALTH_INTERVAL_S = 30.0
#: seconds between two heartbeats, and how long one is good for
HEARTBEAT_S = 5.0
HEARTBEAT_TTL_S = 20.0


class Health:
    """Stamps workers that are alive and wakes the spawner for mailboxes without one."""

    def __init__(self, kit: Kit, spawner: Spawner) -> None:
        self._kit = kit
        self._spawner = spawner

    async def round(self) -> None:
        """Check once. Notices make this unnecessary; it is the net under them."""
        live = self._spawner.live_keys()
        await self._kit.stores.workers.touch(live, self._kit.clock.now())
        served = {key.actor for key in live}
        asking = {key for key in await self._kit.stores.mailbox.backlog() if key not in served}
        for worker in await self._kit.stores.workers.list_workers():
            if worker.status is WorkerStatus.REQUESTED and worker.key not in live:
                asking.add(worker.key.actor)
        for actor in [*self._spawner.unserved(), *asking]:
            self._kit.notices.publish(Topic.POOL, actor)


class Heartbeat:
    """Says that this process serves the instance, and notices when another one does."""

    def __init__(self, kit: Kit, epoch: int) -> None:
        self._kit = kit
        self._epoch = epoch
        #: set when another process has taken over; this one must end at once
        self.is_superseded = asyncio.Event()
        #: why the last beat could not be written; None when it was
        self.failure: StoreError | None = None

    async def run(self) -> None:
        """Beat until cancelled."""
        while not self.is_superseded.is_set():
            try:
                is_ours = await self._kit.stores.instance.heartbeat(
                    self._epoch, self._kit.clock.now(), HEARTBEAT_TTL_S
                )
            except StoreError as error:
                self.failure = error
                _log.warning("heartbeat failed, will try again: %s", error)
            else:
                self.failure = None
                if not is_ours:
                    _log.critical("another process serves this instance now")
                    self.is_superseded.set()
            await asyncio.sleep(HEARTBEAT_S)
        await asyncio.Event().wait()
