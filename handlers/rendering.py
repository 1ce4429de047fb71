"""Responses: how the records of the core look on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import quote

from abaco.domain.actor import Actor, ActorDefinition
from abaco.domain.actor_config import ActorConfig
from abaco.domain.alias import Alias
from abaco.domain.context import CONTENT_TYPE_TEXT, python_text
from abaco.domain.execution import Execution
from abaco.domain.health import AgentReport, CheckReport
from abaco.domain.ids import ActorId
from abaco.domain.nonce import Nonce
from abaco.domain.permission import Level, ObjectKind
from abaco.domain.search.documents import describe_cron, describe_outcome
from abaco.domain.times import time_text
from abaco.domain.worker import Worker
from abaco.operations.executions import ExecutionListing
from abaco.operations.messages import Posted, PostedBatch
from abaco.operations.rotation import RotationReport
from handlers.spelling import Case, dress

#: what stands for a time that has not come, where clients need a value
NO_TIME = "None"


def render_time(time: datetime) -> str:
    """Write a time as UTC, ISO 8601 with three decimals and ``Z``."""
    return time_text(time)


def render_actor(actor: Actor, case: Case) -> dict[str, Any]:
    """Render one actor, its links included."""
    definition, host = actor.definition, actor.host.shown()
    record = {
        "id": actor.id,
        "name": definition.name,
        "image": definition.image,
        "description": definition.description,
        "owner": actor.owner,
        "status": actor.status,
        "status_message": actor.status_message,
        "stateless": definition.stateless,
        "type": definition.type,
        "token": definition.token,
        "link": definition.link,
        "webhook": definition.webhook,
        "hints": list(definition.hints),
        "privileged": definition.privileged,
        "max_workers": definition.max_workers,
        "mem_limit": definition.mem_limit,
        "max_cpus": definition.max_cpus,
        "use_container_uid": definition.use_container_uid,
        "default_environment": dict(definition.default_environment),
        "state": actor.state,
        "mounts": host["mounts"],
        "revision": actor.revision,
        "tasdir": host["tasdir"],
        "uid": host["uid"],
        "gid": host["gid"],
        "queue": definition.queue,
        "log_ex": definition.log_ex,
        **describe_cron(actor.cron),
        **_render_own_limits(definition),
        "create_time": render_time(actor.create_time),
        "last_update_time": render_time(actor.last_update_time),
        "_links": {
            "self": _actor_url(actor),
            "owner": _profile_url(actor.api_server, actor.owner),
            "executions": f"{_actor_url(actor)}/executions",
        },
    }
    return dress(record, case)


def _render_own_limits(definition: ActorDefinition) -> dict[str, Any]:
    """Render what is no key of the older Abaco: there only where it was asked for."""
    limits = {
        "max_run_time": definition.max_run_time,
        "read_only_rootfs": definition.read_only_rootfs or None,
        "network": definition.network,
    }
    return {name: value for name, value in limits.items() if value is not None}


def render_posted(posted: Posted, case: Case) -> dict[str, Any]:
    """Render the reply to an accepted message."""
    actor, execution, message = posted.actor, posted.execution, posted.message
    is_text = message.content_type == CONTENT_TYPE_TEXT
    record = {
        "execution_id": execution.id,
        "msg": python_text(message.body) if is_text else message.body,
        "_links": {
            "self": _execution_url(execution),
            "owner": _profile_url(actor.api_server, actor.owner),
            "messages": f"{_actor_url(actor)}/messages",
        },
    }
    # A message that is JSON null is a value, not a missing one.
    dressed = dress(record, case, keep_nulls=True)
    # The older executors read this spelling, whatever the server's is.
    return {**dressed, "executionId": execution.id}


def render_batch(posted: PostedBatch, case: Case) -> dict[str, Any]:
    """Render the reply to an accepted batch; the ids are in the order of the messages."""
    actor = posted.actor
    record = {
        "execution_ids": list(posted.execution_ids),
        "_links": {
            "self": f"{_actor_url(actor)}/messages/batch",
            "owner": _profile_url(actor.api_server, actor.owner),
            "messages": f"{_actor_url(actor)}/messages",
            "executions": f"{_actor_url(actor)}/executions",
        },
    }
    return dress(record, case)


def render_mailbox(actor: Actor, key: str, value: int | str) -> dict[str, Any]:
    """Render what GET and DELETE say of an actor's messages."""
    links = {
        "self": f"{_actor_url(actor)}/messages",
        "owner": _profile_url(actor.api_server, actor.owner),
    }
    return {key: value, "_links": links}


def render_summary(listing: ExecutionListing, executions: Any, case: Case) -> dict[str, Any]:
    """Render the list of an actor's executions with its totals, around the items given."""
    actor, totals = listing.actor, listing.totals
    record = {
        "actor_id": actor.id,
        "api_server": actor.api_server,
        "owner": actor.owner,
        "executions": executions,
        "total_executions": totals.count,
        "total_cpu": totals.cpu_ns,
        "total_io": totals.io_bytes,
        "total_runtime": totals.runtime_s,
        "_links": {
            "self": f"{_actor_url(actor)}/executions",
            "owner": _profile_url(actor.api_server, actor.owner),
        },
    }
    return dress(record, case)


def render_item(execution: Execution, case: Case) -> dict[str, Any]:
    """Render one item of that list."""
    record = {"id": execution.id, "status": execution.status, **_render_times(execution)}
    return dress(record, case, keep_nulls=True)


def render_execution(execution: Execution, case: Case) -> dict[str, Any]:
    """Render one execution."""
    record = {
        "id": execution.id,
        "actor_id": execution.actor_id,
        "executor": execution.executor,
        "api_server": execution.api_server,
        "status": execution.status,
        "worker_id": execution.worker_id,
        **_render_times(execution),
        **describe_outcome(execution.outcome),
        "_links": {
            "self": _execution_url(execution),
            "owner": _profile_url(execution.api_server, execution.executor),
            "logs": f"{_execution_url(execution)}/logs",
        },
    }
    return dress(record, case)


def render_end(execution: Execution, case: Case) -> dict[str, Any]:
    """Render what is said at the end of a log that was followed."""
    exit_code = describe_outcome(execution.outcome)["exit_code"]
    record = {"execution_id": execution.id, "status": execution.status, "exit_code": exit_code}
    return dress(record, case)


def render_logs(owner: str, execution: Execution, text: str) -> dict[str, Any]:
    """Render an execution's log; ``owner`` is its actor's."""
    links = {
        "self": f"{_execution_url(execution)}/logs",
        "owner": _profile_url(execution.api_server, owner),
        "execution": _execution_url(execution),
    }
    return {"logs": text, "_links": links}


def render_worker(worker: Worker, case: Case) -> dict[str, Any]:
    """Render one worker.

    Clients need a value in ``cid``: before its first execution a worker shows its own id there.
    """
    record = {
        "id": worker.id,
        "status": worker.status,
        "tenant": worker.tenant,
        "image": worker.image,
        "location": worker.location,
        "cid": worker.container_id or worker.id,
        "ch_name": worker.channel_name,
        "host_id": worker.host_id,
        "host_ip": worker.host_ip,
        "create_time": render_time(worker.create_time),
        "last_execution_time": _time_or_word(worker.last_execution_time),
        "last_health_check_time": _time_or_word(worker.last_health_check_time),
    }
    return dress(record, case)


def render_nonce(nonce: Nonce, actor_id: ActorId, case: Case) -> dict[str, Any]:
    """Render one nonce; ``actor_id`` is what it leads to now."""
    target = nonce.target
    is_alias = target.kind is ObjectKind.ALIAS
    actor = f"{nonce.api_server}/actors/v2/{actor_id}"
    opened = _alias_url(nonce.api_server, target.name) if is_alias else actor
    record = {
        "id": nonce.id,
        "owner": nonce.owner,
        "roles": list(nonce.roles),
        "level": nonce.level.name,
        "max_uses": nonce.max_uses,
        "current_uses": nonce.current_uses,
        "remaining_uses": nonce.remaining_uses,
        "alias" if is_alias else "actor_id": target.name,
        "api_server": nonce.api_server,
        "create_time": render_time(nonce.create_time),
        "last_use_time": _time_or_word(nonce.last_use_time),
        "description": nonce.description,
        # not a key of the older Abaco: there only where it was asked for
        **({"expires_at": render_time(nonce.expires_at)} if nonce.expires_at else {}),
        "_links": {
            "self": f"{opened}/nonces/{nonce.id}",
            "owner": _profile_url(nonce.api_server, nonce.owner),
            "actor": actor,
        },
    }
    return dress(record, case)


def render_alias(alias: Alias, case: Case) -> dict[str, Any]:
    """Render one alias."""
    record = {
        "alias": alias.alias,
        "actor_id": alias.actor_id,
        "owner": alias.owner,
        "_links": {
            "self": _alias_url(alias.api_server, alias.alias),
            "owner": _profile_url(alias.api_server, alias.owner),
            "actor": f"{alias.api_server}/actors/v2/{alias.actor_id}",
        },
    }
    return dress(record, case)


def render_config(config: ActorConfig, case: Case) -> dict[str, Any]:
    """Render one config; of a secret the ciphertext, which is what is stored."""
    record = {
        "name": config.name,
        "value": config.value,
        "is_secret": config.is_secret,
        "actors": config.actors,
    }
    return dress(record, case)


def render_rotation(report: RotationReport, case: Case) -> dict[str, Any]:
    """Render how a rotation of the encryption key stands."""
    return dress(asdict(report), case)


def render_levels(levels: Mapping[str, Level]) -> dict[str, str]:
    """Render a map of permissions; user names are never spelled in camel."""
    return {user: level.name for user, level in levels.items()}


def render_agents(reports: Sequence[AgentReport]) -> list[dict[str, Any]]:
    """Render what the supervised agents say of themselves; never spelled in camel."""
    return [
        {
            "name": report.name,
            "running": report.is_running,
            "age_s": round(report.age_s, 3),
            "restarts": report.restart_count,
            "last_failure": report.last_failure,
            "last_failure_time": _time_or_null(report.last_failure_time),
        }
        for report in reports
    ]


def render_checks(reports: Sequence[CheckReport]) -> list[dict[str, Any]]:
    """Render which needed parts can be reached."""
    return [
        {"name": report.name, "ok": report.is_ok, "detail": report.detail} for report in reports
    ]


def _render_times(execution: Execution) -> dict[str, Any]:
    outcome = execution.outcome
    return {
        "message_received_time": render_time(execution.message_received_time),
        "start_time": _time_or_null(execution.start_time),
        "finish_time": _time_or_null(outcome.finish_time if outcome else None),
    }


def _time_or_null(time: datetime | None) -> str | None:
    return None if time is None else render_time(time)


def _time_or_word(time: datetime | None) -> str:
    return NO_TIME if time is None else render_time(time)


def _alias_url(api_server: str, alias: str) -> str:
    return f"{api_server}/actors/v2/aliases/{quote(alias, safe='')}"


def _actor_url(actor: Actor) -> str:
    return f"{actor.api_server}/actors/v2/{actor.id}"


def _execution_url(execution: Execution) -> str:
    return f"{execution.api_server}/actors/v2/{execution.actor_id}/executions/{execution.id}"


def _profile_url(api_server: str, user: str) -> str:
    # who tells linked actors of events has a blank in its name
    return f"{api_server}/profiles/v2/{quote(user, safe='@')}"
