"""/actors/admin/encryption-key: replace the key of secrets, and see how far it is."""

from __future__ import annotations

from abaco.operations.rotation import Rotation
from abaco.operations.services import Services
from handlers.auth import Authenticator
from handlers.base import BaseHandler
from handlers.entry import Entry
from handlers.rendering import render_rotation


class EncryptionKeyHandler(BaseHandler):
    """The rotation of keys, for administrators."""

    def initialize(  # type: ignore[override] # this route is given more than others
        self,
        services: Services,
        authenticator: Authenticator,
        entry: Entry,
        rotation: Rotation,
    ) -> None:
        """Take what the route table hands in."""
        super().initialize(services, authenticator, entry)
        self._rotation = rotation

    async def get(self) -> None:
        """Tell how the present rotation, or the last one, stands."""
        self._reply("Rotation retrieved successfully.")

    async def post(self) -> None:
        """Begin one, or join the one under way."""
        await self._rotation.begin()
        self._reply("A new key is in use; secrets are being encrypted anew.")

    def _reply(self, message: str) -> None:
        self.reply(render_rotation(self._rotation.report(), self.case), message)
