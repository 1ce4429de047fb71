"""The step of the schema that brought idempotency keys and the tenants' queue lengths."""

from __future__ import annotations

INTAKE = (
    """
    CREATE TABLE idempotency_keys (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        user TEXT NOT NULL,
        key TEXT NOT NULL,
        digest TEXT NOT NULL,
        execution_ids TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (tenant, actor_id, user, key),
        FOREIGN KEY (tenant, actor_id) REFERENCES actors (tenant, id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX idempotency_keys_expiring ON idempotency_keys (expires_at)",
    """
    CREATE TABLE tenant_mailboxes (
        tenant TEXT NOT NULL PRIMARY KEY,
        queued INTEGER NOT NULL CHECK (queued >= 0)
    ) STRICT, WITHOUT ROWID
    """,
    "INSERT INTO tenant_mailboxes SELECT tenant, sum(queued) FROM mailboxes GROUP BY tenant",
)
