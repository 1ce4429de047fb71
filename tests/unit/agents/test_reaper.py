"""What the reaper forgets of the way in."""

from __future__ import annotations

from datetime import timedelta

from agents import reaper
from agents.reaper import Reaper
from tests.support.house import a_house, an_engine
from tests.support.records import a_retry_key
from tests.support.stores import a_batch


async def test_expired_keys_go_and_others_stay() -> None:
    async with a_house(an_engine()) as house:
        actor = await house.register()
        now = house.services.clock.now()
        take = house.stores.intake.submit
        count = reaper.BATCH + 3
        for number in range(count):
            key = a_retry_key(f"old{number}", expires_at=now - timedelta(seconds=1))
            await take(a_batch(actor), now=now - timedelta(seconds=9), key=key)
        kept = a_retry_key("new", expires_at=now + timedelta(hours=1))
        await take(a_batch(actor), now=now, key=kept)
        await Reaper(house.crew.kit).round()
        assert await house.stores.intake.expire(now) == 0
        assert (await take(a_batch(actor), now=now, key=kept)).is_replay
