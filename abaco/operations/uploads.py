"""Bodies of messages that become files: binary ones as they come in, texts that are too large."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence

from abaco.domain.context import CONTENT_TYPE_BINARY, python_text
from abaco.domain.ids import ExecutionId
from abaco.domain.message import Blob, Message
from abaco.errors import StoreError
from abaco.operations.services import Services
from abaco.ports.blobs import Upload
from abaco.ports.intake import Submission

_log = logging.getLogger(__name__)


class Incoming:
    """A binary message whose body is being received.

    Args:
        execution_id: Of the execution it will make.
        upload: Where the body goes.

    """

    def __init__(self, execution_id: ExecutionId, upload: Upload) -> None:
        self.execution_id = execution_id
        self._upload = upload

    async def write(self, data: bytes) -> None:
        """Take a piece; waiting for it keeps memory bounded."""
        await self._upload.write(data)

    async def finish(self) -> Blob:
        """Make the body durable. From then on ``messages.post`` looks after it."""
        return await self._upload.finish()

    def abandon(self) -> None:
        """Drop the body, unless it was finished."""
        self._upload.abandon()


async def begin(services: Services, size_bytes: int = 0) -> Incoming:
    """Begin to receive a body, of an announced size where that is known.

    Raises:
        StoreUnavailableError: There is no room for it.
        StoreError: It cannot be kept.

    """
    services.space.check(size_bytes)
    execution_id = ExecutionId(services.ids.new_id())
    return Incoming(execution_id, await services.stores.blobs.begin(execution_id))


def describe(message: Message) -> Blob:
    """Describe the file that a message's text would be."""
    text = python_text(message.body).encode()
    return Blob(size_bytes=len(text), sha256=hashlib.sha256(text).hexdigest())


async def put_aside(services: Services, batch: Sequence[Submission]) -> None:
    """Write the files of texts that are too large. Those of binary messages are there already."""
    for _, message in batch:
        if message.blob is None or message.content_type == CONTENT_TYPE_BINARY:
            continue
        upload = await services.stores.blobs.begin(message.execution_id)
        try:
            await upload.write(python_text(message.body).encode())
            await upload.finish()
        finally:
            upload.abandon()


async def forget(services: Services, executions: Collection[ExecutionId]) -> None:
    """Remove the files of messages that are none. What cannot be removed is left to the sweep."""
    if not executions:
        return
    try:
        await services.stores.blobs.delete(executions)
    except StoreError as error:
        _log.warning("%d files of messages are left to a sweep: %s", len(executions), error)
