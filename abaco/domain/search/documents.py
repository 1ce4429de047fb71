"""What a client is shown of a record, as far as it can be searched; links cannot.

Names are those of the API in snake case, times are times. Whatever a response shows of these
records must stand here too; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from abaco.domain.actor import Actor, ActorDefinition
from abaco.domain.cron import Cron
from abaco.domain.execution import Execution, IoDetail, Outcome
from abaco.domain.search.times import shown
from abaco.domain.worker import Worker

Document = Mapping[str, Any]

#: the secret is shown to nobody, so nobody may guess at it
_DEFINITION_FIELDS = tuple(
    field.name for field in fields(ActorDefinition) if field.name != "webhook_secret"
)

#: exit code of an ended execution that could not be learned
NO_EXIT_CODE = "undetermined"

#: final state of an ended execution that could not be learned
NO_FINAL_STATE: Mapping[str, Any] = {"unavailable": True}


def actor_document(actor: Actor) -> Document:
    """Describe an actor."""
    return {
        **{name: getattr(actor.definition, name) for name in _DEFINITION_FIELDS},
        **actor.host.shown(),
        **describe_cron(actor.cron),
        "id": actor.id,
        "owner": actor.owner,
        "status": str(actor.status),
        "status_message": actor.status_message,
        "state": actor.state,
        "revision": actor.revision,
        "create_time": shown(actor.create_time),
        "last_update_time": shown(actor.last_update_time),
    }


def execution_document(execution: Execution) -> Document:
    """Describe an execution."""
    outcome = execution.outcome
    return {
        "id": execution.id,
        "actor_id": execution.actor_id,
        "executor": execution.executor,
        "status": str(execution.status),
        "worker_id": execution.worker_id,
        "message_received_time": shown(execution.message_received_time),
        "start_time": _shown_or_none(execution.start_time),
        "finish_time": _shown_or_none(outcome.finish_time if outcome else None),
        **describe_outcome(outcome),
    }


def worker_document(worker: Worker) -> Document:
    """Describe a worker."""
    return {
        "id": worker.id,
        "actor_id": worker.actor_id,
        "status": str(worker.status),
        "image": worker.image,
        "location": worker.location,
        "cid": worker.container_id or worker.id,
        "ch_name": worker.channel_name,
        "host_id": worker.host_id,
        "host_ip": worker.host_ip,
        "create_time": shown(worker.create_time),
        "last_execution_time": _shown_or_none(worker.last_execution_time),
        "last_health_check_time": _shown_or_none(worker.last_health_check_time),
    }


def log_document(execution: Execution, text: str) -> Document:
    """Describe an execution's log; the ids are not shown, but tell logs apart."""
    return {"logs": text, "actor_id": execution.actor_id, "execution_id": execution.id}


def describe_cron(cron: Cron | None) -> dict[str, Any]:
    """Describe an actor's schedule, if it has one."""
    if cron is None:
        return {"cron_on": False, "cron_schedule": None, "cron_next_ex": None}
    return {
        "cron_on": cron.is_on,
        "cron_schedule": cron.schedule,
        "cron_next_ex": cron.next_text,
    }


def describe_outcome(outcome: Outcome | None) -> dict[str, Any]:
    """Describe what an execution's end, if it came, left behind."""
    if outcome is None:
        return {
            "cpu": 0,
            "io": 0,
            "io_detail": asdict(IoDetail()),
            "memory_peak": 0,
            "runtime": 0,
            "runtime_ms": 0,
            "exit_code": None,
            "final_state": None,
        }
    final_state = dict(outcome.final_state or NO_FINAL_STATE)
    if outcome.error:
        final_state["Error"] = outcome.error
    return {
        "cpu": outcome.cpu_ns,
        "io": outcome.io_bytes,
        "io_detail": asdict(outcome.io_detail),
        "memory_peak": outcome.memory_peak_bytes,
        "runtime": outcome.runtime_ms // 1000,
        "runtime_ms": outcome.runtime_ms,
        "exit_code": NO_EXIT_CODE if outcome.exit_code is None else outcome.exit_code,
        "final_state": final_state,
    }


def _shown_or_none(time: datetime | None) -> datetime | None:
    return None if time is None else shown(time)
