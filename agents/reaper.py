"""Removes what has expired and what nobody owns."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from abaco.errors import DriverError
from agents.kit import Kit
from agents.litter import sweep_files
from agents.reconcile import sweep_containers

_log = logging.getLogger(__name__)

#: seconds between two rounds; an expired log may be readable this much longer
REAPER_INTERVAL_S = 60.0
#: most records removed by one transaction, so that others get their turn
BATCH = 500


class Reaper:
    """One round a minute: what has expired; files and containers of no live attempt.

    Most files are gone by then: who ends an attempt, or refuses a message, removes them.
    """

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    async def round(self) -> None:
        """Reap once."""
        now = self._kit.clock.now()
        stores = self._kit.stores
        for store in (stores.logs, stores.results, stores.intake):
            while await store.expire(now, limit=BATCH) == BATCH:
                pass
        await self._forget_audits(now)
        if count := await sweep_files(self._kit):
            _log.warning("removed %d files that nobody needed", count)
        if not self._kit.engine.is_up:
            return
        try:
            count = await sweep_containers(self._kit)
        except DriverError as error:
            self._kit.engine.report_down(error)
        else:
            if count:
                _log.warning("removed %d orphaned containers", count)

    async def _forget_audits(self, now: datetime) -> None:
        days = self._kit.settings.logs.audit_days
        if days < 0:
            return
        before = now - timedelta(days=days)
        while await self._kit.stores.audit.expire(before, limit=BATCH) == BATCH:
            pass
