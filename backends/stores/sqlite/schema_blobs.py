"""The step of the schema that brought bodies in files, and results by number."""

from __future__ import annotations

BLOBS = (
    "ALTER TABLE messages ADD COLUMN blob_bytes INTEGER",
    "ALTER TABLE messages ADD COLUMN blob_sha256 TEXT",
    "CREATE INDEX messages_with_blobs ON messages (execution_id) WHERE blob_bytes IS NOT NULL",
    # how many results an execution has handed back; outlives those that were read
    """
    CREATE TABLE result_counts (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        execution_id TEXT NOT NULL,
        pushed INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (tenant, actor_id, execution_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX result_counts_expiring ON result_counts (expires_at)",
)
