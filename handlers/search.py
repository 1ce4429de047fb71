"""/actors/search/{type}, and lists that any query parameter turns into a search."""

from __future__ import annotations

from collections.abc import Collection

from abaco.domain.search import SearchKind, parse_kind, parse_query
from abaco.operations.search import search
from handlers.found import render_found, render_search
from handlers.listing import ListHandler
from handlers.parameters import NONCE_PARAMETER, Fields


class SearchableHandler(ListHandler):
    """A route that is searched when its request has parameters."""

    def search_parameters(self, *, without: Collection[str] = ()) -> Fields:
        """Return the parameters to search with; none of them means not to search.

        Args:
            without: Parameters that mean something else on this route.

        """
        others = {NONCE_PARAMETER, *without}
        return {name: values for name, values in self.query().items() if name not in others}

    async def reply_search(
        self, kind: SearchKind, parameters: Fields, *, execution_id: str | None = None
    ) -> None:
        """Answer with what is found, below the actor in the path if there is one."""
        query = parse_query(parameters)
        async with self.while_connected():
            result = await search(
                self.services,
                self.caller,
                kind,
                query,
                actor=getattr(self, "actor", None),
                execution_id=execution_id,
            )
        await self.reply_list(
            result.pages,
            render=lambda item: render_found(item, self.case),
            frame=lambda items: render_search(result, items, self.case),
            message="Search completed successfully.",
        )


class SearchHandler(SearchableHandler):
    """Everything of one type that the caller may read."""

    async def get(self, kind: str) -> None:
        """Search it."""
        await self.reply_search(parse_kind(kind), self.search_parameters())
