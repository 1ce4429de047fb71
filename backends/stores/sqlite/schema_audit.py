"""The step of the schema that brought the audit log."""

from __future__ import annotations

AUDIT = (
    # AUTOINCREMENT: the place of a removed record is never given again
    """
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        time INTEGER NOT NULL,
        action TEXT NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
        status INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        user TEXT NOT NULL,
        roles TEXT NOT NULL,
        proof TEXT NOT NULL,
        object TEXT NOT NULL,
        request_id TEXT NOT NULL,
        remote_address TEXT NOT NULL,
        detail TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX audit_by_time ON audit (time, seq)",
    """
    CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
        SELECT raise(ABORT, 'the audit log is only added to');
    END
    """,
)
