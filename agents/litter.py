"""Finds files nobody needs: of attempts that are over, and of messages that never were."""

from __future__ import annotations

from datetime import timedelta

from abaco.ports.ipc import place_of
from agents.kit import Kit

#: a blob this young may belong to a message that is about to be stored
GRACE = timedelta(minutes=5)
#: blobs looked up in one call
BATCH = 500


async def sweep_files(kit: Kit) -> int:
    """Remove files of attempts that hold no lease, and blobs without a message.

    Files are listed first: what is listed was claimed before, so it is leased unless it is over.
    Returns how many were removed.
    """
    return await _sweep_places(kit) + await _sweep_blobs(kit)


async def _sweep_places(kit: Kit) -> int:
    places = await kit.ipc.list_places()
    if not places:
        return 0
    live = {place_of(execution) for execution in await kit.stores.executions.list_leased()}
    left = [place for place in places if place not in live]
    await kit.ipc.remove(left)
    return len(left)


async def _sweep_blobs(kit: Kit) -> int:
    blobs = kit.stores.blobs
    old = await blobs.list_older(kit.clock.now() - GRACE)
    count = 0
    for first in range(0, len(old), BATCH):
        names = old[first : first + BATCH]
        needed = await kit.stores.intake.with_blobs(names)
        left = [name for name in names if name not in needed]
        await blobs.delete(left)
        count += len(left)
    return count
