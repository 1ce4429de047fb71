"""/admin/dashboard: the actors of all tenants as a page, without scripts or anything fetched."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

from tornado.template import Template

from abaco.domain.actor import ActorKey
from abaco.domain.ids import ActorId, Tenant
from abaco.operations import reports
from handlers.base import BaseHandler
from handlers.messages import HTML_TYPE
from handlers.rendering import render_time
from handlers.schemas import DashboardRequest

#: nothing is fetched and nothing runs, whatever a page were made to hold; no other site frames it
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Read the page's template; every value in it is escaped."""
    path = resources.files("handlers").joinpath("templates", "dashboard.html")
    return Template(path.read_text(encoding="utf-8"), autoescape="xhtml_escape")


class DashboardHandler(BaseHandler):
    """What there is, for people."""

    async def get(self) -> None:
        """Show a page of it."""
        request = DashboardRequest.read(self.body(), self.query(), self.case)
        after = None
        if request.actor and request.tenant:
            after = ActorKey(Tenant(request.tenant), ActorId(request.actor))
        overview = await reports.overview(self.services, after)
        page = load_template().generate(
            overview=overview, time=render_time, version=self.services.settings.general.tag
        )
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")
        self.reply_raw(page, HTML_TYPE)

    async def post(self) -> None:
        """Show the same: forms of the older Abaco are sent this way, and hold nothing needed."""
        await self.get()
