"""The step of the schema that brings configs."""

from __future__ import annotations

CONFIGS = (
    """
    CREATE TABLE configs (
        id INTEGER PRIMARY KEY,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        is_secret INTEGER NOT NULL CHECK (is_secret IN (0, 1)),
        actors TEXT NOT NULL,
        owner TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        UNIQUE (tenant, name)
    ) STRICT
    """,
    "CREATE INDEX configs_secret ON configs (id) WHERE is_secret = 1",
    # what a config lists, an id or an alias each. The owner stands before the name: an actor
    # asks for the configs of those who may update it, however many others list it
    """
    CREATE TABLE config_entries (
        tenant TEXT NOT NULL,
        identifier TEXT NOT NULL,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (tenant, identifier, owner, name),
        FOREIGN KEY (tenant, name) REFERENCES configs (tenant, name) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX config_entries_of_config ON config_entries (tenant, name)",
)
