"""Cron schedules in memory: a walk over the actors."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from abaco.domain.actor import RUNNABLE, Actor, ActorKey, ActorStatus
from abaco.domain.cron import Cron
from abaco.ports.cron import CronStore
from abaco.ports.intake import ANY_ROOM, Room, Submission
from backends.stores import intake_rules, rules
from backends.stores.memory.intake import MemoryIntake
from backends.stores.memory.state import State, copy_actor


class MemoryCron(CronStore):
    """The schedules of the actors in the dictionary."""

    def __init__(self, state: State) -> None:
        self._state = state

    def _scheduled(self) -> list[tuple[tuple[datetime, str, str], Actor]]:
        """Return the actors with a next slot, and what they are ordered by."""
        return [
            (rules.cron_place(actor), actor)
            for actor in self._state.actors.values()
            if actor.cron is not None
            and actor.cron.next_at is not None
            and actor.status is not ActorStatus.SHUTTING_DOWN
        ]

    async def next_due(self, after: datetime) -> datetime | None:
        """Return the first ``next_at`` later than ``after``."""
        times = (place[0] for place, _ in self._scheduled())
        return min((time for time in times if time > after), default=None)

    async def due(
        self, now: datetime, *, after: Actor | None = None, limit: int = 100
    ) -> list[Actor]:
        """Page the actors whose ``next_at`` is not later than ``now``."""
        found = [
            (place, actor)
            for place, actor in self._scheduled()
            if place[0] <= now and (after is None or place > rules.cron_place(after))
        ]
        found.sort(key=lambda each: each[0])
        return [copy_actor(actor) for _, actor in found[:limit]]

    async def fire(
        self,
        submission: Submission,
        *,
        expect_next: datetime,
        new_next: datetime | None,
        room: Room = ANY_ROOM,
    ) -> bool:
        """Submit the message of a slot and move on to the next."""
        actor = intake_rules.check_batch([submission])
        cron = self._find(actor, expect_next)
        if cron is None or not cron.is_on:
            return False
        if self._state.actors[actor].status not in RUNNABLE:
            return False
        execution, message = submission
        intake = MemoryIntake(self._state)
        await intake.submit([submission], now=message.enqueued_at, room=room)
        self._put(actor, replace(cron, next_at=new_next, last_execution=execution.id))
        return True

    async def advance(
        self, key: ActorKey, *, expect_next: datetime, new_next: datetime | None
    ) -> bool:
        """Move on without a message."""
        cron = self._find(key, expect_next)
        if cron is not None:
            self._put(key, replace(cron, next_at=new_next))
        return cron is not None

    def _find(self, key: ActorKey, next_at: datetime) -> Cron | None:
        """Return the actor's schedule if this is its next slot."""
        actor = self._state.actors.get(key)
        if actor is None or actor.cron is None or actor.cron.next_at != next_at:
            return None
        return actor.cron

    def _put(self, key: ActorKey, cron: Cron) -> None:
        self._state.actors[key] = replace(self._state.actors[key], cron=cron)
