"""Brings images to the engine, as their tenants may have them, and remembers what came."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from abaco.domain.actor import ActorKey
from abaco.domain.image import is_content_id, registry_of
from abaco.errors import (
    DriverError,
    EngineTimeoutError,
    EngineUnavailableError,
    ImageMissingError,
)
from abaco.lifecycle.images import PullRule, Step, may_use
from abaco.ports.clock import Clock
from abaco.ports.driver import ImageHost, ImageInfo
from abaco.ports.images import EVERYBODY, ImageId, ImageRecord, Pin
from abaco.ports.registries import Registries
from abaco.ports.store import Stores
from agents.persist import persist

_log = logging.getLogger(__name__)

#: after these the engine may have the image all the same
_UNCERTAIN = (EngineUnavailableError, EngineTimeoutError)

Progress = Callable[[str], None] | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The image a revision of an actor is to run."""

    actor: ActorKey
    revision: int
    reference: str


class ImageKeeper:
    """Makes sure images are there, for whom they may be.

    The first worker of a revision finds out which image its name means; from then on the
    revision runs that one. Pulls of a tenant's for the same name wait for each other and share
    what came.

    Args:
        host: The engine's images.
        stores: Pins and records of pulls.
        registries: Accounts for pulls.
        clock: For the age of pulls.
        rule: When to pull although the image is there.
        timeout_s: Seconds a pull may take.
        max_parallel_pulls: Pulls of different images at the same time.

    """

    def __init__(
        self,
        host: ImageHost,
        stores: Stores,
        registries: Registries,
        clock: Clock,
        rule: PullRule,
        *,
        timeout_s: float,
        max_parallel_pulls: int,
    ) -> None:
        self._host = host
        self._images, self._pins = stores.images, stores.pins
        self._registries = registries
        self._clock = clock
        self._rule = rule
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(max_parallel_pulls)
        self._shared = _Shared()
        #: an image came, or may not be needed any more
        self.changed = asyncio.Event()

    async def ensure(self, wanted: Wanted, progress: Progress = None) -> ImageInfo:
        """Return the image of a revision, found or pulled.

        Raises:
            ImageMissingError: It is not to be had, or not by this tenant.
            DriverError: As ``ImageHost.pull_image``.

        """
        image = await self._ensure(wanted, progress)
        if image.is_pulled:
            self.changed.set()
        return image

    async def _ensure(self, wanted: Wanted, progress: Progress) -> ImageInfo:
        pin = await persist(lambda: self._pins.find(wanted.actor, wanted.revision))
        if pin.image_id is not None:
            return await self._bring(wanted, pin, progress)
        image = await self._shared.get(
            (wanted.actor.tenant, wanted.reference, pin.is_forced),
            lambda: self._resolve(wanted, pin, progress),
        )
        kept = await persist(
            lambda: self._pins.set(wanted.actor, wanted.revision, ImageId(image.id), image.digest)
        )
        if kept.image_id not in (None, image.id):  # another worker was first
            return await self._bring(wanted, kept, progress)
        _log.info(
            "actor %s, revision %d runs %s",
            wanted.actor.id,
            wanted.revision,
            image.digest or image.id,
        )
        return image

    async def release(self, image: ImageInfo) -> None:
        """Note that a worker has no more use for an image."""
        await persist(lambda: self._images.touch(ImageId(image.id), self._clock.now()))
        self.changed.set()

    # A revision whose image is known.

    async def _bring(self, wanted: Wanted, pin: Pin, progress: Progress) -> ImageInfo:
        """Return the very image of the pin; pulled by its digest when it is gone."""
        assert pin.image_id is not None  # noqa: S101 - the callers have looked
        found = await self._host.find_image(pin.image_id)
        if found is None:
            found = await self._shared.get(
                (wanted.actor.tenant, pin.digest, False),
                lambda: self._bring_back(wanted, pin, progress),
            )
        return replace(found, reference=wanted.reference, digest=pin.digest)

    async def _bring_back(self, wanted: Wanted, pin: Pin, progress: Progress) -> ImageInfo:
        gone = (
            f"the image that revision {wanted.revision} runs as {wanted.reference!r} is gone from"
            " the engine's host"
        )
        advice = "update the actor with force to run what goes by that name now"
        if not pin.digest:
            raise ImageMissingError(f"{gone}, and no registry is known to have it; {advice}")
        if self._rule.word == "never":
            raise ImageMissingError(f"{gone}, and nothing is pulled (pull policy 'never')")
        try:
            image = await self._pull(
                wanted, pin.digest, may_keep=False, is_new=True, progress=progress
            )
        except ImageMissingError as error:
            raise ImageMissingError(f"{gone}: {error.message}; {advice}") from error
        if image.id != pin.image_id:
            raise ImageMissingError(f"{gone}, and {pin.digest} is another one now; {advice}")
        return image

    # A revision whose image is not known yet.

    async def _resolve(self, wanted: Wanted, pin: Pin, progress: Progress) -> ImageInfo:
        """Find out which image a name means now, for this tenant."""
        if is_content_id(wanted.reference):
            raise ImageMissingError("an image is called by its name, not by its id")
        present = await self._host.find_image(wanted.reference)
        record = None
        if present is not None:
            record = await self._find_record(present)
        is_allowed = present is not None and self._may_use(wanted, present, record)
        step = self._rule.decide(
            is_here=present is not None,
            may_use=is_allowed,
            is_forced=pin.is_forced,
            pulled_at=record.pulled_at if record is not None else None,
            now=self._clock.now(),
        )
        if step is Step.USE and present is not None:
            return present
        if step is Step.MISSING:
            raise ImageMissingError(
                f"image {wanted.reference!r} is not on the engine's host, and was not pulled"
                " because the pull policy is 'never'"
            )
        if step is Step.NOT_YOURS:
            raise ImageMissingError(
                f"image {wanted.reference!r} is not known to be for this tenant, and its registry"
                " is not asked because the pull policy is 'never'"
            )
        return await self._pull(
            wanted,
            wanted.reference,
            may_keep=is_allowed,
            is_new=present is None,
            progress=progress,
        )

    async def _find_record(self, image: ImageInfo) -> ImageRecord | None:
        return await persist(lambda: self._images.find(ImageId(image.id)))

    def _may_use(self, wanted: Wanted, image: ImageInfo, record: ImageRecord | None) -> bool:
        names = (wanted.reference, *image.repositories)
        return may_use(
            wanted.actor.tenant,
            handed_to=record.tenants if record is not None else (),
            everybody=EVERYBODY,
            is_guarded=any(self._registries.is_guarded(registry_of(name)) for name in names),
        )

    async def _pull(
        self,
        wanted: Wanted,
        reference: str,
        *,
        may_keep: bool,
        is_new: bool,
        progress: Progress,
    ) -> ImageInfo:
        """Pull with the tenant's account, and write down for whom it came."""
        tenant = wanted.actor.tenant
        account = await self._registries.find_account(registry_of(reference), tenant)
        # one that an earlier process began to pull is no less ours
        is_ours = is_new or reference in await persist(self._images.list_begun)
        # a name may come to mean an image that was not there, though one of that name was
        before = {} if is_ours else await self._host.list_images()
        if is_new:
            await persist(lambda: self._images.begin_pull(reference, self._clock.now()))
        try:
            async with self._slots:
                image = await self._host.pull_image(
                    reference,
                    timeout_s=self._timeout_s,
                    may_keep=may_keep,
                    credentials=account.credentials if account is not None else None,
                    progress=progress,
                )
        except _UNCERTAIN:
            raise
        except DriverError:
            await persist(lambda: self._images.end_pull(reference))
            raise
        if image.is_pulled:
            is_own = account is not None and account.is_own
            await persist(
                lambda: self._images.note_pull(
                    ImageId(image.id),
                    reference,
                    tenant if is_own else EVERYBODY,
                    size_bytes=image.size_bytes,
                    is_ours=is_ours or image.id not in before,
                    now=self._clock.now(),
                )
            )
        return image


class _Shared:
    """Work for a key that is done once for all who wait for it."""

    def __init__(self) -> None:
        self._locks: defaultdict[object, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: how many are in or before the lock of a key; at 0 the lock goes
        self._users: defaultdict[object, int] = defaultdict(int)
        #: what came while others waited for the same key
        self._fresh: dict[object, ImageInfo] = {}

    async def get(self, key: object, work: Callable[[], Awaitable[ImageInfo]]) -> ImageInfo:
        """Do the work, or take what somebody brought meanwhile; failures are not shared."""
        self._users[key] += 1
        try:
            async with self._locks[key]:
                if key not in self._fresh:
                    self._fresh[key] = await work()
                return self._fresh[key]
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]
                self._fresh.pop(key, None)
