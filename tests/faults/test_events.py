"""Events through the agents, with a scripted engine and real receivers: told once, in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from standardwebhooks.webhooks import Webhook

from abaco.config import Settings
from abaco.domain.actor import Actor, ActorKey, ActorStatus
from abaco.domain.event import MAX_HOPS, Event
from abaco.domain.execution import Execution
from abaco.errors import InvalidInputError, VaultError
from abaco.operations import actors, aliases, executions, messages
from abaco.operations.actors import ActorDraft
from abaco.ports.notices import Topic
from abaco.ports.store import Stores
from abaco.settings import RuntimeSettings, WorkersSettings
from agents import events as courier
from backends.drivers.scripted import Act, ScriptedEngine, print_message
from tests.support.faults import Fault, When, faulty_stores, store_away
from tests.support.house import CALLER, House, a_house, an_engine
from tests.support.receiver import Receiver, a_receiver
from tests.unit.domain.test_webhook import SECRET

LONG = Act(output=[b"begun\n"], until_stopped=True)


def settings(**runtime: Any) -> Settings:
    return Settings(
        runtime=RuntimeSettings(
            **{
                "start_backoff": 0.01,
                "idle_grace": 0.2,
                "stop_grace": 0,
                "webhook_allow": "127.0.0.1",
                "webhook_backoff": 0.05,
                "webhook_timeout": 30.0,
                **runtime,
            }
        ),
        workers=WorkersSettings(init_count=0),
    )


@asynccontextmanager
async def telling(
    engine: ScriptedEngine | None = None, *, wrap: Any = lambda stores: stores, **runtime: Any
) -> AsyncIterator[House]:
    async with a_house(engine, settings(**runtime), wrap_stores=wrap) as house:
        yield house


async def told(house: House, target: Actor, count: int) -> list[Execution]:
    """Wait until the target has that many final executions, and return them."""

    async def has_them() -> bool:
        found = await house.stores.executions.list_executions(target.key)
        return len(found) >= count and all(each.outcome for each in found)

    await house.until(has_them)
    return await house.stores.executions.list_executions(target.key)


async def all_told(house: House) -> None:
    """Wait until no event is left."""

    async def is_empty() -> bool:
        return not await house.stores.outbox.with_events()

    await house.until(is_empty)


def counted(kind: str, leg: str, outcome: str) -> float:
    labels = {"type": kind, "leg": leg, "outcome": outcome}
    return REGISTRY.get_sample_value("abaco_events_total", labels) or 0.0


async def wait_for(receiver: Receiver, count: int) -> None:
    await asyncio.to_thread(receiver.wait, count)


async def test_a_linked_actor_is_told_in_order_and_gets_a_worker() -> None:
    async with telling() as house:
        target = await house.register("target", stateless=False)
        source = await house.register(link=target.id)
        key = await house.post(source)
        await house.final(key)
        runs = await told(house, target, 2)
        assert [run.executor for run in runs] == ["Abaco Event"] * 2
        logs = [(await house.log(run.key)).decode() for run in runs]
        await all_told(house)
    assert "hello" in logs[0]


async def test_what_a_linked_container_is_given() -> None:
    async with telling(an_engine(print_message)) as house:
        target = await house.register("target", stateless=False)
        source = await house.register(link=target.id)
        key = await house.post(source)
        runs = await told(house, target, 2)
        first, second = [(await house.log(run.key)).decode() for run in runs]
    assert "'event_type': 'ACTOR_READY'" in first
    assert "'event_time_utc': '2" in first
    assert f"'_abaco_link': '{target.key.dbid}'" in first
    assert "'event_type': 'EXECUTION_COMPLETE'" in second
    assert f"'execution_id': '{key.id}'" in second
    assert f"'actor_id': '{source.id}'" in second
    for log in (first, second):
        assert "_abaco_Content_Type=application/json\n" in log
        assert "_abaco_username=Abaco Event\n" in log
        assert "hops" not in log


async def test_an_alias_is_resolved_when_the_event_is_delivered() -> None:
    async with telling(an_engine(source=LONG, target=Act())) as house:
        old = await house.register("target")
        new = await house.register("target")
        alias = await aliases.create(house.services, CALLER, "listener", old.id)
        source = await house.register("source", link="listener")
        key = await house.post(source)
        await told(house, old, 1)
        await aliases.repoint(house.services, CALLER, alias, new.id)
        house.engine.finish((await house.running(key)).container_id, 0)
        (run,) = await told(house, new, 1)
        assert len(await told(house, old, 1)) == 1
        assert run.executor == "Abaco Event"


async def test_a_deleted_target_costs_its_leg_and_not_the_webhooks() -> None:
    with a_receiver() as receiver:
        async with telling() as house:
            target = await house.register("target")
            source = await house.register(link=target.id, webhook=receiver.url)
            await actors.delete(house.services, target)
            before = counted("ACTOR_READY", "link", "dropped")
            await house.final(await house.post(source))
            await wait_for(receiver, 2)
            await all_told(house)
        assert receiver.types() == ["ACTOR_READY", "EXECUTION_COMPLETE"]
        assert {each.event["_abaco_link"] for each in receiver.received} == {""}
        assert counted("ACTOR_READY", "link", "dropped") == before + 1


async def test_a_webhook_that_fails_three_times_is_told_exactly_once_more() -> None:
    with a_receiver([503, 500, 429, 200]) as receiver:
        async with telling() as house:
            source = await house.register(webhook=receiver.url, webhook_secret=SECRET)
            retried = counted("ACTOR_READY", "webhook", "retried")
            key = await house.post(source)
            await wait_for(receiver, 5)
            await all_told(house)
            await asyncio.sleep(0.3)
        first, *rest = receiver.received
        assert receiver.types() == ["ACTOR_READY"] * 4 + ["EXECUTION_COMPLETE"]
        assert [each.body for each in rest[:3]] == [first.body] * 3
        ids = [each.headers["webhook-id"] for each in receiver.received]
        assert ids == [f"evt_{source.id}_1"] * 4 + [f"evt_{source.id}_2"]
        for each in receiver.received:  # an independent library verifies what came
            assert Webhook(SECRET).verify(each.body, each.headers) == each.event
        assert rest[-1].event["execution_id"] == key.id
        assert rest[-1].event["_abaco_username"] == "Abaco Event"
        assert counted("ACTOR_READY", "webhook", "retried") == retried + 3


async def test_without_a_secret_nothing_is_signed() -> None:
    with a_receiver() as receiver:
        async with telling() as house:
            await house.final(await house.post(await house.register(webhook=receiver.url)))
            await wait_for(receiver, 2)
        assert all("webhook-signature" not in each.headers for each in receiver.received)


async def test_a_secret_is_kept_by_an_update_that_is_silent_and_replaced_by_another() -> None:
    other = f"{SECRET[:-5]}AAAA="
    with a_receiver() as receiver:
        async with telling() as house:
            source = await house.register(webhook=receiver.url, webhook_secret=SECRET)
            for secret, number in ((None, 1), (other, 2), ("", 3)):
                draft = ActorDraft(image="abaco_test", webhook=receiver.url, webhook_secret=secret)
                await actors.update(house.services, CALLER, source, draft, force=True)
                await house.actor_status(source, ActorStatus.SUBMITTED)
                await house.final(await house.post(source))
                await all_told(house)
                assert len(receiver.received) == 2 * number
        kept, _, replaced, _, bare, _ = receiver.received
        assert Webhook(SECRET).verify(kept.body, kept.headers)
        assert Webhook(other).verify(replaced.body, replaced.headers)
        assert "webhook-signature" not in bare.headers


@pytest.mark.parametrize("status", [301, 400, 404, 410])
async def test_an_answer_that_will_not_change_ends_the_event(status: int) -> None:
    with a_receiver([status, 200]) as receiver:
        async with telling() as house:
            before = counted("ACTOR_READY", "webhook", "given_up")
            await house.final(await house.post(await house.register(webhook=receiver.url)))
            await all_told(house)
        assert receiver.types() == ["ACTOR_READY", "EXECUTION_COMPLETE"]
        assert counted("ACTOR_READY", "webhook", "given_up") == before + 1


async def test_a_receiver_that_never_answers_is_given_up_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with a_receiver() as receiver:
        url = receiver.url
    before = counted("EXECUTION_COMPLETE", "webhook", "given_up")
    async with telling(webhook_attempts=3) as house:
        await house.final(await house.post(await house.register(webhook=f"{url}?key=hidden")))
        await all_told(house)
    assert counted("EXECUTION_COMPLETE", "webhook", "given_up") == before + 1
    (line, _) = [each for each in caplog.messages if "given up" in each]
    assert "after 3 requests" in line
    assert "hidden" not in caplog.text


async def test_a_hanging_receiver_holds_up_its_actor_and_nobody_else() -> None:
    with a_receiver(pause_s=5.0) as slow, a_receiver() as quick:
        async with telling(webhook_timeout=0.4, webhook_attempts=2) as house:
            stuck = await house.register(webhook=slow.url)
            await house.final(await house.post(stuck))
            await wait_for(slow, 1)
            free = await house.register(webhook=quick.url)
            began = time.monotonic()
            await house.final(await house.post(free))
            await wait_for(quick, 2)
            assert time.monotonic() - began < 4
            await all_told(house)
        assert slow.types() == ["ACTOR_READY"] * 2 + ["EXECUTION_COMPLETE"] * 2
        assert quick.types() == ["ACTOR_READY", "EXECUTION_COMPLETE"]


async def test_a_link_is_served_while_its_webhook_is_being_retried() -> None:
    with a_receiver([500]) as receiver:
        async with telling(webhook_attempts=4, webhook_backoff=0.4) as house:
            target = await house.register("target")
            source = await house.register(link=target.id, webhook=receiver.url)
            await house.final(await house.post(source))
            await told(house, target, 1)
            await wait_for(receiver, 2)
            assert len(await told(house, target, 1)) == 1
            runs = await told(house, target, 2)  # only after the first event was given up
            assert receiver.types()[:4] == ["ACTOR_READY"] * 4
            assert len(runs) == 2


async def test_a_failing_image_tells_that_the_actor_is_in_error() -> None:
    with a_receiver() as receiver:
        async with telling(an_engine(bad=Act(start_error="exec format error"))) as house:
            source = await house.register("bad", webhook=receiver.url, stateless=False)
            await house.final(await house.post(source))
            await house.actor_status(source, ActorStatus.ERROR)
            await wait_for(receiver, 3)
        found = {each.event["event_type"]: each.event for each in receiver.received}
        assert set(found) == {"ACTOR_READY", "ACTOR_ERROR", "EXECUTION_COMPLETE"}
        assert "exec format error" in found["ACTOR_ERROR"]["status_message"]
        assert found["EXECUTION_COMPLETE"]["status"] == "ERROR"
        assert found["EXECUTION_COMPLETE"]["exit_code"] is None


async def test_starts_are_told_when_asked_for() -> None:
    with a_receiver() as receiver:
        async with telling(emit_started=True) as house:
            await house.final(await house.post(await house.register(webhook=receiver.url)))
            await wait_for(receiver, 3)
        assert receiver.types() == ["ACTOR_READY", "EXECUTION_STARTED", "EXECUTION_COMPLETE"]


async def test_purged_halted_and_deleted_runs_are_told_too() -> None:
    with a_receiver() as receiver:
        async with telling(an_engine(LONG)) as house:
            source = await house.register(webhook=receiver.url, stateless=False)
            first = await house.post(source)
            await house.running(first)
            purged = await house.post(source)
            await messages.purge(house.services, source)
            await executions.halt(house.services, source, first.id)
            await house.final(first)
            last, dropped = await house.post(source), await house.post(source)
            await house.running(last)
            assert await actors.delete(house.services, source)
            await wait_for(receiver, 5)
            await all_told(house)
        ended = [each.event["execution_id"] for each in receiver.received[1:]]
        assert sorted(ended) == sorted(key.id for key in (first, purged, last, dropped))


async def test_a_message_behind_too_many_events_is_told_no_further(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with telling() as house:
        line = [await house.register("end")]
        for _ in range(MAX_HOPS + 3):
            line.append(await house.register("middle", link=line[-1].id))
        await house.final(await house.post(line[-1]))
        await all_told(house)

        async def is_quiet() -> bool:
            counters = await house.stores.executions.counters()
            return counters.queued == counters.leased == 0

        await house.until(is_quiet)
        await all_told(house)
        hops = []
        for actor in line:
            found = await house.stores.executions.list_executions(actor.key)
            hops.append(len(found))
        assert hops[-1] == 1
        assert "more than 10 events" in caplog.text


async def test_a_webhook_to_ones_own_inbox_does_not_go_on_for_ever() -> None:
    """Hops survive the way over HTTP: the header tells them to the inbox."""
    with a_receiver() as receiver:
        own = f"http://127.0.0.1:{receiver.port}"
        async with telling(webhook_allow="") as house:
            house.settings = Settings(
                runtime=house.settings.runtime,
                workers=house.settings.workers,
                web={"default_api_server": own},
            )
            await house.crash()
            await house.start()
            source = await house.register(webhook=f"{own}/actors/abc/messages")
            await house.final(await house.post(source))
            await wait_for(receiver, 2)
            assert [each.headers["x-abaco-event-hops"] for each in receiver.received] == ["1"] * 2
            post = messages.Post(body="x", content_type="str", environment={}, hops=MAX_HOPS)
            posted = await messages.post(house.services, CALLER, source, post)
            await house.final(posted.execution.key)
            await all_told(house)
        assert len(receiver.received) == 2


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("method", ["with_events", "head", "deliver_link", "settle_webhook"])
async def test_a_store_call_that_fails_tells_everything_once(method: str, when: When) -> None:
    fault = Fault(method, when, store_away)
    with a_receiver() as receiver:
        async with telling(wrap=faulty_stores(fault)) as house:
            target = await house.register("target")
            source = await house.register(link=target.id, webhook=receiver.url)
            await house.final(await house.post(source))
            assert len(await told(house, target, 2)) == 2
            await all_told(house)
        assert receiver.types() == ["ACTOR_READY", "EXECUTION_COMPLETE"]
        assert fault.struck


async def test_a_target_that_vanishes_in_mid_delivery_is_dropped() -> None:
    fault = Fault("drop_link", When.AFTER, store_away)

    async with telling(wrap=faulty_stores(fault)) as house:
        target = await house.register("target")
        source = await house.register(link=target.id)
        await actors.delete(house.services, target)
        await house.final(await house.post(source))
        await all_told(house)
        assert fault.struck


async def test_a_crash_before_the_delivery_loses_no_event() -> None:
    with a_receiver([500, 500, 200]) as receiver:
        async with telling(webhook_backoff=60.0) as house:
            target = await house.register("target")
            source = await house.register(link=target.id, webhook=receiver.url)
            await house.final(await house.post(source))
            await wait_for(receiver, 1)
            await told(house, target, 1)

            async def is_noted() -> bool:
                event = await house.stores.outbox.head(source.key)
                return event is not None and event.attempts == 1

            await house.until(is_noted)
            await house.crash()
            event = await house.stores.outbox.head(source.key)
            assert event is not None
            await house.stores.outbox.settle_webhook(event.key, 1, retry_at=event.time)
            await house.start()  # the pause that was left is kept, and this one is over
            await wait_for(receiver, 2)


async def test_a_fault_of_ours_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(courier, "FAULT_PAUSE_S", 0.05)

    def broken() -> BaseException:
        return RuntimeError("a bug, on purpose")

    fault = Fault("deliver_link", When.BEFORE, broken)
    async with telling(wrap=faulty_stores(fault)) as house:
        target = await house.register("target")
        source = await house.register(link=target.id)
        await house.final(await house.post(source))
        assert len(await told(house, target, 2)) == 2
    assert "a bug, on purpose" in caplog.text


class LateOutbox:
    """Lets another event happen between the look that finds none and its answer."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    async def head(self, actor: ActorKey) -> Event | None:
        event: Event | None = await self._target.head(actor)
        if event is None and self.meanwhile is not None:
            happen, self.meanwhile = self.meanwhile, None
            await happen()
            await asyncio.sleep(0.05)  # the notice is taken before the answer comes
        return event


async def test_an_event_that_comes_while_the_last_one_ends_is_told() -> None:
    outbox: list[LateOutbox] = []

    def wrap(stores: Stores) -> Stores:
        outbox.append(LateOutbox(stores.outbox))
        return replace(stores, outbox=outbox[0])  # type: ignore[arg-type]

    with a_receiver() as receiver:
        async with telling(wrap=wrap) as house:
            source = await house.register(webhook=receiver.url)

            async def fail() -> None:
                await house.stores.actors.set_status(
                    source.key, ActorStatus.ERROR, "why", expect=set(ActorStatus)
                )
                house.services.notices.publish(Topic.ACTOR, source.key)

            outbox[0].meanwhile = fail
            await house.stores.actors.set_status(
                source.key, ActorStatus.READY, " ", expect=set(ActorStatus)
            )
            house.services.notices.publish(Topic.ACTOR, source.key)
            await wait_for(receiver, 2)
        assert receiver.types() == ["ACTOR_READY", "ACTOR_ERROR"]


async def test_a_secret_that_cannot_be_read_ends_the_event_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with a_receiver() as receiver:
        async with telling() as house:
            source = await house.register(webhook=receiver.url, webhook_secret=SECRET)
            await house.crash()
            await house.start()  # with other keys
            with pytest.raises(VaultError):
                house.services.vault.decrypt("sealed")
            await house.final(await house.post(source))
            await all_told(house)
        assert receiver.received == []
    assert "no encryption key" in caplog.text


async def test_links_need_a_target_the_caller_may_execute() -> None:
    async with telling() as house:
        with pytest.raises(InvalidInputError, match="no actor or alias 'nobody'") as caught:
            await house.register(link="nobody")
        assert caught.value.field == "link"
        source = await house.register()
        draft = ActorDraft(image="abaco_test", link=source.id)
        with pytest.raises(InvalidInputError, match="cycle of linked actors"):
            await actors.update(house.services, CALLER, source, draft)
