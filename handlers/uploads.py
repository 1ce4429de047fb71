"""Binary messages: received into a file, never into memory."""

from __future__ import annotations

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, stream_request_body

from abaco.errors import AbacoError, InvalidInputError
from abaco.operations import uploads
from abaco.operations.messages import Post
from handlers.intake import DRAIN_BYTES, announced_length
from handlers.messages import MessagesHandler
from handlers.parameters import BINARY_TYPE, Body, media_type
from handlers.schemas import binary_message, has_text, read_message
from handlers.server import body_timeout_s


def is_upload(request: HTTPServerRequest) -> bool:
    """Tell whether a request, if it is for a mailbox, brings a binary message."""
    return request.method == "POST" and media_type(request) == BINARY_TYPE


@stream_request_body
class BinaryMessagesHandler(MessagesHandler):
    """An actor's mailbox, for those who post binary messages.

    Everything is checked before the body is received. A refusal waits until the body is in, and
    dropped: a client that writes on while we close gets a reset, which takes the answer away. Only
    one that asks first, or has a lot to send, is answered at once.
    """

    _incoming: uploads.Incoming | None = None
    _refusal: AbacoError | HTTPError | None = None

    async def prepare(self) -> None:
        """Check the request and make room for its body."""
        try:
            await self._prepare()
        except (AbacoError, HTTPError) as error:
            if self._must_answer_now():
                raise
            self._refusal = error

    async def _prepare(self) -> None:
        if (admission := super().prepare()) is not None:
            await admission
        if "Content-Length" not in self.request.headers:
            raise InvalidInputError("a binary message needs a Content-Length", field="message")
        self.check_in()
        if has_text(self.query()):
            return
        connection, length = self.request.connection, announced_length(self.request.headers)
        if isinstance(connection, HTTP1Connection):
            connection.set_body_timeout(body_timeout_s(length))
        self._incoming = await uploads.begin(self.services, length)

    def _must_answer_now(self) -> bool:
        headers = self.request.headers
        waits = headers.get("Expect", "").lower() == "100-continue"
        return waits or announced_length(headers) > DRAIN_BYTES

    async def data_received(self, chunk: bytes) -> None:
        """Write a piece to the file; the next one is read when this one is written."""
        if self._incoming is None or self._refusal is not None:
            return
        try:
            await self._incoming.write(chunk)
        except AbacoError as error:
            self._refusal = error
            self._incoming.abandon()

    async def post(self, aid: str) -> None:
        """Accept the message whose body is in the file."""
        if self._refusal is not None:
            raise self._refusal
        await self.accept(await self._message())

    async def _message(self) -> Post:
        if self._incoming is None:  # a parameter of the query is the message
            return read_message(Body(media_type=BINARY_TYPE), self.query())
        blob = await self._incoming.finish()
        return binary_message(self._incoming.execution_id, blob, self.query())

    def on_connection_close(self) -> None:
        """Drop the body of a client that went away."""
        super().on_connection_close()
        self._drop()

    def on_finish(self) -> None:
        """Drop what did not become a message."""
        super().on_finish()
        self._drop()

    def _drop(self) -> None:
        if self._incoming is not None:
            self._incoming.abandon()
