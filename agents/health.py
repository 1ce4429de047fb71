"""Looks for what should not be: a lost instance, workers that got stuck, records nobody serves."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from abaco.domain.worker import Worker, WorkerStatus
from abaco.errors import NotFoundError, StoreError
from abaco.lifecycle.health import is_overdue
from abaco.ports.notices import Topic
from agents.kit import Kit
from agents.spawner import Spawner
from agents.worker import WorkerAgent

_log = logging.getLogger(__name__)

#: seconds between two health rounds
HEALTH_INTERVAL_S = 30.0
#: seconds between two heartbeats, and how long one is good for
HEARTBEAT_S = 5.0
HEARTBEAT_TTL_S = 20.0


class Health:
    """Stamps workers that are alive, and clears up what nobody moves any more."""

    def __init__(self, kit: Kit, spawner: Spawner) -> None:
        self._kit = kit
        self._spawner = spawner

    async def round(self) -> None:
        """Check once."""
        workers = self._kit.stores.workers
        await workers.touch(self._spawner.live_keys(), self._kit.clock.now())
        if not self._spawner.is_reconciled.is_set():
            return  # until then, records without an agent are as they should be
        for worker in await workers.list_workers():
            agent = self._spawner.find_live(worker.key)
            if agent is not None:
                self._check_agent(agent)
            elif worker.status is not WorkerStatus.REQUESTED:
                self._spawner.recover_soon(worker.key)
            else:
                await self._check_request(worker)

    def _check_agent(self, agent: WorkerAgent) -> None:
        """End an agent that got stuck; its message is taken over."""
        age_s = self._kit.clock.monotonic() - agent.since_s
        if not self._kit.engine.is_up or not self._is_overdue(agent.status, age_s):
            return
        if agent.abort():
            _log.warning("worker %s is stuck in %s", agent.worker.id, agent.status.value)

    async def _check_request(self, worker: Worker) -> None:
        """Give up a wish that found no place for too long; the need is looked at afresh."""
        age_s = (self._kit.clock.now() - worker.create_time).total_seconds()
        if not self._is_overdue(worker.status, age_s):
            return
        with suppress(NotFoundError):
            await self._kit.stores.workers.set_status(
                worker.key, WorkerStatus.SHUTDOWN_REQUESTED, expect={WorkerStatus.REQUESTED}
            )
        self._kit.notices.publish(Topic.POOL, worker.key.actor)

    def _is_overdue(self, status: WorkerStatus, age_s: float) -> bool:
        settings = self._kit.settings
        return is_overdue(
            status,
            age_s,
            max_run_time_s=settings.workers.max_run_time,
            stop_grace_s=settings.runtime.stop_grace,
        )


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
