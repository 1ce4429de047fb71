"""The supervisor: names, restarts, ends."""

from __future__ import annotations

import asyncio

import pytest

from agents import supervisor as module
from agents.supervisor import Supervisor
from backends.system import SystemClock


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF_S", 0.001)


def a_supervisor() -> Supervisor:
    return Supervisor(SystemClock(), stop_timeout_s=0.5)


async def rest() -> None:
    await asyncio.Event().wait()


async def test_a_crashed_agent_is_restarted_and_its_failure_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    supervisor = a_supervisor()
    runs = 0
    is_up = asyncio.Event()

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError(f"broken {runs}")
        is_up.set()
        await rest()

    supervisor.start("flaky", run)
    await asyncio.wait_for(is_up.wait(), 5)
    (report,) = supervisor.report()
    assert report.name == "flaky"
    assert report.is_running
    assert report.restart_count == 2
    assert report.last_failure == "ValueError: broken 2"
    assert report.last_failure_time is not None
    assert report.age_s >= 0
    assert "agent flaky crashed" in caplog.text
    await supervisor.stop()
    assert supervisor.report() == []


async def test_an_agent_that_returns_has_crashed() -> None:
    supervisor = a_supervisor()
    is_second = asyncio.Event()
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 2:
            is_second.set()
            await rest()

    supervisor.start("short", run)
    await asyncio.wait_for(is_second.wait(), 5)
    assert "returned without being cancelled" in str(supervisor.report()[0].last_failure)
    await supervisor.stop()


async def test_too_many_crashes_end_the_process() -> None:
    supervisor = a_supervisor()

    async def run() -> None:
        raise ValueError("always")

    supervisor.start("broken", run)
    await asyncio.wait_for(supervisor.has_failed.wait(), 5)
    assert not supervisor.report()[0].is_running
    await supervisor.stop()


async def test_an_agent_that_ends_by_itself_is_followed_up() -> None:
    supervisor = a_supervisor()
    ends: asyncio.Queue[BaseException | None] = asyncio.Queue()

    async def fine() -> None:
        await asyncio.sleep(0)

    async def bad() -> None:
        raise ValueError("once")

    supervisor.start_once("fine", fine, ends.put)
    assert await asyncio.wait_for(ends.get(), 5) is None
    supervisor.start_once("bad", bad, ends.put)
    assert str(await asyncio.wait_for(ends.get(), 5)) == "once"
    await asyncio.sleep(0)
    assert supervisor.report() == []


async def test_a_follow_up_that_fails_is_tried_again() -> None:
    supervisor = a_supervisor()
    tries = 0
    is_done = asyncio.Event()

    async def bad() -> None:
        raise ValueError("once")

    async def follow_up(_: BaseException | None) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError("the store is away")
        is_done.set()

    supervisor.start_once("bad", bad, follow_up)
    await asyncio.wait_for(is_done.wait(), 5)
    assert tries == 3


async def test_after_the_stop_nothing_starts() -> None:
    supervisor = a_supervisor()
    supervisor.start("one", rest)
    supervisor.start("two", rest)
    assert [report.name for report in supervisor.report()] == ["one", "two"]
    await supervisor.stop()
    supervisor.start("three", rest)
    assert supervisor.report() == []
    await supervisor.stop()


async def test_a_name_is_given_once() -> None:
    supervisor = a_supervisor()
    supervisor.start("one", rest)
    with pytest.raises(ValueError, match="'one'"):
        supervisor.start("one", rest)
    await supervisor.stop()


async def test_an_agent_that_ignores_its_end_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    supervisor = Supervisor(SystemClock(), stop_timeout_s=0.05)
    release = asyncio.Event()

    async def stubborn() -> None:
        try:
            await rest()
        except asyncio.CancelledError:
            await release.wait()
            raise

    supervisor.start("stubborn", stubborn)
    await asyncio.sleep(0)
    await supervisor.stop()
    assert "agent stubborn did not stop" in caplog.text
    release.set()
    await asyncio.sleep(0.01)
