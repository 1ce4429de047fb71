"""The step of the schema that brought images: which one a revision runs, which were pulled."""

from __future__ import annotations

IMAGES = (
    # image_id is empty while the revision's image is not known yet
    """
    CREATE TABLE image_pins (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        image_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        is_forced INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant, actor_id),
        FOREIGN KEY (tenant, actor_id) REFERENCES actors (tenant, id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX image_pins_of_image ON image_pins (image_id)",
    """
    CREATE TABLE images (
        id TEXT NOT NULL PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        pulled_at INTEGER NOT NULL,
        used_at INTEGER NOT NULL,
        is_ours INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    # one row for each name (kind 'reference') and each tenant (kind 'tenant')
    """
    CREATE TABLE image_facts (
        image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('reference', 'tenant')),
        value TEXT NOT NULL,
        PRIMARY KEY (image_id, kind, value)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE image_pulls (
        reference TEXT NOT NULL PRIMARY KEY,
        began_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)
