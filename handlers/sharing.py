""".../nonces and .../permissions, the same below an actor, an alias and (permissions) a config."""

from __future__ import annotations

from abaco.domain.audit import fingerprint
from abaco.operations import nonces, permissions
from handlers.base import BaseHandler
from handlers.rendering import render_levels, render_nonce
from handlers.schemas import NonceRequest, PermissionRequest


class NoncesHandler(BaseHandler):
    """The nonces of an actor or alias."""

    async def get(self, name: str) -> None:
        """List them, oldest first."""
        found = await nonces.list_nonces(self.services, self.target)
        result = [render_nonce(nonce, self.leads_to, self.case) for nonce in found]
        self.reply(result, "Nonces retrieved successfully.")

    async def post(self, name: str) -> None:
        """Make one."""
        request = NonceRequest.read(self.body(), self.query(), self.case)
        nonce = await nonces.create(self.services, self.caller, self.target, request.draft())
        self.note(nonce=fingerprint(nonce.id), level=nonce.level.name, max_uses=nonce.max_uses)
        result = render_nonce(nonce, self.leads_to, self.case)
        self.reply(result, "Nonce created successfully.")


class NonceHandler(BaseHandler):
    """One nonce."""

    async def get(self, name: str, nonce_id: str) -> None:
        """Show it; nothing is used up."""
        nonce = await nonces.get(self.services, self.target, nonce_id)
        result = render_nonce(nonce, self.leads_to, self.case)
        self.reply(result, "Nonce retrieved successfully.")

    async def delete(self, name: str, nonce_id: str) -> None:
        """Remove it."""
        self.note(nonce=fingerprint(nonce_id))
        await nonces.delete(self.services, self.target, nonce_id)
        self.reply(None, "Nonce deleted successfully.")


class PermissionsHandler(BaseHandler):
    """Everybody's level on an actor, alias or config."""

    async def get(self, name: str) -> None:
        """Show the map of users and levels."""
        levels = await permissions.levels(self.services, self.target)
        self.reply(render_levels(levels), "Permissions retrieved successfully.")

    async def post(self, name: str) -> None:
        """Give one user a level; answer with the whole map."""
        request = PermissionRequest.read(self.body(), self.query(), self.case)
        self.note(user=request.user, level=request.level)
        levels = await permissions.grant(
            self.services, self.caller, self.target, request.user, request.level
        )
        self.reply(render_levels(levels), "Permission added successfully.")
