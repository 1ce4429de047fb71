"""Limits of one process: rates of messages, and how many may follow logs at once.

How many messages may wait is decided in the store.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from abaco.domain.actor import ActorKey
from abaco.domain.rate import Rate
from abaco.errors import ThrottledError
from abaco.operations.quotas import Place
from abaco.operations.services import Services

#: seconds after which a refused follower may find a place
FOLLOW_AGAIN_S = 5


def spend(services: Services, actor: ActorKey, count: int) -> None:
    """Count messages against the rates of their tenant and actor.

    Raises:
        ThrottledError: One is too fast; names the limit. Nothing is counted then.

    """
    web, quotas, now_s = services.settings.web, services.quotas, services.clock.monotonic()
    drawn: list[tuple[Place, Rate]] = []
    scopes: dict[str, Place] = {"tenant": (actor.tenant,), "actor": (actor.tenant, actor.id)}
    for scope, place in scopes.items():
        key = f"{scope}_message_rate"
        per_s = web.for_tenant(key, actor.tenant)
        if per_s is None:
            continue
        rate = Rate(per_s, web.for_tenant(f"{scope}_message_burst", actor.tenant))
        wait_s = quotas.wait_s(place, rate, now_s, count)
        if wait_s > 0:
            raise ThrottledError(
                f"too many messages for this {scope}: web.{key} is {per_s:g} a second",
                retry_after_s=math.ceil(wait_s),
            )
        drawn.append((place, rate))
    for place, rate in drawn:
        quotas.draw(place, rate, now_s, count)


@contextmanager
def following(services: Services) -> Iterator[None]:
    """Take one of the places of those who follow logs, until the context ends.

    Raises:
        ThrottledError: All are taken.

    """
    limit, quotas = services.settings.web.max_followers, services.quotas
    if quotas.follower_count >= limit:
        raise ThrottledError(
            f"too many logs are being followed: web.max_followers is {limit}",
            retry_after_s=FOLLOW_AGAIN_S,
        )
    quotas.follower_count += 1
    try:
        yield
    finally:
        quotas.follower_count -= 1
