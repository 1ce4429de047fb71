"""What is remembered of images: which one a revision runs, and which ones were pulled here.

An engine keeps images by content id, whoever pulled them, and finds them by name. Here stands
what it does not know: for whom a registry handed an image out, when it was last needed, and
whether it was us who brought it to the host.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NewType, Protocol

from abaco.domain.actor import ActorKey
from abaco.domain.ids import Tenant

#: content id, ``sha256:...``
ImageId = NewType("ImageId", str)

#: in place of a tenant: whoever asks the registry gets the image
EVERYBODY = Tenant("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The image a revision of an actor runs.

    Attributes:
        image_id: None until the revision's first worker has found it.
        digest: By which it can be pulled again; empty when no registry is known to have it.
        is_forced: The revision was asked for with ``force``: its image is to be pulled though
            one of that name is on the host.

    """

    image_id: ImageId | None = None
    digest: str = ""
    is_forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """An image that was pulled.

    Attributes:
        references: Names it was pulled by.
        tenants: For whom registries handed it out; may hold EVERYBODY.
        is_ours: It was not on the host before it was pulled.
        is_needed: An actor that has workers runs it.

    """

    id: ImageId
    size_bytes: int
    pulled_at: datetime
    used_at: datetime
    references: frozenset[str]
    tenants: frozenset[Tenant]
    is_ours: bool
    is_needed: bool = False


class ImageStore(Protocol):
    """Images that were pulled."""

    @abstractmethod
    async def begin_pull(self, reference: str, now: datetime) -> None:
        """Note that an image that is not on the host is about to be pulled, at this time.

        Whoever dies meanwhile leaves the note: what is found by that name is then ours.
        """

    @abstractmethod
    async def end_pull(self, reference: str) -> None:
        """Drop the note: the pull failed. Idempotent."""

    @abstractmethod
    async def list_begun(self) -> Mapping[str, datetime]:
        """Return the references whose pull began and has not ended, and when each began."""

    @abstractmethod
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
        """Write down that a pull brought the image, and drop the note of its beginning.

        Adds the reference and, unless None, the tenant to what the record has. Once ours, it
        stays so. Counts as a use.
        """

    @abstractmethod
    async def find(self, image_id: ImageId) -> ImageRecord | None:
        """Return the record of an image. ``is_needed`` is not told here."""

    @abstractmethod
    async def touch(self, image_id: ImageId, now: datetime) -> None:
        """Note a use. An image without a record is passed over."""

    @abstractmethod
    async def list_images(self) -> list[ImageRecord]:
        """Return the records of all images, unused for the longest time first."""

    @abstractmethod
    async def forget(self, image: ImageRecord) -> None:
        """Remove the record, unless the image was pulled again since it was read. Idempotent."""


class PinStore(Protocol):
    """Which image each actor's present revision runs. Goes with its actor."""

    @abstractmethod
    async def find(self, actor: ActorKey, revision: int) -> Pin:
        """Return what is known of the revision's image; an empty Pin when nothing is."""

    @abstractmethod
    async def set(self, actor: ActorKey, revision: int, image_id: ImageId, digest: str) -> Pin:
        """Set the revision's image if it has none; returns the pin in force, whoever set it.

        An empty Pin when the actor is gone or its revision another one: nothing is set then.
        """
