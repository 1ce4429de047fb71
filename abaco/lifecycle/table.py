"""The one way a lifecycle machine decides: a table from (status, stimulus type) to a method."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from abaco.errors import InvalidTransitionError

Decision = TypeVar("Decision")

#: steps kept for the error text of an illegal transition
HISTORY_LENGTH = 20


class Journal:
    """The last steps of one machine, for people who must explain a bug."""

    def __init__(self) -> None:
        self._steps: deque[str] = deque(maxlen=HISTORY_LENGTH)

    def look_up(
        self,
        table: Mapping[tuple[Enum, type], Decision],
        status: Enum,
        stimulus: object,
    ) -> Decision:
        """Return the table's decision for this pair and note the step.

        Raises:
            InvalidTransitionError: The pair is not in the table; carries the last steps.

        """
        self._steps.append(f"{status.value} <- {stimulus!r}")
        decision = table.get((status, type(stimulus)))
        if decision is None:
            raise InvalidTransitionError(
                f"{type(stimulus).__name__} cannot happen in {status.value}", list(self._steps)
            )
        return decision
