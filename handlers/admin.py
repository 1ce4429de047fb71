"""/actors/utilization and /actors/admin: numbers and lists about all tenants."""

from __future__ import annotations

from abaco.operations import audit, reports
from handlers import admin_rendering as rendering
from handlers.base import BaseHandler
from handlers.listing import ListHandler
from handlers.schemas import AuditRequest


class UtilizationHandler(BaseHandler):
    """How much of everything there is."""

    async def get(self) -> None:
        """Show the numbers; their names are the same in either case."""
        found = await reports.utilization(self.services)
        self.reply(rendering.render_utilization(found), "Utilization retrieved successfully.")


class AdminActorsHandler(ListHandler):
    """All actors of all tenants."""

    async def get(self) -> None:
        """List them, oldest first."""
        await self.reply_list(
            reports.iter_actors(self.services),
            render=lambda report: rendering.render_report(report, self.case),
            frame=lambda items: items,
            message="Actors retrieved successfully.",
        )


class AdminWorkersHandler(ListHandler):
    """All workers of all tenants."""

    async def get(self) -> None:
        """List them, oldest first, with counts."""
        listing = await reports.list_workers(self.services)
        await self.reply_list(
            listing.pages,
            render=lambda worker: rendering.render_worker_report(worker, self.case),
            frame=lambda items: rendering.frame_workers(listing, items, self.case),
            message="Workers retrieved successfully.",
        )


class AdminExecutionsHandler(ListHandler):
    """What all actors have used."""

    async def get(self) -> None:
        """List the actors that exist, oldest first, with sums that know the deleted ones too."""
        usage = await reports.totals(self.services)
        await self.reply_list(
            reports.iter_actors(self.services),
            render=lambda report: rendering.render_actor_usage(report, self.case),
            frame=lambda items: rendering.frame_usage(usage, items, self.case),
            message="Executions retrieved successfully.",
        )


class AuditHandler(BaseHandler):
    """The audit log."""

    async def get(self) -> None:
        """Show a page of it, in the order of its writing."""
        request = AuditRequest.read(self.body(), self.query(), self.case)
        found = await audit.list_records(
            self.services, after=request.after, since=request.start(), limit=request.limit
        )
        result = [rendering.render_audit(record, self.case) for record in found]
        self.reply(result, "Audit records retrieved successfully.")
