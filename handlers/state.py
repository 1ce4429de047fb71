"""/actors/{id}/state."""

from __future__ import annotations

from abaco.operations import state
from handlers.base import BaseHandler
from handlers.parameters import media_type
from handlers.rendering import render_actor
from handlers.schemas import read_state


class StateHandler(BaseHandler):
    """An actor's state."""

    async def get(self, actor_id: str) -> None:
        """Show it."""
        value = await state.get(self.services, self.caller, actor_id)
        self.reply({"state": value}, "Actor state retrieved successfully.")

    async def post(self, actor_id: str) -> None:
        """Replace it."""
        value = read_state(media_type(self.request), self.request.body)
        actor = await state.replace(self.services, self.caller, actor_id, value)
        self.reply(render_actor(actor, self.case), "State updated successfully.")
