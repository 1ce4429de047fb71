"""/actors/{aid}/executions, one of them, its logs and its results."""

from __future__ import annotations

from abaco.domain.search import SearchKind
from abaco.operations import executions, logs
from handlers.base import BaseHandler
from handlers.intake_schemas import read_follow, read_offset, read_wait
from handlers.parameters import BINARY_TYPE, FOLLOW_PARAMETER
from handlers.rendering import render_execution, render_item, render_logs, render_summary
from handlers.search import SearchableHandler
from handlers.streams import stream_log


class ExecutionsHandler(SearchableHandler):
    """All executions of an actor."""

    async def get(self, aid: str) -> None:
        """List them, oldest first, with totals, or search them."""
        if parameters := self.search_parameters():
            await self.reply_search(SearchKind.EXECUTIONS, parameters)
            return
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
        """Show it; with ``wait`` as soon as it is final, or when the time is up."""
        wait_s = read_wait(self.query(), limit_s=self.services.settings.web.max_wait)
        async with self.while_connected():
            execution = await executions.await_final(
                self.services, self.actor, execution_id, timeout_s=wait_s or 0
            )
        result = render_execution(execution, self.case)
        self.reply(result, "Actor execution retrieved successfully.")

    async def delete(self, aid: str, execution_id: str) -> None:
        """Halt it."""
        self.note(execution=execution_id)
        execution = await executions.halt(self.services, self.actor, execution_id)
        self.reply(None, f"Issued force quit command for execution {execution.id}.")


class LogsHandler(SearchableHandler):
    """An execution's log."""

    async def get(self, aid: str, execution_id: str) -> None:
        """Show it as far as it goes, or with ``follow`` as it grows, or search it."""
        if read_follow(self.query()):
            await self._follow(execution_id)
            return
        if parameters := self.search_parameters(without=[FOLLOW_PARAMETER]):
            await self.reply_search(SearchKind.LOGS, parameters, execution_id=execution_id)
            return
        execution, text = await logs.read(self.services, self.actor, execution_id)
        self.reply(render_logs(self.actor.owner, execution, text), "Logs retrieved successfully.")

    async def _follow(self, execution_id: str) -> None:
        offset = read_offset(self.request.headers)
        execution = await executions.get(self.services, self.actor, execution_id)
        if offset is None:
            self.clear_header("Content-Type")
            self.set_status(204)
            return
        await stream_log(self, execution, offset)


class ResultsHandler(BaseHandler):
    """An execution's results."""

    async def get(self, aid: str, execution_id: str) -> None:
        """Take the oldest result away; empty when there is none. HEAD takes none."""
        if self.request.method == "HEAD":
            self.reply_raw(b"", BINARY_TYPE)
            return
        result = await executions.take_result(self.services, self.actor, execution_id)
        self.reply_raw(result, BINARY_TYPE)
