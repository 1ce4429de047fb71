"""Where the fields that can be searched are kept. Every SQL of a search is made of these texts.

What stands here must be what ``abaco.domain.search.documents`` says of the same record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from abaco.domain.search import SearchKind
from abaco.domain.search.documents import NO_EXIT_CODE


class Form(Enum):
    """How a value is kept."""

    PLAIN = auto()  # text or number, as shown
    BOOLEAN = auto()  # 0 or 1
    TIME = auto()  # microseconds
    JSON = auto()  # text of JSON, in which the field's value stands


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        sql: Expression of its value; NULL when it has none.
        form: How it is kept.
        prefix: Keys that lead from the JSON to the field's value.

    """

    sql: str
    form: Form = Form.PLAIN
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All records of a kind.

    Attributes:
        table: What items are rows of.
        tables: What the expressions need, the table included.
        only: Condition that makes a row an item.
        actor_id: Column of the actor that decides who may see it.
        id: Column of its own id.
        time: Column of its age.
        fields: By name.
        texts: Fields that hold every text of an item between them, those kept as JSON last.

    """

    table: str
    tables: str
    only: str = "TRUE"
    actor_id: str
    id: str
    time: str
    fields: Mapping[str, Field]
    texts: tuple[Field, ...]


def _time(column: str) -> Field:
    """Keep as much of a time as is shown: milliseconds."""
    return Field(f"({column} / 1000 * 1000)", Form.TIME)


def _defined(name: str, form: Form = Form.PLAIN) -> Field:
    return Field(f"json_extract(actors.definition, '$.{name}')", form)


def _inside(name: str) -> Field:
    return Field("actors.definition", Form.JSON, (name,))


_ACTOR_TEXTS = {
    **{
        name: Field(f"actors.{name}")
        for name in ("id", "owner", "status", "status_message", "cron_schedule")
    },
    "cron_next_ex": Field("abaco_slot(actors.cron_next_at, actors.cron_schedule)"),
    "tasdir": Field("actors.tasdir"),
    **{name: Field(f"CAST(actors.{name} AS TEXT)") for name in ("uid", "gid")},
}

_ACTORS = Source(
    table="actors",
    tables="actors",
    actor_id="actors.id",
    id="actors.id",
    time="actors.create_time",
    fields={
        **_ACTOR_TEXTS,
        **{
            name: _defined(name)
            for name in (
                "image", "name", "description", "type", "link", "webhook", "max_workers",
                "mem_limit", "max_cpus", "queue", "log_ex", "max_run_time", "network",
            )
        },
        **{
            name: _defined(name, Form.BOOLEAN)
            for name in ("stateless", "privileged", "use_container_uid")
        },
        # not in records of earlier releases
        "read_only_rootfs": Field(
            f"coalesce({_defined('read_only_rootfs').sql}, FALSE)", Form.BOOLEAN
        ),
        # a switch that is text when nobody set it
        **{name: _inside(name) for name in ("token", "hints", "default_environment")},
        "state": Field("actors.state", Form.JSON),
        "revision": Field("actors.revision"),
        "create_time": _time("actors.create_time"),
        "last_update_time": _time("actors.last_update_time"),
        "mounts": Field("actors.mounts", Form.JSON),
        "cron_on": Field("coalesce(actors.cron_on, FALSE)", Form.BOOLEAN),
    },
    texts=(
        *_ACTOR_TEXTS.values(),
        Field("actors.definition", Form.JSON),
        Field("actors.state", Form.JSON),
        Field("actors.mounts", Form.JSON),
    ),
)  # fmt: skip

_FINAL_STATE = Field(
    """
    CASE
        WHEN executions.finish_time IS NULL THEN 'null'
        WHEN executions.error = ''
            THEN coalesce(nullif(executions.final_state, '{}'), '{"unavailable":true}')
        ELSE json_set(
            coalesce(nullif(executions.final_state, '{}'), '{"unavailable":true}'),
            '$.Error', executions.error
        )
    END
    """,
    Form.JSON,
)

_EXECUTION_TEXTS = {
    **{
        name: Field(f"executions.{name}")
        for name in ("id", "actor_id", "executor", "status", "worker_id")
    },
    "exit_code": Field(
        "iif(executions.finish_time IS NULL, NULL,"
        f" coalesce(executions.exit_code, '{NO_EXIT_CODE}'))"
    ),
}

_EXECUTIONS = Source(
    table="executions",
    tables="executions",
    actor_id="executions.actor_id",
    id="executions.id",
    time="executions.message_received_time",
    fields={
        **_EXECUTION_TEXTS,
        **{
            name: _time(f"executions.{name}")
            for name in ("message_received_time", "start_time", "finish_time")
        },
        "cpu": Field("executions.cpu_ns"),
        "io": Field("executions.io_bytes"),
        "io_detail": Field(
            "json_object('net_rx', executions.net_rx, 'net_tx', executions.net_tx,"
            " 'blk_read', executions.blk_read, 'blk_write', executions.blk_write)",
            Form.JSON,
        ),
        "memory_peak": Field("executions.memory_peak_bytes"),
        "runtime": Field("(executions.runtime_ms / 1000)"),
        "runtime_ms": Field("executions.runtime_ms"),
        "final_state": _FINAL_STATE,
    },
    texts=(*_EXECUTION_TEXTS.values(), _FINAL_STATE),
)

_WORKER_TEXTS = {
    **{
        name: Field(f"workers.{name}")
        for name in ("id", "actor_id", "status", "image", "location", "host_id", "host_ip")
    },
    "cid": Field("coalesce(nullif(workers.container_id, ''), workers.id)"),
    "ch_name": Field("('worker_' || workers.id)"),
}

_WORKERS = Source(
    table="workers",
    tables="workers",
    actor_id="workers.actor_id",
    id="workers.id",
    time="workers.create_time",
    fields={
        **_WORKER_TEXTS,
        **{
            name: _time(f"workers.{name}")
            for name in ("create_time", "last_execution_time", "last_health_check_time")
        },
    },
    texts=tuple(_WORKER_TEXTS.values()),
)

_LOG_TEXTS = {
    "logs": Field(
        """
        abaco_log(
            (
                SELECT abaco_join(log_chunks.start, log_chunks.data) FROM log_chunks
                WHERE log_chunks.tenant = executions.tenant
                    AND log_chunks.actor_id = executions.actor_id
                    AND log_chunks.execution_id = executions.id
            ),
            executions.finish_time IS NOT NULL,
            coalesce(logs.is_truncated, FALSE)
        )
        """
    ),
    "actor_id": Field("executions.actor_id"),
    "execution_id": Field("executions.id"),
}

_LOGS = Source(
    table="executions",
    tables="""
        executions LEFT JOIN logs ON logs.tenant = executions.tenant
            AND logs.actor_id = executions.actor_id AND logs.execution_id = executions.id
    """,
    only="""
        iif(
            coalesce(logs.bytes_seen, 0) = 0,
            executions.finish_time IS NOT NULL,
            logs.bytes_kept > 0 AND (logs.expires_at IS NULL OR logs.expires_at > :now)
        )
    """,
    actor_id="executions.actor_id",
    id="executions.id",
    time="executions.message_received_time",
    fields=_LOG_TEXTS,
    texts=tuple(_LOG_TEXTS.values()),
)

SOURCES: Mapping[SearchKind, Source] = {
    SearchKind.ACTORS: _ACTORS,
    SearchKind.EXECUTIONS: _EXECUTIONS,
    SearchKind.WORKERS: _WORKERS,
    SearchKind.LOGS: _LOGS,
}
