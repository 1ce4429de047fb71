"""/actors/{aid}/workers and one of them."""

from __future__ import annotations

from abaco.domain.search import SearchKind
from abaco.operations import workers
from handlers.base import BaseHandler
from handlers.rendering import render_worker
from handlers.schemas import WorkersRequest
from handlers.search import SearchableHandler


class WorkersHandler(SearchableHandler):
    """An actor's workers."""

    async def get(self, aid: str) -> None:
        """List them, oldest first, or search them."""
        if parameters := self.search_parameters():
            await self.reply_search(SearchKind.WORKERS, parameters)
            return
        found = await workers.list_workers(self.services, self.actor)
        result = [render_worker(worker, self.case) for worker in found]
        self.reply(result, "Workers retrieved successfully.")

    async def post(self, aid: str) -> None:
        """Make sure there are at least so many."""
        request = WorkersRequest.read(self.body(), self.query(), self.case)
        self.note(num=request.num)
        requested = await workers.ensure_for(self.services, self.caller, self.actor, request.num)
        self.reply(None, f"{requested} new workers were requested.")


class WorkerHandler(BaseHandler):
    """One worker."""

    async def get(self, aid: str, worker_id: str) -> None:
        """Show it."""
        worker = await workers.get(self.services, self.actor, worker_id)
        self.reply(render_worker(worker, self.case), "Worker retrieved successfully.")

    async def delete(self, aid: str, worker_id: str) -> None:
        """Let it finish its message, and go."""
        self.note(worker=worker_id)
        await workers.drain(self.services, self.actor, worker_id)
        self.reply(None, "Worker scheduled to be stopped.")
