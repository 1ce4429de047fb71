"""The step of the schema that brought the clients at an authorization server."""

from __future__ import annotations

TOKEN_CLIENTS = (
    """
    CREATE TABLE token_clients (
        worker_id TEXT NOT NULL PRIMARY KEY,
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        sealed TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID
    """,
)
