"""Serves the slots of cron schedules: waits for the next one, decides, submits its message."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from abaco.domain.actor import RUNNABLE, Actor
from abaco.domain.cron import Cron
from abaco.domain.execution import FINAL, ExecutionKey
from abaco.errors import AbacoError, NotFoundError, StoreUnavailableError, ThrottledError
from abaco.lifecycle.misfire import Misfire, Overlap, Verdict, judge
from abaco.metrics import CRON_LAG_SECONDS
from abaco.operations.cron import make_message
from abaco.operations.intake import room_of
from abaco.operations.services import Services
from abaco.ports.notices import Topic
from agents.persist import persist

_log = logging.getLogger(__name__)

#: longest wait: the wall clock may have been set, and a slot may have been left behind
TICK_S = 50.0
#: wait after a round the store broke off
RETRY_S = 1.0
#: schedules read, and served side by side, at once
BATCH = 50


class CronAgent:
    """Fires what is due, then waits for the next slot or for a schedule that changed.

    A slot is decided once, by the store's compare-and-set, so nothing is doubled by a restart in
    between or by another process; what a round leaves behind is due in the next one.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stores = services.stores
        self._clock = services.clock
        self._misfire = Misfire(services.settings.runtime.cron_misfire)
        self._overlap = Overlap(services.settings.runtime.cron_overlap)

    async def run(self) -> None:
        """Serve slots until cancelled."""
        with self._services.notices.subscribe(Topic.CRON) as changes:
            while True:
                await changes.wait(await self.round())

    async def round(self) -> float:
        """Serve everything that is due.

        Returns:
            How many seconds may pass until the next round.

        """
        try:
            now = self._clock.now()
            while await self._pass(now):
                now = self._clock.now()
            next_at = await self._stores.cron.next_due(now)
        except StoreUnavailableError as error:
            _log.warning("cron: no round, will try again: %s", error)
            return RETRY_S
        if next_at is None:
            return TICK_S
        return min(TICK_S, max(0.0, (next_at - self._clock.now()).total_seconds()))

    async def _pass(self, now: datetime) -> bool:
        """Decide one slot of every schedule that is due; tell whether one has more of them."""
        is_behind = False
        last: Actor | None = None
        while page := await self._stores.cron.due(now, after=last, limit=BATCH):
            # side by side, so that a page of commits becomes one
            answers = await asyncio.gather(
                *(self._serve_alone(actor, now) for actor in page), return_exceptions=True
            )
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
                is_behind |= answer
            last = page[-1]
        return is_behind

    async def _serve_alone(self, actor: Actor, now: datetime) -> bool:
        """Decide for one actor, so that its fault is not that of the others."""
        try:
            return await self._serve(actor, now)
        except StoreUnavailableError:
            raise
        except AbacoError as error:
            _log.warning("cron: a slot of actor %s is left for later: %s", actor.id, error)
            return False

    async def _serve(self, actor: Actor, now: datetime) -> bool:
        cron = actor.cron
        if cron is None or cron.next_at is None:
            return False
        may_fire = cron.is_on and actor.status in RUNNABLE and not await self._overlaps(actor, cron)
        verdict = judge(cron, now, self._misfire, may_fire=may_fire)
        if verdict.fires:
            has_moved = await self._fire(actor, cron.next_at, verdict, now)
        else:
            has_moved = await self._pass_over(actor, cron.next_at, verdict)
        # one that somebody else has moved or changed is looked at in another round
        return has_moved and verdict.next_at is not None and verdict.next_at <= now

    async def _overlaps(self, actor: Actor, cron: Cron) -> bool:
        """Tell whether the last slot's execution stands in the way of this one."""
        if self._overlap is Overlap.QUEUE or cron.last_execution is None:
            return False
        key = ExecutionKey(actor.tenant, actor.id, cron.last_execution)
        try:
            return (await self._stores.executions.get(key)).status not in FINAL
        except NotFoundError:  # so old that its record is gone
            return False

    async def _pass_over(self, actor: Actor, slot: datetime, verdict: Verdict) -> bool:
        following = verdict.next_at
        _log.debug("cron: passes over the slot %s of actor %s", slot, actor.id)
        return await persist(
            lambda: self._stores.cron.advance(actor.key, expect_next=slot, new_next=following)
        )

    async def _fire(self, actor: Actor, slot: datetime, verdict: Verdict, now: datetime) -> bool:
        submission, following = make_message(self._services, actor), verdict.next_at
        room = room_of(self._services, actor)
        try:
            has_fired = await persist(
                lambda: self._stores.cron.fire(
                    submission, expect_next=slot, new_next=following, room=room
                )
            )
        except ThrottledError as error:
            _log.warning("cron: actor %s missed a slot: %s", actor.id, error)
            return await self._pass_over(actor, slot, verdict)
        # also when it has not: the answer of a call that was applied may have been lost
        self._services.notices.publish(Topic.MAILBOX, actor.key)
        if has_fired:
            CRON_LAG_SECONDS.observe((now - slot).total_seconds())
            _log.info("cron: actor %s got execution %s", actor.id, submission.execution.id)
        return has_fired
