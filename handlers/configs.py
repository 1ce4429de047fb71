"""/actors/configs and /actors/configs/{name}."""

from __future__ import annotations

from abaco.operations import configs
from handlers.base import BaseHandler
from handlers.listing import ListHandler
from handlers.rendering import render_config
from handlers.schemas import ConfigRequest


class ConfigsHandler(ListHandler):
    """The tenant's configs, as far as the caller may read them."""

    async def get(self) -> None:
        """List them by name."""
        await self.reply_list(
            configs.iter_visible(self.services, self.caller),
            render=lambda config: render_config(config, self.case),
            frame=lambda items: items,
            message="Configs retrieved successfully.",
        )

    async def post(self) -> None:
        """Make one."""
        request = ConfigRequest.read(self.body(), self.query(), self.case)
        config = await configs.create(self.services, self.caller, request.draft())
        self.target = config.shared
        self.note(secret=config.is_secret)
        self.reply(render_config(config, self.case), "Config created successfully.")


class ConfigHandler(BaseHandler):
    """One config."""

    async def get(self, name: str) -> None:
        """Show it."""
        self.reply(render_config(self.config, self.case), "Config retrieved successfully.")

    async def put(self, name: str) -> None:
        """Replace value, secrecy and actors."""
        request = ConfigRequest.read(self.body(), self.query(), self.case)
        config = await configs.replace(self.services, self.config, request.draft())
        self.note(secret=config.is_secret)
        self.reply(render_config(config, self.case), "Config updated successfully.")

    async def delete(self, name: str) -> None:
        """Remove it with its permissions."""
        await configs.delete(self.services, self.config)
        self.reply(None, "Config deleted successfully.")
