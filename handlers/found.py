"""How what a search finds looks on the wire."""

from __future__ import annotations

from typing import Any

from abaco.domain.actor import Actor
from abaco.domain.execution import Execution
from abaco.domain.worker import Worker
from abaco.operations.search import Found, FoundLog, SearchResult
from handlers.rendering import render_actor, render_execution, render_logs, render_worker
from handlers.spelling import Case, dress


def render_search(result: SearchResult, items: Any, case: Case) -> dict[str, Any]:
    """Render a page of a search around the items given."""
    metadata = {
        "count_returned": result.count,
        "record_limit": result.query.limit,
        "records_skipped": result.query.skip,
        "total_count": result.total,
    }
    return {"_metadata": dress(metadata, case), "search": items}


def render_found(item: Found, case: Case) -> dict[str, Any]:
    """Render one item; unlike in other responses, attributes without a value are always there."""
    record: dict[str, Any]
    match item:
        case Actor():
            record = render_actor(item, "snake")
        case Execution():
            record = render_execution(item, "snake")
            del record["api_server"]
        case Worker():
            record = render_worker(item, "snake")
            record["actor_id"] = item.actor_id
            del record["tenant"]
        case FoundLog():
            record = render_logs(item.owner, item.execution, item.text)
    return dress(record, case, keep_nulls=True)
