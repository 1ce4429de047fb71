"""Read the logs of executions, at once or as they grow."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from abaco.domain.actor import Actor
from abaco.domain.execution import FINAL, Execution, ExecutionStatus
from abaco.domain.log import TRUNCATED, shown_log
from abaco.operations import executions
from abaco.operations.services import Services
from abaco.ports.notices import Topic
from abaco.ports.store import LogText

#: most bytes of a followed log that are held at once
PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The next text of a log. ``offset`` is the byte it ends before; to go on there is safe."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Nothing came for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """The log begins again: its run was lost, and the message runs once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The execution is final, and all of its log was given."""

    execution: Execution


Step = Piece | Quiet | Restarted | Ended


async def read(services: Services, actor: Actor, execution_id: str) -> tuple[Execution, str]:
    """Return the log so far, with its execution; empty when there is none, or it has expired.

    Raises:
        NotFoundError: The actor has no such execution.

    """
    execution = await executions.get(services, actor, execution_id)
    return execution, await stored_text(services, execution)


async def follow(
    services: Services, execution: Execution, *, offset: int = 0, quiet_s: float | None = None
) -> AsyncGenerator[Step, None]:
    """Yield the log from byte ``offset`` on as it grows, until the execution is final.

    The next piece is read when the one before was taken, so a slow taker costs no memory.

    Args:
        services: Ports and settings.
        execution: As it was found.
        offset: What was given before, by an earlier call.
        quiet_s: Seconds without news after which Quiet is yielded; None for never.

    """
    cursor = _Cursor(services, execution, offset)
    topics = (Topic.LOG, Topic.EXECUTION)
    with services.notices.subscribe(*topics, key=execution.key) as subscription:
        while True:
            step = await cursor.advance()
            if step is not None:
                yield step
                if isinstance(step, Ended):
                    return
            elif not await subscription.wait(quiet_s):
                yield Quiet()


class _Cursor:
    """A place in a log that may begin again under it."""

    def __init__(self, services: Services, execution: Execution, offset: int) -> None:
        self._stores = services.stores
        self._key = execution.key
        self._losses = execution.losses
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_marked = False

    async def advance(self) -> Step | None:
        """Return what comes next; None when there is nothing yet."""
        # Status first: the log is complete before it turns final.
        execution = await self._stores.executions.get(self._key)
        if execution.losses != self._losses:
            if execution.status is ExecutionStatus.SUBMITTED:
                return None  # the lost run's log is still there, and about to go
            self._losses = execution.losses
            return self._restart()
        log = await self._stores.logs.read(self._key, self._offset, max_bytes=PIECE_BYTES)
        if log.bytes_seen < self._offset:
            return self._restart()
        if log.data:
            return self._piece(log.data)
        if execution.status not in FINAL:
            return None
        return self._rest(log) or Ended(execution=execution)

    def _restart(self) -> Step:
        self._offset = 0
        self._decoder.reset()
        return Restarted()

    def _piece(self, data: bytes) -> Step:
        self._offset += len(data)
        text = self._decoder.decode(data)
        # A character may be cut in two; whoever goes on from here needs its beginning.
        return Piece(text=text, offset=self._offset - len(self._decoder.getstate()[0]))

    def _rest(self, log: LogText) -> Step | None:
        """Return what is said after the last byte, once."""
        if self._is_marked:
            return None
        self._is_marked = True
        text = TRUNCATED if log.is_truncated else self._decoder.decode(b"", final=True)
        return Piece(text=text, offset=self._offset) if text else None


async def stored_text(services: Services, execution: Execution) -> str:
    """Return an execution's log as text; says so when output was left out at its end."""
    log = await services.stores.logs.read(execution.key)
    return shown_log(log.data, is_final=execution.status in FINAL, is_truncated=log.is_truncated)
