"""Wake-ups inside the process, so that nobody polls a store.

A notice carries nothing but its key and may be spurious; whoever wakes looks at the store. The
durable truth is always the record, so a lost process loses no work.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

from abaco.domain.actor import ActorKey
from abaco.domain.execution import ExecutionKey


class Topic(StrEnum):
    """What a notice is about; the key's type is given in brackets."""

    MAILBOX = "mailbox"  # a message was queued (ActorKey)
    ACTOR = "actor"  # registered, updated, deleted, status changed (ActorKey)
    POOL = "pool"  # workers requested or asked to shut down (ActorKey)
    HALT = "halt"  # somebody asked the execution to stop (ExecutionKey)
    EXECUTION = "execution"  # its status changed (ExecutionKey)
    LOG = "log"  # its log grew (ExecutionKey)
    RESULT = "result"  # it handed back a result (ExecutionKey)
    CRON = "cron"  # its schedule was set, switched or cleared (ActorKey)


class Subscription(Protocol):
    """One listener's view of the notices it asked for."""

    @abstractmethod
    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for a notice that came after the last ``wait`` returned.

        Returns True at once when one came in between (none is missed), False on timeout.
        """

    @abstractmethod
    def take(self) -> list[ActorKey | ExecutionKey]:
        """Return, and forget, the keys noticed since the last ``take``, each once, in order."""


class Notices(Protocol):
    """Publish and subscribe, in process, on the loop's thread only."""

    @abstractmethod
    def publish(self, topic: Topic, key: ActorKey | ExecutionKey) -> None:
        """Wake everyone who listens to this topic and key, or to the whole topic."""

    @abstractmethod
    def subscribe(
        self, *topics: Topic, key: ActorKey | ExecutionKey | None = None
    ) -> AbstractContextManager[Subscription]:
        """Listen to topics, for one key or (None) for all, until the context ends.

        Subscribe first, then look at the store, then wait: that order misses nothing.
        """
