"""Long lists out, slice by slice: the loop and the memory stay free while one is written."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from handlers.base import CLIENT_GONE, BaseHandler

#: items that are rendered before others get their turn. Source: measured, 100 take 2 to 3 ms
SLICE_ITEMS = 100
#: characters after which others get their turn even if the items are fewer
SLICE_LENGTH = 256 * 1024
#: seconds a client may take to read a slice
SLICE_TIMEOUT_S = 60.0

Item = TypeVar("Item")


class ListHandler(BaseHandler):
    """A route whose answer holds a list of any length."""

    async def reply_list(
        self,
        pages: AsyncGenerator[list[Item], None],
        *,
        render: Callable[[Item], Any],
        frame: Callable[[Any], Any],
        message: str,
    ) -> None:
        """Answer with a success envelope around a list.

        What fits one slice is sent whole, with its length. A longer list goes out in chunks, as
        fast as the client reads; when it cannot be ended the connection is cut, so that nobody
        takes a part for the whole.

        Args:
            pages: The items. Closed in any case.
            render: Makes JSON of an item.
            frame: Makes the envelope's result of the list; it is called with a stand-in.
            message: Text of the envelope.

        """
        hole = uuid.uuid4().hex
        envelope = json.dumps(self.envelope("success", message, frame(hole)))
        before, after = envelope.split(f'"{hole}"')
        self._began = False
        try:
            async with aclosing(pages):
                self.write(f"{before}[")
                await self._write_items(pages, render)
                self.finish(f"]{after}")
        except StreamClosedError:
            # Nobody is there to be told; only the access log is.
            self.set_status(CLIENT_GONE, "Client Gone")
            self.finish()
        except BaseException:
            if self._began:
                self.detach().close()
            raise

    async def _write_items(
        self, pages: AsyncGenerator[list[Item], None], render: Callable[[Item], Any]
    ) -> None:
        separator, count, length = "", 0, 0
        async for page in pages:
            for item in page:
                if count >= SLICE_ITEMS or length >= SLICE_LENGTH:
                    await self._give_way()
                    count = length = 0
                    if self._began and self.request.method == "HEAD":
                        return
                text = separator + json.dumps(render(item))
                self.write(text)
                separator, count, length = ", ", count + 1, length + len(text)

    async def _give_way(self) -> None:
        """Send what there is, wait until the client has taken it, and let others have a turn."""
        # A client of HTTP/1.0 knows no chunks and must be told the length of the whole.
        if self.request.version != "HTTP/1.0":
            self._began = True
            try:
                async with asyncio.timeout(SLICE_TIMEOUT_S):
                    await self.flush()
            except TimeoutError as error:
                self._hang_up()
                raise StreamClosedError from error
        # A flush that went straight to the kernel has not waited.
        await asyncio.sleep(0)

    def _hang_up(self) -> None:
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.stream.close()
