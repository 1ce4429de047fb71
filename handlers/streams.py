"""A log as it grows: server-sent events.

Each event ``log`` has the byte offset after its text as id, so a client that lost the connection
goes on where it was by sending that id back as ``Last-Event-ID``. Source: WHATWG HTML,
"Server-sent events".
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from abaco.domain.execution import Execution
from abaco.operations import logs, throttle
from handlers.base import CLIENT_GONE, BaseHandler
from handlers.rendering import render_end
from handlers.spelling import Case

EVENT_STREAM = "text/event-stream"

#: seconds after which a comment is sent when nothing else is; proxies cut what is silent longer
HEARTBEAT_S = 15.0
#: seconds a client may take to read one piece
READ_TIMEOUT_S = 60.0

#: id of the last event; a browser that connects again with it is told to stay away
END_ID = "end"


async def stream_log(handler: BaseHandler, execution: Execution, offset: int) -> None:
    """Send the log of an execution from a byte on until it ends, or the client leaves.

    One piece is in memory at a time: the next is read when the client has taken the last.

    Raises:
        ThrottledError: Too many follow already.
        ForbiddenError: The client has lost the right to; the connection is cut then.

    """
    with throttle.following(handler.services):
        handler.set_header("Content-Type", EVENT_STREAM)
        handler.set_header("Cache-Control", "no-store")
        # nginx would hold small answers back
        handler.set_header("X-Accel-Buffering", "no")
        if handler.request.method != "HEAD":
            await _stream(handler, execution, offset)
    handler.finish()


async def _stream(handler: BaseHandler, execution: Execution, offset: int) -> None:
    steps = logs.follow(handler.services, execution, offset=offset, quiet_s=HEARTBEAT_S)
    loop = asyncio.get_running_loop()
    checked_s = loop.time()
    try:
        async with handler.while_connected(), aclosing(steps):
            await _send(handler, ": the log follows\n\n")
            async for step in steps:
                if loop.time() - checked_s >= HEARTBEAT_S:
                    await handler.check_again()
                    checked_s = loop.time()
                await _send(handler, _event_of(step, handler.case))
    except (StreamClosedError, HTTPError):
        # Nobody is there to be told; only the access log is.
        handler.set_status(CLIENT_GONE, "Client Gone")
    except BaseException:
        # What was begun cannot become an error; cut off, it is not taken for the whole.
        handler.detach().close()
        raise


async def _send(handler: BaseHandler, text: str) -> None:
    """Write, and wait until the kernel has taken it."""
    handler.write(text)
    async with asyncio.timeout(READ_TIMEOUT_S):
        await handler.flush()
    # A flush that went straight to the kernel has not waited.
    await asyncio.sleep(0)


def _event_of(step: logs.Step, case: Case) -> str:
    match step:
        case logs.Piece(text=text, offset=offset):
            return _event("log", {"logs": text}, str(offset))
        case logs.Restarted():
            return _event("restart", {}, "0")
        case logs.Ended(execution=execution):
            return _event("end", render_end(execution, case), END_ID)
        case logs.Quiet():
            return ": still here\n\n"


def _event(name: str, data: dict[str, Any], identifier: str) -> str:
    # JSON escapes every line break, so that the data are one line.
    return f"event: {name}\nid: {identifier}\ndata: {json.dumps(data)}\n\n"
