"""Removes images nobody needs when they take more room than they may."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from abaco.errors import BackendError
from abaco.metrics import IMAGE_BYTES, IMAGE_EVICTIONS
from abaco.ports.images import ImageId, ImageRecord
from agents.kit import Kit

_log = logging.getLogger(__name__)

#: seconds between two rounds when nothing happens: people remove images, too
INTERVAL_S = 300.0
#: seconds between two rounds when much does
PAUSE_S = 1.0


class Evictor:
    """Holds the images that were pulled here to their budget.

    Those unused for the longest time go first. What an actor with workers runs stays, what a
    container has the engine keeps, and what was on the host before is not ours to remove.
    """

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._images = kit.stores.images
        self._longest_pull_s = 2 * kit.settings.runtime.image_pull_timeout
        self._budget_bytes = kit.settings.engine.image_budget_bytes

    async def run(self) -> None:
        """Look after each pull, whenever an image may have become free, and now and then.

        Without a budget now and then only: nothing would come of it.
        """
        changed = self._kit.images.changed
        least_s = INTERVAL_S if self._budget_bytes is None else PAUSE_S
        while True:
            await self._kit.engine.wait_until_up()
            changed.clear()
            try:
                await self.round()
            except BackendError as error:
                _log.warning("images are not looked after, will try again: %s", error)
            await asyncio.sleep(least_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_S):
                    await changed.wait()

    async def round(self) -> None:
        """Forget what is gone, and remove what is too much."""
        await self._adopt()
        # in this order: what is noted meanwhile may be missing from an older list of the host's
        images = await self._images.list_images()
        on_host = await self._kit.driver.list_images()
        ours = []
        for image in images:
            if image.id not in on_host:
                await self._images.forget(image)
            elif image.is_ours:
                ours.append(image)
        IMAGE_BYTES.set(await self._evict(ours))

    async def _evict(self, images: Sequence[ImageRecord]) -> int:
        """Remove images, in this order, down to the budget. Returns the bytes that stay."""
        total = sum(image.size_bytes for image in images)
        if self._budget_bytes is None:
            return total
        for image in images:
            if total <= self._budget_bytes:
                break
            if image.is_needed:
                continue
            if not await self._kit.driver.remove_image(image.id, image.references):
                IMAGE_EVICTIONS.labels("kept").inc()
                continue
            await self._images.forget(image)
            total -= image.size_bytes
            IMAGE_EVICTIONS.labels("removed").inc()
            _log.info(
                "image %s (%s) is removed: unused since %s, %d bytes",
                image.id,
                ", ".join(sorted(image.references)),
                image.used_at.isoformat(timespec="seconds"),
                image.size_bytes,
            )
        return total

    async def _adopt(self) -> None:
        """Take what a pull brought that had no end: the process died, or the engine was late."""
        now = self._kit.clock.now()
        for reference, began_at in (await self._images.list_begun()).items():
            image = await self._kit.driver.find_image(reference)
            if image is None:
                if now - began_at > timedelta(seconds=self._longest_pull_s):
                    await self._images.end_pull(reference)
            else:
                await self._images.note_pull(
                    ImageId(image.id),
                    reference,
                    None,  # for whom it came is not known: the next to want it is to ask
                    size_bytes=image.size_bytes,
                    is_ours=True,
                    now=now,
                )
