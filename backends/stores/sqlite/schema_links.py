"""The step that lets links by an alias be found when the alias goes, and drops idle indexes."""

from __future__ import annotations

from collections.abc import Sequence

LINKS: Sequence[str] = (
    # links by aliases that went before this was looked after: whoever makes an alias of that name
    # must not get the events
    """
    UPDATE actors SET link = '', definition = json_set(definition, '$.link', '')
    WHERE link <> ''
        AND NOT EXISTS (
            SELECT 1 FROM actors AS b WHERE b.tenant = actors.tenant AND b.id = actors.link
        )
        AND NOT EXISTS (
            SELECT 1 FROM aliases AS l WHERE l.tenant = actors.tenant AND l.alias = actors.link
        )
    """,
    "CREATE INDEX actors_of_link ON actors (tenant, link) WHERE link <> ''",
    "CREATE INDEX outbox_of_link ON outbox (tenant, link) WHERE is_link_waiting = 1",
    "DROP INDEX actors_of_owner",
    "DROP INDEX actors_of_tenant_owner",
)
