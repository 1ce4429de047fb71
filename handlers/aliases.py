"""/actors/aliases and /actors/aliases/{alias}."""

from __future__ import annotations

from abaco.errors import InvalidInputError
from abaco.operations import aliases
from handlers.base import BaseHandler
from handlers.rendering import render_alias
from handlers.schemas import AliasRequest


class AliasesHandler(BaseHandler):
    """The tenant's aliases, as far as the caller may read them."""

    async def get(self) -> None:
        """List them, oldest first."""
        found = await aliases.list_visible(self.services, self.caller)
        result = [render_alias(alias, self.case) for alias in found]
        self.reply(result, "Aliases retrieved successfully.")

    async def post(self) -> None:
        """Make one."""
        request = AliasRequest.read(self.body(), self.query(), self.case)
        alias = await aliases.create(self.services, self.caller, request.alias, request.actor_id)
        self.target = alias.shared
        self.note(actor=alias.actor_id)
        self.reply(render_alias(alias, self.case), "Actor alias created successfully.")


class AliasHandler(BaseHandler):
    """One alias."""

    async def get(self, name: str) -> None:
        """Show it."""
        self.reply(render_alias(self.alias, self.case), "Actor alias retrieved successfully.")

    async def put(self, name: str) -> None:
        """Let it point to another actor."""
        request = AliasRequest.read(self.body(), self.query(), self.case)
        if request.alias is not None:
            raise InvalidInputError("an alias cannot be renamed; send no alias", field="alias")
        alias = await aliases.repoint(self.services, self.caller, self.alias, request.actor_id)
        self.note(actor=alias.actor_id)
        self.reply(render_alias(alias, self.case), "Actor alias updated successfully.")

    async def delete(self, name: str) -> None:
        """Remove it with its permissions and nonces."""
        await aliases.delete(self.services, self.alias)
        self.reply(None, "Actor alias deleted successfully.")
