"""The rows behind the numbers about the whole instance.

Triggers keep them up: workers leave with their actor by a foreign key, statuses change in many
statements, and none of them can forget to count.
"""

from __future__ import annotations

from collections.abc import Sequence

#: what a mailbox adds to the sums, as columns of both
_SUMS = ("executions", "cpu_ns", "io_bytes", "runtime_ms")
_NAMES = ", ".join(_SUMS)


def _summed(sign: str) -> str:
    """Write the new value of each sum when an actor's mailbox comes or goes with it."""
    terms = [f"usage.used_actors {sign} coalesce(sum(m.executions > 0), 0)"]
    terms += [f"usage.{name} {sign} coalesce(sum(m.{name}), 0)" for name in _SUMS]
    return ", ".join(terms)


def _count_day(column: str, time: str) -> str:
    return f"""
        INSERT INTO usage_days (day, {column})
        VALUES (date({time} / 1000000, 'unixepoch'), 1)
        ON CONFLICT (day) DO UPDATE SET {column} = {column} + 1
    """  # noqa: S608 - constants


_COUNT_WORKER = """
    INSERT INTO worker_counts (queue, status, count) VALUES (new.queue, new.status, 1)
    ON CONFLICT (queue, status) DO UPDATE SET count = count + 1
"""

_DISCOUNT_WORKER = (
    "UPDATE worker_counts SET count = count - 1 WHERE queue = old.queue AND status = old.status"
)

_HAS_ACTOR = "EXISTS (SELECT 1 FROM actors WHERE tenant = new.tenant AND id = new.actor_id)"

_TABLES = (
    "ALTER TABLE workers ADD COLUMN queue TEXT NOT NULL DEFAULT 'default'",
    """
    CREATE TABLE usage (
        scope TEXT PRIMARY KEY CHECK (scope IN ('ever', 'existing')),
        actors INTEGER NOT NULL CHECK (actors >= 0),
        used_actors INTEGER NOT NULL CHECK (used_actors BETWEEN 0 AND actors),
        executions INTEGER NOT NULL CHECK (executions >= 0),
        cpu_ns INTEGER NOT NULL,
        io_bytes INTEGER NOT NULL,
        runtime_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE usage_days (
        day TEXT PRIMARY KEY,
        actors INTEGER NOT NULL DEFAULT 0,
        workers INTEGER NOT NULL DEFAULT 0,
        executions INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE worker_counts (
        queue TEXT NOT NULL,
        status TEXT NOT NULL,
        count INTEGER NOT NULL CHECK (count >= 0),
        PRIMARY KEY (queue, status)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX tenant_mailboxes_deepest ON tenant_mailboxes (queued DESC, tenant)"
    " WHERE queued > 0",
    # in the place of mailboxes_waiting: it serves both who asks which and who asks how long
    "DROP INDEX mailboxes_waiting",
    "CREATE INDEX mailboxes_deepest ON mailboxes (queued DESC, actor_id, tenant) WHERE queued > 0",
)

#: what can still be told of the time before this step
_PAST = (
    f"""
    INSERT INTO usage (scope, actors, used_actors, {_NAMES})
    SELECT 'ever', count(*), total(executions > 0) + 0, coalesce(sum(executions), 0),
        coalesce(sum(cpu_ns), 0), coalesce(sum(io_bytes), 0), coalesce(sum(runtime_ms), 0)
    FROM mailboxes
    """,  # noqa: S608 - constants
    f"""
    INSERT INTO usage (scope, actors, used_actors, {_NAMES})
    SELECT 'existing', count(*), total(m.executions > 0) + 0, coalesce(sum(m.executions), 0),
        coalesce(sum(m.cpu_ns), 0), coalesce(sum(m.io_bytes), 0), coalesce(sum(m.runtime_ms), 0)
    FROM actors AS a LEFT JOIN mailboxes AS m ON m.tenant = a.tenant AND m.actor_id = a.id
    """,  # noqa: S608 - constants
    """
    INSERT INTO usage_days (day, actors, workers, executions)
    SELECT day, sum(actors), sum(workers), sum(executions) FROM (
        SELECT date(create_time / 1000000, 'unixepoch') AS day, 1 AS actors, 0 AS workers,
            0 AS executions FROM actors
        UNION ALL SELECT date(create_time / 1000000, 'unixepoch'), 0, 1, 0 FROM workers
        UNION ALL
        SELECT date(message_received_time / 1000000, 'unixepoch'), 0, 0, 1 FROM executions
    ) GROUP BY day
    """,
    "INSERT INTO worker_counts (queue, status, count)"
    " SELECT queue, status, count(*) FROM workers GROUP BY 1, 2",
)

_TRIGGERS = (
    f"""
    CREATE TRIGGER actor_counted AFTER INSERT ON actors BEGIN
        UPDATE usage SET actors = actors + 1;
        UPDATE usage SET (used_actors, {_NAMES}) = (
            SELECT {_summed("+")} FROM mailboxes AS m
            WHERE m.tenant = new.tenant AND m.actor_id = new.id
        ) WHERE scope = 'existing';
        {_count_day("actors", "new.create_time")};
    END
    """,  # noqa: S608 - constants
    f"""
    CREATE TRIGGER actor_discounted AFTER DELETE ON actors BEGIN
        UPDATE usage SET (actors, used_actors, {_NAMES}) = (
            SELECT usage.actors - 1, {_summed("-")} FROM mailboxes AS m
            WHERE m.tenant = old.tenant AND m.actor_id = old.id
        ) WHERE scope = 'existing';
    END
    """,  # noqa: S608 - constants
    f"""
    CREATE TRIGGER execution_counted AFTER INSERT ON executions BEGIN
        {_count_day("executions", "new.message_received_time")};
    END
    """,
    f"""
    CREATE TRIGGER mailbox_summed AFTER UPDATE OF executions, cpu_ns, io_bytes, runtime_ms
    ON mailboxes WHEN (new.executions, new.cpu_ns, new.io_bytes, new.runtime_ms)
        <> (old.executions, old.cpu_ns, old.io_bytes, old.runtime_ms)
    BEGIN
        UPDATE usage SET
            used_actors = used_actors + (old.executions = 0 AND new.executions > 0),
            {", ".join(f"{name} = {name} + new.{name} - old.{name}" for name in _SUMS)}
        WHERE scope = 'ever' OR {_HAS_ACTOR};
    END
    """,  # noqa: S608 - constants
    f"""
    CREATE TRIGGER worker_counted AFTER INSERT ON workers BEGIN
        {_count_day("workers", "new.create_time")};
        {_COUNT_WORKER};
    END
    """,
    f"""
    CREATE TRIGGER worker_moved AFTER UPDATE OF status ON workers WHEN new.status <> old.status
    BEGIN
        {_DISCOUNT_WORKER};
        {_COUNT_WORKER};
    END
    """,
    f"CREATE TRIGGER worker_discounted AFTER DELETE ON workers BEGIN {_DISCOUNT_WORKER}; END",
)

USAGE: Sequence[str] = (*_TABLES, *_PAST, *_TRIGGERS)
