"""Makes records and containers agree after a start, before anything is claimed.

Every leased execution is handed to a worker that looks for its container: it adopts a running
one, finalizes an ended one, and puts the message back, or gives it up, when there is none.
Containers that belong to no leased attempt are removed; records of other workers are deleted.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from abaco.domain.ids import ExecutionId
from abaco.domain.worker import WorkerStatus
from abaco.errors import DriverError
from abaco.metrics import ORPHANS
from abaco.ports.driver import OwnedContainer
from agents.kit import Kit
from agents.litter import sweep_files
from agents.persist import persist
from agents.spawner import Spawner

_log = logging.getLogger(__name__)


async def reconcile(kit: Kit, spawner: Spawner) -> None:
    """Reconcile once and let the spawner begin."""
    leased = await persist(kit.stores.executions.list_leased)
    workers = {worker.id: worker for worker in await persist(kit.stores.workers.list_workers)}
    held = {execution.worker_id for execution in leased}
    for worker in workers.values():
        # a requested one is a wish, perhaps of this moment, that the spawner will look at
        if worker.id not in held and worker.status is not WorkerStatus.REQUESTED:
            await persist(partial(kit.stores.workers.delete, worker.key))
    for execution in leased:
        if execution.worker_id is not None and execution.worker_id in workers:
            worker = workers[execution.worker_id]
            actor = await persist(partial(kit.stores.actors.get, worker.key.actor))
            spawner.adopt(worker, execution, actor.definition.queue)
        else:
            spawner.adopt_without_worker(execution)
    _log.info("reconciled: %d executions were in hand, %d workers", len(leased), len(workers))
    spawner.is_reconciled.set()


async def sweep_containers(kit: Kit) -> int:
    """Remove containers of this instance that belong to no leased attempt.

    Containers are listed first: one that is listed was claimed before, so it is leased unless
    its attempt is over. Returns how many are being removed.
    """
    owned = await kit.driver.list_owned()
    leased = {
        (execution.id, execution.attempt) for execution in await kit.stores.executions.list_leased()
    }
    orphans = [one for one in owned if not _is_kept(kit, one, leased)]
    for orphan in orphans:
        kit.remover.remove_soon(orphan.container_id)
        ORPHANS.labels("running" if orphan.is_running else "stopped").inc()
    return len(orphans)


def _is_kept(kit: Kit, owned: OwnedContainer, leased: set[tuple[ExecutionId, int]]) -> bool:
    if (owned.execution_id, owned.attempt) in leased:
        return True
    return kit.settings.workers.leave_containers and not owned.is_running


class Reconciler:
    """Reconciles once; then rests, because agents do not return."""

    def __init__(self, kit: Kit, spawner: Spawner) -> None:
        self._kit = kit
        self._spawner = spawner

    async def run(self) -> None:
        """Reconcile, clear out orphans when the engine answers, and wait to be cancelled."""
        if not self._spawner.is_reconciled.is_set():
            await reconcile(self._kit, self._spawner)
            count = await persist(partial(sweep_files, self._kit))
            _log.info("removed %d files of an earlier process", count)
        while True:
            await self._kit.engine.wait_until_up()
            try:
                count = await sweep_containers(self._kit)
            except DriverError as error:
                self._kit.engine.report_down(error)
            else:
                _log.info("removed %d orphaned containers", count)
                await asyncio.Event().wait()
