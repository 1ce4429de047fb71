"""Responses of the admin routes: records of all tenants, as JSON."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from abaco.domain.audit import AuditRecord
from abaco.domain.usage import ActorReport, Totals, Usage
from abaco.domain.worker import Worker, WorkerStatus
from abaco.operations.reports import Utilization, WorkerListing
from handlers.rendering import render_actor, render_time, render_worker
from handlers.spelling import Case, dress

#: what an actor's owner sees and an administrator of all tenants does not
_NOT_SHOWN = ("default_environment", "state", "_links")


def render_utilization(found: Utilization) -> dict[str, int]:
    """Render the numbers; never spelled in snake."""
    return {
        "currentActors": found.current_actors,
        "totalActors": found.total_actors,
        "workers": found.workers,
        "commandQueue": found.command_queue,
    }


def render_report(report: ActorReport, case: Case) -> dict[str, Any]:
    """Render one actor with all that is its own."""
    actor = report.actor
    record = {
        **render_actor(actor, "snake"),
        "webhook": _without_keys(actor.definition.webhook),
        "tenant": actor.tenant,
        "db_id": f"{actor.tenant}_{actor.id}",
        "api_server": actor.api_server,
        "workers": [render_worker(worker, case) for worker in report.workers],
        "messages": report.queued,
        "executions": report.totals.count,
        "runtime": report.totals.runtime_s,
    }
    for name in _NOT_SHOWN:
        del record[name]
    return dress(record, case)


def _without_keys(url: str) -> str:
    """Show whom a webhook calls; path and query are as good as a password with many receivers."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/***" if url else ""


def render_worker_report(worker: Worker, case: Case) -> dict[str, Any]:
    """Render one worker and whose it is."""
    record = {
        **render_worker(worker, "snake"),
        "actor_id": worker.actor_id,
        "actor_dbid": f"{worker.tenant}_{worker.actor_id}",
    }
    return dress(record, case)


def frame_workers(listing: WorkerListing, workers: Any, case: Case) -> dict[str, Any]:
    """Put counts beside the list of workers."""
    counts = listing.counts
    summary = {
        "total_workers": sum(counts.values()),
        "ready_workers": counts.get(WorkerStatus.READY, 0),
        "requested_workers": counts.get(WorkerStatus.REQUESTED, 0),
        "error_workers": counts.get(WorkerStatus.ERROR, 0),
        "busy_workers": counts.get(WorkerStatus.BUSY, 0),
        "actors_no_workers": listing.idle_actors,
    }
    return {"summary": dress(summary, case), "workers": workers}


def render_actor_usage(report: ActorReport, case: Case) -> dict[str, Any]:
    """Render what one actor has used."""
    totals = report.totals
    record = {
        "actor_id": report.actor.id,
        "owner": report.actor.owner,
        "image": report.actor.definition.image,
        "total_executions": totals.count,
        "total_execution_cpu": totals.cpu_ns,
        "total_execution_io": totals.io_bytes,
        "total_execution_runtime": totals.runtime_s,
    }
    return dress(record, case)


def frame_usage(usage: Usage, actors: Any, case: Case) -> dict[str, Any]:
    """Put the sums beside the list of actors."""
    summary = {**_sums(usage.ever, "all"), **_sums(usage.existing, "existing")}
    return {"summary": dress(summary, case), "actors": actors}


def _sums(totals: Totals, which: str) -> dict[str, int]:
    executions = totals.executions
    return {
        f"total_actors_{which}": totals.actors,
        f"total_actors_{which}_with_executions": totals.used_actors,
        f"total_executions_{which}": executions.count,
        f"total_execution_runtime_{which}": executions.runtime_s,
        f"total_execution_cpu_{which}": executions.cpu_ns,
        f"total_execution_io_{which}": executions.io_bytes,
    }


def render_audit(record: AuditRecord, case: Case) -> dict[str, Any]:
    """Render one record of the audit log; what ``detail`` holds is never spelled in camel."""
    shown = {
        "id": record.seq,
        "time": render_time(record.time),
        "action": record.action,
        "object": record.object,
        "outcome": record.outcome,
        "status": record.status,
        "tenant": record.tenant,
        "user": record.user,
        "roles": list(record.roles),
        "proof": record.proof,
        "remote_address": record.remote_address,
        "request_id": record.request_id,
        "detail": dict(record.detail),
    }
    return dress(shown, case)
