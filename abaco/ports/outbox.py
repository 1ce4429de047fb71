"""The contract of the outbox: events that wait to be told.

Events are written by the other stores, in the transactions that make them happen, exactly when
the actor has a link or a webhook at that moment:

* ``ActorStore.set_status``, when the status becomes READY or ERROR and was another one;
* ``Mailbox.mark_running``, when starts are told at all;
* ``Mailbox.finalize``, ``purge``, a ``release`` that ends the execution, and
  ``ActorStore.delete`` for messages left over.

An actor's events are numbered without gaps in the order of those transactions. An event is
removed when both its legs are over; it outlives its actor until then, and so does the secret its
webhook is signed with.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from abaco.domain.actor import ActorKey
from abaco.domain.event import Event, EventKey
from abaco.domain.execution import Execution
from abaco.domain.message import Message
from abaco.ports.intake import ANY_ROOM, Room


class Outbox(Protocol):
    """Events that wait. Every step of a leg is compare-and-set: taken twice, it counts once."""

    @abstractmethod
    async def with_events(self, among: Collection[ActorKey] | None = None) -> list[ActorKey]:
        """Return the actors that have events, of these or (None) of all, each once."""

    @abstractmethod
    async def head(self, actor: ActorKey) -> Event | None:
        """Return the actor's oldest event; None when it has none."""

    @abstractmethod
    async def deliver_link(
        self, key: EventKey, execution: Execution, message: Message, *, room: Room = ANY_ROOM
    ) -> bool:
        """Submit the link message, as ``Intake.submit`` does, and end the leg, in one step.

        False, and nothing is submitted, when the leg is over or the event gone. Raises what
        ``submit`` raises; the leg waits on then.
        """

    @abstractmethod
    async def drop_link(self, key: EventKey) -> bool:
        """End the link's leg without a message. False when it is over already."""

    @abstractmethod
    async def settle_webhook(
        self, key: EventKey, attempts: int, *, retry_at: datetime | None
    ) -> bool:
        """Note that one more request was made.

        Args:
            key: The event.
            attempts: Requests before this one, as read: the compare of the compare-and-set.
            retry_at: Not before this is the next one; None ends the leg.

        Returns:
            False when the leg is over or somebody else has noted a request meanwhile.

        """
