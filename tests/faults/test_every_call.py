"""Every outside call on a message's way is made to fail once: the message is never lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from abaco.domain.execution import ExecutionStatus
from abaco.errors import StoreUnavailableError
from abaco.operations import messages
from backends.drivers.scripted import Act
from tests.support.faults import (
    Fault,
    When,
    engine_away,
    engine_confused,
    engine_slow,
    faulty_driver,
    faulty_stores,
    store_away,
)
from tests.support.house import CALLER, House, a_house, an_engine

STORE_CALLS = [
    "claim",
    "mark_running",
    "finalize",
    "append",
    "read",
    "set_status",
    "request",
    "list_workers",
    "count",
    "list_leased",
    "of_actor",
    "find",
    "set",
    "begin_pull",
    "list_begun",
    "note_pull",
]
DRIVER_CALLS = [
    "info",
    "find_image",
    "pull_image",
    "prepare",
    "dispatch",
    "output",
    "wait",
    "remove",
]


async def post_three_and_check(house: House, fault: Fault) -> None:
    actor = await house.register(stateless=False)
    keys = [await house.post(actor, f"message {number}") for number in range(3)]
    for key in keys:
        execution = await house.final(key)
        assert execution.status is ExecutionStatus.COMPLETE, execution.outcome
        assert execution.outcome is not None
        assert execution.outcome.exit_code == 0
        assert await house.log(key) == b"hello\n"
    await house.check_conservation()
    totals = await house.stores.executions.totals(actor.key)
    assert totals.count == 3
    assert (await house.stores.executions.counters()).final == 3
    assert fault.struck, "the fault never struck: the test shows nothing"
    await house.no_containers()


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("method", STORE_CALLS)
async def test_a_store_call_that_fails_loses_nothing(method: str, when: When) -> None:
    fault = Fault(method, when, store_away)
    async with a_house(wrap_stores=faulty_stores(fault)) as house:
        await post_three_and_check(house, fault)


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("method", ["retire_idle", "leave"])
async def test_an_idle_worker_leaves_although_the_store_fails(method: str, when: When) -> None:
    fault = Fault(method, when, store_away)
    async with a_house(wrap_stores=faulty_stores(fault)) as house:
        actor = await house.register()
        await house.final(await house.post(actor))

        async def is_alone() -> bool:
            return not await house.stores.workers.list_workers()

        await house.until(is_alone)
        assert fault.struck
        assert (await house.final(await house.post(actor))).attempt == 1


@pytest.mark.parametrize("error", [engine_away, engine_slow, engine_confused])
@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("method", DRIVER_CALLS)
async def test_an_engine_call_that_fails_loses_nothing(
    method: str, when: When, error: Callable[[], BaseException]
) -> None:
    fault = Fault(method, when, error)
    async with a_house(wrap_driver=faulty_driver(fault)) as house:
        await post_three_and_check(house, fault)


@pytest.mark.parametrize("method", ["claim", "finalize", "mark_running", "append"])
async def test_a_store_away_for_long_delays_and_loses_nothing(method: str) -> None:
    fault = Fault(method, When.BEFORE, store_away, times=6)
    async with a_house(wrap_stores=faulty_stores(fault)) as house:
        await post_three_and_check(house, fault)


def broken() -> BaseException:
    return RuntimeError("a bug, on purpose")


@pytest.mark.parametrize("method", ["wait", "output", "mark_running"])
async def test_a_bug_in_mid_run_restarts_the_worker_and_keeps_the_run(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker crashes; its attempt is taken over, so the container is not run again."""
    fault = Fault(method, When.BEFORE, broken)
    engine = an_engine(Act(output=[b"hel", 0.05, b"lo\n"]))
    async with a_house(
        engine, wrap_stores=faulty_stores(fault), wrap_driver=faulty_driver(fault)
    ) as house:
        await post_three_and_check(house, fault)
        started = [call for call in engine.calls if call[0] == "dispatch"]
    assert len(started) == 3
    assert "crashed" in caplog.text


@pytest.mark.parametrize("when", list(When))
async def test_a_post_that_fails_is_repeated_with_its_key(when: When) -> None:
    fault = Fault("submit", when, store_away)
    async with a_house(wrap_stores=faulty_stores(fault)) as house:
        actor = await house.register()
        posted = messages.Post(body="hi", content_type="str", environment={})
        with pytest.raises(StoreUnavailableError):
            await messages.post(house.services, CALLER, actor, posted, key="k")
        again = await messages.post(house.services, CALLER, actor, posted, key="k")
        assert again.is_replay is (when is When.AFTER)
        # the answer was lost, and so was the wake-up: the repeat brings both
        assert (await house.final(again.execution.key)).status is ExecutionStatus.COMPLETE
        assert (await house.stores.executions.totals(actor.key)).count == 1
