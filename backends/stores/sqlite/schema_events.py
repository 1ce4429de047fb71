"""The step that brought events: the outbox, hops of messages, secrets of webhooks."""

from __future__ import annotations

from collections.abc import Sequence

EVENTS: Sequence[str] = (
    # as in the definition: what every step of an execution asks for is not dug out of JSON
    "ALTER TABLE actors ADD COLUMN link TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE actors ADD COLUMN webhook TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE mailboxes ADD COLUMN last_event INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE messages ADD COLUMN hops INTEGER NOT NULL DEFAULT 0",
    # outlives its actor until it is told
    """
    CREATE TABLE outbox (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        type TEXT NOT NULL,
        time INTEGER NOT NULL,
        details TEXT NOT NULL,
        api_server TEXT NOT NULL,
        link TEXT NOT NULL,
        webhook TEXT NOT NULL,
        hops INTEGER NOT NULL,
        is_link_waiting INTEGER NOT NULL,
        is_webhook_waiting INTEGER NOT NULL,
        target TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_attempt_at INTEGER NOT NULL,
        PRIMARY KEY (tenant, actor_id, seq),
        CHECK (is_link_waiting OR is_webhook_waiting)
    ) STRICT, WITHOUT ROWID
    """,
    # as long as its actor, or an event of it, is there
    """
    CREATE TABLE webhook_secrets (
        actor_id TEXT NOT NULL,
        tenant TEXT NOT NULL,
        secret TEXT NOT NULL,
        PRIMARY KEY (actor_id, tenant)
    ) STRICT, WITHOUT ROWID
    """,
)
