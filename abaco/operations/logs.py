"""Read the logs of executions."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator

from abaco.domain.actor import Actor
from abaco.domain.execution import FINAL, Execution
from abaco.operations import executions
from abaco.operations.services import Services
from abaco.ports.notices import Topic

#: ends a log whose rest was left out; clients look for these very words
TRUNCATED = " LOG LIMIT EXCEEDED; this execution log was TRUNCATED!"


async def read(services: Services, actor: Actor, execution_id: str) -> tuple[Execution, str]:
    """Return the log so far, with its execution; empty when there is none, or it has expired.

    Raises:
        NotFoundError: The actor has no such execution.

    """
    execution = await executions.get(services, actor, execution_id)
    return execution, await stored_text(services, execution)


async def follow(
    services: Services, actor: Actor, execution_id: str, *, offset: int = 0
) -> AsyncIterator[bytes]:
    """Yield the log from byte ``offset`` on as it grows; ends when the execution is final.

    Raises:
        NotFoundError: The actor has no such execution.

    """
    execution = await executions.get(services, actor, execution_id)
    key = execution.key
    with services.notices.subscribe(Topic.LOG, Topic.EXECUTION, key=key) as subscription:
        while True:
            # Status first: the log is complete before it turns final.
            execution = await services.stores.executions.get(key)
            log = await services.stores.logs.read(key, offset)
            if log.data:
                offset += len(log.data)
                yield log.data
            if execution.status in FINAL:
                return
            await subscription.wait()


async def stored_text(services: Services, execution: Execution) -> str:
    """Return an execution's log as text; says so when output was left out at its end."""
    log = await services.stores.logs.read(execution.key)
    # A character may be cut in two by the limit, or by a write that is still under way.
    is_whole = execution.status in FINAL and not log.is_truncated
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(log.data, final=is_whole)
    if log.is_truncated:
        text += TRUNCATED
    return text
