"""/openapi.json and /docs: the description of the interface, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from swagger_ui_bundle import swagger_ui_path

from abaco.errors import NotFoundError
from abaco.operations.services import Services
from handlers.auth import Authenticator
from handlers.base import BaseHandler
from handlers.entry import Entry
from handlers.parameters import JSON_TYPE

HTML_TYPE = "text/html; charset=utf-8"

#: seconds a browser may keep what belongs to the page
ASSET_AGE_S = 3600

#: Nothing is fetched from elsewhere; Swagger UI's style sheet has its icons in ``data:`` URLs.
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)

_TYPES = {".css": "text/css", ".js": "text/javascript", ".png": "image/png"}
_THEIRS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_OURS = ("start.js",)


class Asset(NamedTuple):
    """One file the page needs."""

    content: bytes
    content_type: str


@lru_cache(maxsize=1)
def load_assets() -> Mapping[str, Asset]:
    """Read the files the page needs, by name."""
    own, theirs = resources.files("handlers").joinpath("openapi"), Path(swagger_ui_path)
    contents = {name: own.joinpath(name).read_bytes() for name in _OURS}
    contents |= {name: theirs.joinpath(name).read_bytes() for name in _THEIRS}
    return {name: Asset(content, _TYPES[Path(name).suffix]) for name, content in contents.items()}


@lru_cache(maxsize=1)
def load_page() -> bytes:
    """Read the page itself."""
    return resources.files("handlers").joinpath("openapi", "page.html").read_bytes()


class DescriptionHandler(BaseHandler):
    """The description as an OpenAPI document."""

    def initialize(  # type: ignore[override] # this route is given more than others
        self,
        services: Services,
        authenticator: Authenticator,
        entry: Entry,
        description: bytes,
    ) -> None:
        """Take what the route table hands in."""
        super().initialize(services, authenticator, entry)
        self._description = description

    async def get(self) -> None:
        """Send it, without an envelope."""
        self.reply_raw(self._description, JSON_TYPE)


class PageHandler(BaseHandler):
    """The description as a page to browse."""

    async def get(self) -> None:
        """Send the page; it fetches the rest."""
        self.set_header("Content-Security-Policy", PAGE_POLICY)
        self.reply_raw(load_page(), HTML_TYPE)


class AssetHandler(BaseHandler):
    """The files the page needs."""

    async def get(self, name: str) -> None:
        """Send one."""
        asset = load_assets().get(name)
        if asset is None:
            raise NotFoundError("there is nothing at this path")
        self.set_header("Cache-Control", f"public, max-age={ASSET_AGE_S}")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.reply_raw(asset.content, asset.content_type)
