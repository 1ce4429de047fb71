"""Images and pins, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from abaco.domain.actor import ActorKey
from abaco.domain.ids import Tenant
from abaco.ports.images import ImageId, ImageRecord, ImageStore, Pin, PinStore
from backends.stores.memory.state import State


class MemoryImages(ImageStore):
    """Images in a dictionary; whether they are needed is in the state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._images: dict[ImageId, ImageRecord] = {}
        self._begun: dict[str, datetime] = {}

    async def begin_pull(self, reference: str, now: datetime) -> None:
        """Note the beginning."""
        self._begun[reference] = now

    async def end_pull(self, reference: str) -> None:
        """Drop the note."""
        self._begun.pop(reference, None)

    async def list_begun(self) -> Mapping[str, datetime]:
        """Return the notes."""
        return dict(self._begun)

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
        known = self._images.get(image_id)
        tenants = frozenset() if tenant is None else frozenset({tenant})
        self._images[image_id] = ImageRecord(
            id=image_id,
            size_bytes=size_bytes,
            pulled_at=now,
            used_at=now,
            references=frozenset({reference}) | (known.references if known else frozenset()),
            tenants=tenants | (known.tenants if known else frozenset()),
            is_ours=is_ours or (known is not None and known.is_ours),
        )
        self._begun.pop(reference, None)

    async def find(self, image_id: ImageId) -> ImageRecord | None:
        """Return the record of an image."""
        return self._images.get(image_id)

    async def touch(self, image_id: ImageId, now: datetime) -> None:
        """Note a use."""
        if image := self._images.get(image_id):
            self._images[image_id] = replace(image, used_at=max(now, image.used_at))

    async def list_images(self) -> list[ImageRecord]:
        """Return all records by (used_at, id)."""
        needed = {
            pin.image_id
            for actor, (_, pin) in self._state.pins.items()
            if self._state.workers.get(actor)
        }
        found = [replace(each, is_needed=each.id in needed) for each in self._images.values()]
        return sorted(found, key=lambda each: (each.used_at, each.id))

    async def forget(self, image: ImageRecord) -> None:
        """Remove the record."""
        known = self._images.get(image.id)
        if known is not None and known.pulled_at == image.pulled_at:
            del self._images[image.id]


class MemoryPins(PinStore):
    """Pins in the state, because they go with their actors."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def find(self, actor: ActorKey, revision: int) -> Pin:
        """Return the revision's pin."""
        present, pin = self._state.pins.get(actor, (0, Pin()))
        return pin if present == revision else Pin()

    async def set(self, actor: ActorKey, revision: int, image_id: ImageId, digest: str) -> Pin:
        """Set the revision's image if it has none."""
        pin = await self.find(actor, revision)
        record = self._state.actors.get(actor)
        if pin.image_id is None and record is not None and record.revision == revision:
            pin = replace(pin, image_id=image_id, digest=digest)
            self._state.pins[actor] = (revision, pin)
        return pin
