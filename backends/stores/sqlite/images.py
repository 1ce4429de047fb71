"""Images and pins, in SQLite."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from abaco.domain.actor import ActorKey
from abaco.domain.ids import Tenant
from abaco.ports.images import ImageId, ImageRecord, ImageStore, Pin, PinStore
from backends.stores.rules import from_micros, to_micros
from backends.stores.sqlite.database import Database
from backends.stores.sqlite.rows import first

_NOTE_IMAGE = """
    INSERT INTO images (id, size_bytes, pulled_at, used_at, is_ours) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET size_bytes = excluded.size_bytes,
        pulled_at = excluded.pulled_at, used_at = excluded.used_at,
        is_ours = max(is_ours, excluded.is_ours)
"""
_NOTE_FACT = (
    "INSERT INTO image_facts (image_id, kind, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
)
#: the images of actors that have workers
_NEEDED = """
    SELECT DISTINCT image_id FROM image_pins AS pin WHERE image_id <> '' AND EXISTS (
        SELECT 1 FROM workers WHERE tenant = pin.tenant AND actor_id = pin.actor_id
    )
"""
_SET_PIN = """
    INSERT INTO image_pins (tenant, actor_id, revision, image_id, digest)
    SELECT tenant, id, revision, ?, ? FROM actors WHERE tenant = ? AND id = ? AND revision = ?
    ON CONFLICT (tenant, actor_id) DO UPDATE SET revision = excluded.revision,
        is_forced = iif(revision = excluded.revision, is_forced, 0),
        image_id = excluded.image_id, digest = excluded.digest
    WHERE revision < excluded.revision OR image_id = ''
"""
_FORCE = """
    INSERT INTO image_pins (tenant, actor_id, revision, image_id, digest, is_forced)
    SELECT tenant, id, revision, '', '', 1 FROM actors WHERE tenant = ? AND id = ?
    ON CONFLICT (tenant, actor_id) DO UPDATE SET revision = excluded.revision,
        is_forced = 1, image_id = '', digest = ''
"""


class SqliteImages(ImageStore):
    """Images as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin_pull(self, reference: str, now: datetime) -> None:
        """Note the beginning."""
        await self._database.write(_begin_pull, reference, to_micros(now))

    async def end_pull(self, reference: str) -> None:
        """Drop the note."""
        await self._database.write(_end_pull, reference)

    async def list_begun(self) -> Mapping[str, datetime]:
        """Return the notes."""
        return await self._database.read(_list_begun)

    async def note_pull(
        self,
        image_id: ImageId,
        reference: str,
        tenant: Tenant | None,
        *,
        size_bytes: int,
        is_ours: bool,
        now: datetime,
    ) -> None:
        """Write down a pull."""
        time = to_micros(now)
        row = (image_id, size_bytes, time, time, int(is_ours))
        await self._database.write(_note_pull, row, reference, tenant)

    async def find(self, image_id: ImageId) -> ImageRecord | None:
        """Return the record of an image."""
        return await self._database.read(_find, image_id)

    async def touch(self, image_id: ImageId, now: datetime) -> None:
        """Note a use."""
        await self._database.write(_touch, image_id, to_micros(now))

    async def list_images(self) -> list[ImageRecord]:
        """Return all records by (used_at, id)."""
        return await self._database.read(_list)

    async def forget(self, image: ImageRecord) -> None:
        """Remove the record."""
        await self._database.write(_forget, image.id, to_micros(image.pulled_at))


def _begin_pull(connection: sqlite3.Connection, reference: str, now: int) -> None:
    connection.execute(
        "INSERT INTO image_pulls (reference, began_at) VALUES (?, ?)"
        " ON CONFLICT (reference) DO UPDATE SET began_at = excluded.began_at",
        (reference, now),
    )


def _end_pull(connection: sqlite3.Connection, reference: str) -> None:
    connection.execute("DELETE FROM image_pulls WHERE reference = ?", (reference,))


def _list_begun(connection: sqlite3.Connection) -> Mapping[str, datetime]:
    rows = connection.execute("SELECT reference, began_at FROM image_pulls")
    return {row["reference"]: from_micros(row["began_at"]) for row in rows}


def _note_pull(
    connection: sqlite3.Connection,
    row: tuple[str, int, int, int, int],
    reference: str,
    tenant: Tenant | None,
) -> None:
    image_id = row[0]
    connection.execute(_NOTE_IMAGE, row)
    connection.execute(_NOTE_FACT, (image_id, "reference", reference))
    if tenant is not None:
        connection.execute(_NOTE_FACT, (image_id, "tenant", tenant))
    _end_pull(connection, reference)


def _find(connection: sqlite3.Connection, image_id: ImageId) -> ImageRecord | None:
    row = first(connection.execute("SELECT * FROM images WHERE id = ?", (image_id,)))
    if row is None:
        return None
    facts = connection.execute(
        "SELECT kind, value FROM image_facts WHERE image_id = ?", (image_id,)
    )
    return _to_record(row, [tuple(fact) for fact in facts], is_needed=False)


def _touch(connection: sqlite3.Connection, image_id: ImageId, now: int) -> None:
    connection.execute("UPDATE images SET used_at = max(used_at, ?) WHERE id = ?", (now, image_id))


def _list(connection: sqlite3.Connection) -> list[ImageRecord]:
    facts = defaultdict[str, list[tuple[str, str]]](list)
    for row in connection.execute("SELECT image_id, kind, value FROM image_facts"):
        facts[row["image_id"]].append((row["kind"], row["value"]))
    needed = {row["image_id"] for row in connection.execute(_NEEDED)}
    rows = connection.execute("SELECT * FROM images ORDER BY used_at, id")
    return [_to_record(row, facts[row["id"]], is_needed=row["id"] in needed) for row in rows]


def _forget(connection: sqlite3.Connection, image_id: ImageId, pulled_at: int) -> None:
    connection.execute("DELETE FROM images WHERE id = ? AND pulled_at = ?", (image_id, pulled_at))


def _to_record(row: sqlite3.Row, facts: list[tuple[str, str]], *, is_needed: bool) -> ImageRecord:
    return ImageRecord(
        id=ImageId(row["id"]),
        size_bytes=row["size_bytes"],
        pulled_at=from_micros(row["pulled_at"]),
        used_at=from_micros(row["used_at"]),
        references=frozenset(value for kind, value in facts if kind == "reference"),
        tenants=frozenset(Tenant(value) for kind, value in facts if kind == "tenant"),
        is_ours=bool(row["is_ours"]),
        is_needed=is_needed,
    )


class SqlitePins(PinStore):
    """Pins as rows, one for each actor."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, actor: ActorKey, revision: int) -> Pin:
        """Return the revision's pin."""
        return await self._database.read(_find_pin, actor, revision)

    async def set(self, actor: ActorKey, revision: int, image_id: ImageId, digest: str) -> Pin:
        """Set the revision's image if it has none."""
        return await self._database.write(_set_pin, actor, revision, image_id, digest)


def _find_pin(connection: sqlite3.Connection, actor: ActorKey, revision: int) -> Pin:
    row = first(
        connection.execute(
            "SELECT * FROM image_pins WHERE tenant = ? AND actor_id = ? AND revision = ?",
            (*actor, revision),
        )
    )
    if row is None:
        return Pin()
    image_id = ImageId(row["image_id"]) if row["image_id"] else None
    return Pin(image_id=image_id, digest=row["digest"], is_forced=bool(row["is_forced"]))


def _set_pin(
    connection: sqlite3.Connection, actor: ActorKey, revision: int, image_id: ImageId, digest: str
) -> Pin:
    connection.execute(_SET_PIN, (image_id, digest, *actor, revision))
    return _find_pin(connection, actor, revision)


def force_image(connection: sqlite3.Connection, actor: ActorKey) -> None:
    """Have the image of an actor's present revision pulled, in the transaction of its update."""
    connection.execute(_FORCE, actor)
