"""The contract of searching."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from abaco.domain.actor import Actor
from abaco.domain.execution import Execution
from abaco.domain.search import Query, SearchScope
from abaco.domain.worker import Worker

Item = Actor | Execution | Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPage:
    """What was found.

    Attributes:
        items: The page that was asked for. Of logs, the executions they belong to: a log may be
            long, and is read when it is shown.
        total: How many there are in all, on whatever page.

    """

    items: Sequence[Item]
    total: int


class SearchStore(Protocol):
    """Finds records by what a client is shown of them."""

    @abstractmethod
    async def search(self, scope: SearchScope, query: Query) -> SearchPage:
        """Return one page of what a query finds, all of it as it was at one moment.

        Found is what ``abaco.domain.search.grade`` grades above 0 among the documents of the
        scope: only what belongs to actors that exist and whose permissions give the user READ,
        by an own entry or by everybody's. Best grade first, then oldest first, by (time, id):
        actors and workers by their creation, executions and logs by their message. Without
        words all grades are alike.

        There is a log where an execution has stored output that has not expired, or has ended
        without any output.

        Never delays the other stores. Raises LimitExceededError when it takes longer than
        ``[store] search_timeout_s``.
        """
