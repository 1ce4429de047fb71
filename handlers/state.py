"""/actors/{aid}/state."""

from __future__ import annotations

from abaco.operations import state
from handlers.base import BaseHandler
from handlers.parameters import media_type
from handlers.rendering import render_actor
from handlers.schemas import read_state


class StateHandler(BaseHandler):
    """An actor's state."""

    async def get(self, aid: str) -> None:
        """Show it."""
        self.reply({"state": self.actor.state}, "Actor state retrieved successfully.")

    async def post(self, aid: str) -> None:
        """Replace it."""
        value = read_state(media_type(self.request), self.request.body)
        actor = await state.replace(self.services, self.actor, value)
        self.reply(render_actor(actor, self.case), "State updated successfully.")
