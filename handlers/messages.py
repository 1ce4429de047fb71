"""/actors/{aid}/messages."""

from __future__ import annotations

from dataclasses import replace

from abaco.domain.event import MAX_HOPS
from abaco.domain.repeat import check_key
from abaco.domain.webhook import read_hops
from abaco.operations import messages, throttle
from handlers.base import BaseHandler
from handlers.intake_schemas import read_key
from handlers.parameters import BINARY_TYPE, NONCE_PARAMETER
from handlers.rendering import render_mailbox, render_posted
from handlers.schemas import read_message, read_synchronous
from handlers.spelling import dress

HTML_TYPE = "text/html; charset=utf-8"


def redeemed_nonce(handler: BaseHandler) -> str | None:
    """Return the nonce that admitted the request; None when something else did."""
    if handler.caller.nonce_level is None:
        return None
    return next(filter(None, handler.query().get(NONCE_PARAMETER, ())), None)


def mark_replay(handler: BaseHandler, *, is_replay: bool) -> None:
    """Tell the client of an answer that it is about an earlier request."""
    if is_replay:
        handler.set_header("Idempotency-Replayed", "true")


class MessagesHandler(BaseHandler):
    """An actor's mailbox."""

    async def get(self, aid: str) -> None:
        """Count the messages that wait."""
        count = await messages.count(self.services, self.actor)
        result = render_mailbox(self.actor, "messages", count)
        self.reply(result, "Messages retrieved successfully.")

    async def post(self, aid: str) -> None:
        """Accept a message; synchronous ones are answered with what came of it."""
        post = read_message(self.body(), self.query())
        self.check_in()
        await self.accept(post)

    def check_in(self) -> None:
        """Read what goes with a message, and count it against the rates."""
        self._hops = read_hops(self.request.headers, MAX_HOPS)
        self._key = read_key(self.request.headers)
        if self._key is not None:
            check_key(self._key)
        self._is_synchronous = read_synchronous(self.query())
        throttle.spend(self.services, self.actor.key, 1)

    async def accept(self, post: messages.Post) -> None:
        """Accept what was checked in, and answer."""
        key = self._key
        post = replace(
            post,
            hops=self._hops,
            nonce=redeemed_nonce(self),
            is_synchronous=self._is_synchronous,
        )
        if self._is_synchronous:
            await self._wait(post, key)
            return
        posted = await messages.post(self.services, self.caller, self.actor, post, key=key)
        mark_replay(self, is_replay=posted.is_replay)
        self.reply(render_posted(posted, self.case), "The request was successful")

    async def delete(self, aid: str) -> None:
        """Give up the messages that wait."""
        count = await messages.purge(self.services, self.actor)
        self.note(count=count)
        text = f"{count} messages were purged."
        self.reply(render_mailbox(self.actor, "msg", text), "Messages purged successfully.")

    async def _wait(self, post: messages.Post, retry_key: str | None) -> None:
        async with self.while_connected():
            reply = await messages.post_and_wait(
                self.services,
                self.caller,
                self.actor,
                post,
                timeout_s=self.services.settings.web.sync_timeout,
                key=retry_key,
            )
        mark_replay(self, is_replay=reply.is_replay)
        execution = dress({"execution_id": reply.execution.id}, self.case)
        match reply:
            case messages.Replied(result=None, log=log):
                # An actor's output is no page of ours: whatever it holds must not run here.
                self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
                self.reply_raw(log.encode(), HTML_TYPE)
            case messages.Replied(result=bytes() as result):
                self.reply_raw(result, BINARY_TYPE)
            case messages.Failed(execution=key, reason=reason):
                self.fail(500, f"execution {key.id} ended in ERROR: {reason}", execution)
            case messages.GivenUp(execution=key, reason=reason):
                self.fail(410, f"execution {key.id} was given up: {reason}", execution)
            case messages.StillRunning(execution=key):
                self.fail(504, f"execution {key.id} is not done yet; it goes on", execution)
