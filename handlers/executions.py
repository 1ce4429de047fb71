"""/actors/{aid}/executions, one of them, its logs and its results."""

from __future__ import annotations

from abaco.operations import executions, logs
from handlers.base import BaseHandler
from handlers.listing import ListHandler
from handlers.parameters import BINARY_TYPE
from handlers.rendering import render_execution, render_item, render_logs, render_summary


class ExecutionsHandler(ListHandler):
    """All executions of an actor."""

    async def get(self, aid: str) -> None:
        """List them, oldest first, with totals."""
        self.refuse_search()
        listing = await executions.list_executions(self.services, self.actor)
        await self.reply_list(
            listing.pages,
            render=lambda execution: render_item(execution, self.case),
            frame=lambda items: render_summary(listing, items, self.case),
            message="Actor executions retrieved successfully.",
        )


class ExecutionHandler(BaseHandler):
    """One execution."""

    async def get(self, aid: str, execution_id: str) -> None:
        """Show it."""
        execution = await executions.get(self.services, self.actor, execution_id)
        result = render_execution(execution, self.case)
        self.reply(result, "Actor execution retrieved successfully.")

    async def delete(self, aid: str, execution_id: str) -> None:
        """Halt it."""
        execution = await executions.halt(self.services, self.actor, execution_id)
        self.reply(None, f"Issued force quit command for execution {execution.id}.")


class LogsHandler(BaseHandler):
    """An execution's log."""

    async def get(self, aid: str, execution_id: str) -> None:
        """Show it, as far as it goes."""
        self.refuse_search()
        execution, text = await logs.read(self.services, self.actor, execution_id)
        self.reply(render_logs(self.actor, execution, text), "Logs retrieved successfully.")


class ResultsHandler(BaseHandler):
    """An execution's results."""

    async def get(self, aid: str, execution_id: str) -> None:
        """Take the oldest result away; empty when there is none."""
        result = await executions.take_result(self.services, self.actor, execution_id)
        self.reply_raw(result, BINARY_TYPE)
