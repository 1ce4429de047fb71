"""The contract of the store behind cron: the schedules of actors, by when they are due.

As in ``abaco.ports.store``: every method is one transaction, durable before it returns. A schedule
is part of its actor's record: registering, updating and deleting the actor writes it. Here it only
moves on: ``next_at`` is compare-and-set, so of several who decide about a slot one is heard, and a
second identical call changes nothing and answers False.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Protocol

from abaco.domain.actor import Actor, ActorKey
from abaco.ports.intake import ANY_ROOM, Room, Submission


class CronStore(Protocol):
    """Schedules that have a next slot, of actors that are not SHUTTING_DOWN; on or off."""

    @abstractmethod
    async def next_due(self, after: datetime) -> datetime | None:
        """Return the first ``next_at`` later than ``after``; None when there is none."""

    @abstractmethod
    async def due(
        self, now: datetime, *, after: Actor | None = None, limit: int = 100
    ) -> list[Actor]:
        """Page the actors whose ``next_at`` is not later than ``now``.

        In order of (next_at, id, tenant), from the one that comes after ``after`` as it was read.
        """

    @abstractmethod
    async def fire(
        self,
        submission: Submission,
        *,
        expect_next: datetime,
        new_next: datetime | None,
        room: Room = ANY_ROOM,
    ) -> bool:
        """Submit the message of a slot and move on to the next, in one step.

        The schedule's ``last_execution`` becomes the execution. False, and nothing happens, when
        the actor is absent, not SUBMITTED or READY, its schedule off or gone, or ``next_at`` not
        ``expect_next``. Raises ConflictError when the execution id exists, and as ``Intake.submit``
        when there is no room.
        """

    @abstractmethod
    async def advance(
        self, key: ActorKey, *, expect_next: datetime, new_next: datetime | None
    ) -> bool:
        """Pass over a slot: move on without a message.

        False, and nothing happens, when the actor or its schedule is absent, or ``next_at`` not
        ``expect_next``.
        """
