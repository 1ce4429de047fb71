"""The schema and its history.

The database's ``user_version`` is the number of steps it has taken. A step that was released is
never edited: a change is a new step at the end, and each is one transaction.

Sums that would cost more the longer the history (an actor's totals, the instance's counters,
queue lengths) are rows that every transaction keeps up, not counts. Times are integer
microseconds since 1970, UTC. JSON values are text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from abaco.errors import ConfigError
from backends.stores.sqlite.schema_audit import AUDIT
from backends.stores.sqlite.schema_blobs import BLOBS
from backends.stores.sqlite.schema_configs import CONFIGS
from backends.stores.sqlite.schema_cron import CRON
from backends.stores.sqlite.schema_events import EVENTS
from backends.stores.sqlite.schema_hosts import HOSTS
from backends.stores.sqlite.schema_images import IMAGES
from backends.stores.sqlite.schema_intake import INTAKE
from backends.stores.sqlite.schema_links import LINKS
from backends.stores.sqlite.schema_statistics import STATISTICS
from backends.stores.sqlite.schema_token_clients import TOKEN_CLIENTS
from backends.stores.sqlite.schema_usage import USAGE

Step = Sequence[str]

_FIRST: Step = (
    """
    CREATE TABLE actors (
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        owner TEXT NOT NULL,
        api_server TEXT NOT NULL,
        definition TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        last_update_time INTEGER NOT NULL,
        status TEXT NOT NULL,
        status_message TEXT NOT NULL,
        revision INTEGER NOT NULL,
        state TEXT NOT NULL,
        state_version INTEGER NOT NULL,
        PRIMARY KEY (tenant, id)
    ) STRICT
    """,
    "CREATE INDEX actors_all ON actors (create_time, id, tenant)",
    "CREATE INDEX actors_of_tenant ON actors (tenant, create_time, id)",
    "CREATE INDEX actors_of_owner ON actors (owner, create_time, id, tenant)",
    "CREATE INDEX actors_of_tenant_owner ON actors (tenant, owner, create_time, id)",
    # outlives its actor, as the executions do
    """
    CREATE TABLE mailboxes (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        last_seq INTEGER NOT NULL DEFAULT 0,
        queued INTEGER NOT NULL DEFAULT 0 CHECK (queued >= 0),
        leased INTEGER NOT NULL DEFAULT 0 CHECK (leased >= 0),
        executions INTEGER NOT NULL DEFAULT 0,
        cpu_ns INTEGER NOT NULL DEFAULT 0,
        io_bytes INTEGER NOT NULL DEFAULT 0,
        runtime_ms INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant, actor_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX mailboxes_waiting ON mailboxes (tenant, actor_id) WHERE queued > 0",
    # live while finish_time is null; leased while it also has a worker
    """
    CREATE TABLE executions (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        id TEXT NOT NULL,
        api_server TEXT NOT NULL,
        executor TEXT NOT NULL,
        message_received_time INTEGER NOT NULL,
        message_seq INTEGER NOT NULL,
        status TEXT NOT NULL DEFAULT 'SUBMITTED',
        worker_id TEXT,
        attempt INTEGER NOT NULL DEFAULT 0,
        losses INTEGER NOT NULL DEFAULT 0,
        container_id TEXT NOT NULL DEFAULT '',
        start_time INTEGER,
        halt_requested TEXT,
        finish_time INTEGER,
        exit_code INTEGER,
        final_state TEXT,
        cpu_ns INTEGER NOT NULL DEFAULT 0,
        io_bytes INTEGER NOT NULL DEFAULT 0,
        runtime_ms INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (tenant, actor_id, id)
    ) STRICT
    """,
    "CREATE INDEX executions_of_actor ON executions (tenant, actor_id, message_received_time, id)",
    "CREATE INDEX executions_leased ON executions (message_received_time, id, actor_id, tenant)"
    " WHERE worker_id IS NOT NULL AND finish_time IS NULL",
    """
    CREATE TABLE messages (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        execution_id TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('queued', 'leased')),
        lease_owner TEXT CHECK ((lease_owner IS NULL) = (state = 'queued')),
        body TEXT NOT NULL,
        content_type TEXT NOT NULL,
        username TEXT NOT NULL,
        api_server TEXT NOT NULL,
        enqueued_at INTEGER NOT NULL,
        environment TEXT NOT NULL,
        jwt_header TEXT,
        revision INTEGER NOT NULL,
        PRIMARY KEY (tenant, actor_id, seq),
        FOREIGN KEY (tenant, actor_id, execution_id) REFERENCES executions (tenant, actor_id, id)
    ) STRICT
    """,
    "CREATE INDEX messages_queued ON messages (tenant, actor_id, seq) WHERE state = 'queued'",
    "CREATE INDEX messages_leased ON messages (tenant, actor_id, lease_owner)"
    " WHERE state = 'leased'",
    """
    CREATE TABLE workers (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        id TEXT NOT NULL,
        image TEXT NOT NULL,
        revision INTEGER NOT NULL,
        host_id TEXT NOT NULL,
        host_ip TEXT NOT NULL,
        location TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        status TEXT NOT NULL,
        previous_status TEXT,
        container_id TEXT NOT NULL,
        last_execution_time INTEGER,
        last_health_check_time INTEGER,
        PRIMARY KEY (tenant, actor_id, id),
        FOREIGN KEY (tenant, actor_id) REFERENCES actors (tenant, id) ON DELETE CASCADE
    ) STRICT
    """,
    "CREATE INDEX workers_all ON workers (create_time, id, actor_id, tenant)",
    # stays when its text has expired: output that still comes must find its place
    """
    CREATE TABLE logs (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        execution_id TEXT NOT NULL,
        bytes_seen INTEGER NOT NULL,
        bytes_kept INTEGER NOT NULL,
        is_truncated INTEGER NOT NULL,
        expires_at INTEGER,
        PRIMARY KEY (tenant, actor_id, execution_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX logs_expiring ON logs (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE log_chunks (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        execution_id TEXT NOT NULL,
        start INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (tenant, actor_id, execution_id, start)
    ) STRICT
    """,
    """
    CREATE TABLE results (
        seq INTEGER PRIMARY KEY,
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        execution_id TEXT NOT NULL,
        data BLOB NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX results_of_execution ON results (tenant, actor_id, execution_id, seq)",
    "CREATE INDEX results_expiring ON results (expires_at)",
    """
    CREATE TABLE counters (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        accepted INTEGER NOT NULL,
        queued INTEGER NOT NULL,
        leased INTEGER NOT NULL,
        final INTEGER NOT NULL,
        CHECK (accepted = queued + leased + final)
    ) STRICT
    """,
    "INSERT INTO counters (id, accepted, queued, leased, final) VALUES (1, 0, 0, 0, 0)",
    """
    CREATE TABLE instance (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        epoch INTEGER NOT NULL,
        holder TEXT,
        expires_at INTEGER
    ) STRICT
    """,
    "INSERT INTO instance (id, epoch) VALUES (1, 0)",
)

_SHARING: Step = (
    # an actor or alias has rows here exactly as long as it exists
    """
    CREATE TABLE permissions (
        kind TEXT NOT NULL,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        user TEXT NOT NULL,
        level INTEGER NOT NULL CHECK (level BETWEEN 0 AND 3),
        PRIMARY KEY (kind, tenant, name, user)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX permissions_of_user ON permissions (kind, tenant, user, level, name)",
    "INSERT INTO permissions (kind, tenant, name, user, level)"
    " SELECT 'actor', tenant, id, owner, 3 FROM actors",
    """
    CREATE TABLE aliases (
        tenant TEXT NOT NULL,
        alias TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        api_server TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        PRIMARY KEY (tenant, alias)
    ) STRICT
    """,
    "CREATE INDEX aliases_of_tenant ON aliases (tenant, create_time, alias)",
    "CREATE INDEX aliases_of_actor ON aliases (tenant, actor_id, create_time, alias)",
    """
    CREATE TABLE nonces (
        id TEXT NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        owner TEXT NOT NULL,
        roles TEXT NOT NULL,
        level INTEGER NOT NULL CHECK (level BETWEEN 0 AND 3),
        api_server TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        description TEXT NOT NULL,
        max_uses INTEGER NOT NULL,
        current_uses INTEGER NOT NULL,
        remaining_uses INTEGER NOT NULL CHECK (remaining_uses >= -1),
        last_use_time INTEGER
    ) STRICT
    """,
    "CREATE INDEX nonces_of_target ON nonces (kind, tenant, name, create_time, id)",
)

_NONCE_LIFE: Step = ("ALTER TABLE nonces ADD COLUMN expires_at INTEGER",)

_RETIRING: Step = ("ALTER TABLE workers ADD COLUMN is_retiring INTEGER NOT NULL DEFAULT 0",)

#: step n leads from version n to version n + 1
MIGRATIONS: Sequence[Step] = (
    _FIRST, _SHARING, INTAKE, _NONCE_LIFE, CRON, _RETIRING, CONFIGS, EVENTS, USAGE, AUDIT,
    HOSTS, BLOBS, TOKEN_CLIENTS, LINKS, IMAGES, STATISTICS,
)  # fmt: skip


def migrate(connection: sqlite3.Connection, steps: Sequence[Step] = MIGRATIONS) -> int:
    """Take the steps the database has not taken yet; return how many there were.

    A process that dies in between leaves the version it had reached; two at once take turns.

    Raises:
        ConfigError: The database was made by a newer program.

    """
    taken_count = 0
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(steps):
                raise ConfigError(
                    f"[store] path: the database has schema version {version}, this program"
                    f" knows {len(steps)}: start the newer Abaco that wrote it, or name another"
                    " file"
                )
            is_current = version == len(steps)
            if not is_current:
                for statement in steps[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
        except BaseException:
            connection.rollback()
            raise
        connection.execute("COMMIT")
        if is_current:
            return taken_count
        taken_count += 1
