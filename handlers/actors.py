"""/actors and /actors/{aid}."""

from __future__ import annotations

from abaco.domain.search import SearchKind
from abaco.operations import actors
from handlers.base import BaseHandler
from handlers.rendering import render_actor
from handlers.schemas import ActorRequest, ActorUpdate
from handlers.search import SearchableHandler


class ActorsHandler(SearchableHandler):
    """The actors shared with the caller, own ones included."""

    async def get(self) -> None:
        """List them, oldest first, or search them."""
        if parameters := self.search_parameters():
            await self.reply_search(SearchKind.ACTORS, parameters)
            return
        await self.reply_list(
            actors.iter_visible(self.services, self.caller),
            render=lambda actor: render_actor(actor, self.case),
            frame=lambda items: items,
            message="Actors retrieved successfully.",
        )

    async def post(self) -> None:
        """Register one."""
        request = ActorRequest.read(self.body(), self.query(), self.case)
        actor = await actors.register(self.services, self.caller, request.draft())
        self.target = actor.key.shared
        self.note(image=actor.definition.image)
        self.reply(render_actor(actor, self.case), "Actor created successfully.")


class ActorHandler(BaseHandler):
    """One actor."""

    async def get(self, aid: str) -> None:
        """Show it."""
        self.reply(render_actor(self.actor, self.case), "Actor retrieved successfully.")

    async def put(self, aid: str) -> None:
        """Replace its definition."""
        request = ActorUpdate.read(self.body(), self.query(), self.case)
        actor = await actors.update(
            self.services, self.caller, self.actor, request.draft(), force=request.force
        )
        self.note(image=actor.definition.image, revision=actor.revision)
        self.reply(render_actor(actor, self.case), "Actor updated successfully.")

    async def delete(self, aid: str) -> None:
        """Shut it down and remove it."""
        is_gone = await actors.delete(self.services, self.actor)
        done = "Actor deleted successfully."
        self.reply(None, done if is_gone else "Actor is being deleted; clean-up still runs.")
