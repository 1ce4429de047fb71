"""Aliases and nonces to rows and back. Only here a column's form is known."""

from __future__ import annotations

import sqlite3

from abaco.domain.alias import Alias
from abaco.domain.ids import ActorId, Tenant
from abaco.domain.nonce import Nonce, NonceId
from abaco.domain.permission import Level, ObjectKey, ObjectKind
from backends.stores.rules import decode_json, encode_json, from_micros, to_micros
from backends.stores.sqlite.rows import (
    IF_ABSENT,
    Values,
    insert_sql,
    micros_or_none,
    time_or_none,
)

INSERT_ALIAS = insert_sql(
    "aliases",
    ("tenant", "alias", "actor_id", "owner", "api_server", "create_time"),
    on_conflict=IF_ABSENT,
)

INSERT_NONCE = insert_sql(
    "nonces",
    (
        "id", "kind", "tenant", "name", "owner", "roles", "level", "api_server", "create_time",
        "description", "max_uses", "current_uses", "remaining_uses", "last_use_time",
        "expires_at",
    ),
    on_conflict=IF_ABSENT,
)  # fmt: skip


def alias_values(alias: Alias) -> Values:
    """Return an alias's columns."""
    return {
        "tenant": alias.tenant,
        "alias": alias.alias,
        "actor_id": alias.actor_id,
        "owner": alias.owner,
        "api_server": alias.api_server,
        "create_time": to_micros(alias.create_time),
    }


def to_alias(row: sqlite3.Row) -> Alias:
    """Read an alias."""
    return Alias(
        tenant=Tenant(row["tenant"]),
        alias=row["alias"],
        actor_id=ActorId(row["actor_id"]),
        owner=row["owner"],
        api_server=row["api_server"],
        create_time=from_micros(row["create_time"]),
    )


def nonce_values(nonce: Nonce) -> Values:
    """Return a nonce's columns; its tenant is its target's."""
    return {
        "id": nonce.id,
        "kind": str(nonce.target.kind),
        "tenant": nonce.target.tenant,
        "name": nonce.target.name,
        "owner": nonce.owner,
        "roles": encode_json(nonce.roles),
        "level": int(nonce.level),
        "api_server": nonce.api_server,
        "create_time": to_micros(nonce.create_time),
        "description": nonce.description,
        "max_uses": nonce.max_uses,
        "current_uses": nonce.current_uses,
        "remaining_uses": nonce.remaining_uses,
        "last_use_time": micros_or_none(nonce.last_use_time),
        "expires_at": micros_or_none(nonce.expires_at),
    }


def to_nonce(row: sqlite3.Row) -> Nonce:
    """Read a nonce."""
    tenant = Tenant(row["tenant"])
    return Nonce(
        id=NonceId(row["id"]),
        tenant=tenant,
        target=ObjectKey(ObjectKind(row["kind"]), tenant, row["name"]),
        owner=row["owner"],
        roles=tuple(decode_json(row["roles"])),
        level=Level(row["level"]),
        api_server=row["api_server"],
        create_time=from_micros(row["create_time"]),
        description=row["description"],
        max_uses=row["max_uses"],
        current_uses=row["current_uses"],
        remaining_uses=row["remaining_uses"],
        last_use_time=time_or_none(row["last_use_time"]),
        expires_at=time_or_none(row["expires_at"]),
    )
