"""Notices: none missed, none for others."""

from __future__ import annotations

import asyncio

from abaco.domain.actor import ActorKey
from abaco.domain.ids import ActorId, Tenant
from abaco.ports.notices import Topic
from agents.notices import LocalNotices

ONE = ActorKey(Tenant("T"), ActorId("one"))
TWO = ActorKey(Tenant("T"), ActorId("two"))


async def test_a_notice_before_the_wait_is_not_missed() -> None:
    notices = LocalNotices()
    with notices.subscribe(Topic.MAILBOX, key=ONE) as subscription:
        notices.publish(Topic.MAILBOX, ONE)
        notices.publish(Topic.MAILBOX, ONE)
        assert await subscription.wait(0)
        assert not await subscription.wait(0.01)


async def test_other_keys_and_topics_do_not_wake() -> None:
    notices = LocalNotices()
    with notices.subscribe(Topic.MAILBOX, Topic.POOL, key=ONE) as subscription:
        notices.publish(Topic.MAILBOX, TWO)
        notices.publish(Topic.ACTOR, ONE)
        assert not await subscription.wait(0.01)
        notices.publish(Topic.POOL, ONE)
        assert await subscription.wait(0.01)


async def test_a_topic_can_be_followed_whole_and_tells_its_keys_in_order() -> None:
    notices = LocalNotices()
    with notices.subscribe(Topic.MAILBOX) as subscription:
        for key in (TWO, ONE, TWO):
            notices.publish(Topic.MAILBOX, key)
        assert await subscription.wait(0)
        assert subscription.take() == [TWO, ONE]
        assert subscription.take() == []


async def test_a_notice_wakes_who_waits() -> None:
    notices = LocalNotices()
    with (
        notices.subscribe(Topic.HALT, key=ONE) as first,
        notices.subscribe(Topic.HALT, key=ONE) as second,
    ):
        waiting = [asyncio.create_task(one.wait()) for one in (first, second)]
        await asyncio.sleep(0)
        notices.publish(Topic.HALT, ONE)
        assert await asyncio.gather(*waiting) == [True, True]


async def test_who_has_left_leaves_nothing_behind() -> None:
    notices = LocalNotices()
    with notices.subscribe(Topic.LOG, Topic.HALT, key=ONE):
        assert notices._listeners
    assert not notices._listeners
