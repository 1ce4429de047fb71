"""/actors/{aid}/messages/batch."""

from __future__ import annotations

from dataclasses import replace

from abaco.operations import messages, throttle
from handlers.base import BaseHandler
from handlers.intake_schemas import read_batch, read_key
from handlers.messages import mark_replay, redeemed_nonce
from handlers.rendering import render_batch


class BatchHandler(BaseHandler):
    """Many messages at once."""

    async def post(self, aid: str) -> None:
        """Accept all of them, or none."""
        limit = self.services.settings.web.max_batch
        nonce = redeemed_nonce(self)
        posts = [
            replace(post, nonce=nonce)
            for post in read_batch(self.body(), self.query(), limit=limit)
        ]
        key = read_key(self.request.headers)
        throttle.spend(self.services, self.actor.key, len(posts))
        posted = await messages.post_batch(self.services, self.caller, self.actor, posts, key=key)
        mark_replay(self, is_replay=posted.is_replay)
        self.reply(render_batch(posted, self.case), "The request was successful")
