"""What becomes of an end that the engine does not tell."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from abaco.errors import ContainerMissingError, DriverError, EngineUnavailableError
from backends.drivers import containers
from backends.drivers import last_word as module
from backends.drivers.last_word import EndUnseenError, learn_end
from backends.drivers.state import Inspection, read_inspection
from backends.system import SystemClock

CLOCK = SystemClock()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNTOLD_S", 0.05)
    monkeypatch.setattr(module, "KILL_PAUSES_S", (0.0, 0.0, 0.0))


def looks(status: str, code: int = 0) -> Inspection:
    return read_inspection({"Id": "c" * 64, "State": {"Status": status, "ExitCode": code}})


class ForgetfulEngine:
    """Says that its container runs, until it has been killed so many times."""

    def __init__(self, kills_needed: int = 10**6, code: int = 7) -> None:
        self.told: asyncio.Future[None] = asyncio.Future()
        self.has_gone: asyncio.Future[None] = asyncio.Future()
        self.calls: list[str] = []
        self.alive = False
        self.status = "running"
        self.code = code
        self._kills_needed = kills_needed

    async def ended(self, container_id: str) -> None:
        await asyncio.shield(self.told)

    async def gone(self, container_id: str) -> None:
        await asyncio.shield(self.has_gone)

    async def is_alive(self, container_id: str) -> bool:
        return self.alive

    async def inspect(self, container_id: str) -> Inspection:
        self.calls.append("inspect")
        return looks(self.status, self.code)

    async def kill(self, container_id: str) -> None:
        self.calls.append("kill")
        if self.calls.count("kill") >= self._kills_needed:
            self.status = "exited"

    async def remove(self, container_id: str) -> None:
        self.calls.append("remove")


async def learn(engine: ForgetfulEngine) -> Any:
    async with asyncio.timeout(5):
        return await learn_end(engine, "c" * 64, CLOCK)


async def test_an_end_that_is_told_is_believed_and_nothing_is_killed() -> None:
    engine = ForgetfulEngine()
    engine.told.set_result(None)
    engine.status = "exited"
    end = await learn(engine)
    assert (end.was_seen, end.seen.exit_code) == (True, 7)
    assert engine.calls == ["inspect"]


async def test_an_engine_has_time_to_say_what_the_kernel_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "UNTOLD_S", 5.0)
    engine = ForgetfulEngine()
    engine.has_gone.set_result(None)
    learning = asyncio.ensure_future(learn(engine))
    await asyncio.sleep(0.05)
    assert not learning.done()
    engine.status = "exited"
    engine.told.set_result(None)
    assert (await learning).was_seen
    assert engine.calls == ["inspect"]


async def test_a_program_that_runs_is_waited_for() -> None:
    engine = ForgetfulEngine()
    engine.alive = True
    learning = asyncio.ensure_future(learn(engine))
    await asyncio.sleep(0.1)  # longer than an engine has time to tell of an end
    assert not learning.done()
    assert engine.calls == []
    learning.cancel()


@pytest.mark.parametrize("kills_needed", [1, 3])
async def test_an_engine_that_looks_when_it_is_to_kill_knows_the_code(kills_needed: int) -> None:
    engine = ForgetfulEngine(kills_needed)
    engine.has_gone.set_result(None)
    before = datetime.now(UTC)
    end = await learn(engine)
    assert (end.was_seen, end.seen.exit_code) == (True, 7)
    assert engine.calls.count("kill") == kills_needed
    assert before <= end.noticed_at <= datetime.now(UTC)


async def test_an_engine_that_never_knows_is_not_asked_for_ever() -> None:
    engine = ForgetfulEngine()
    engine.has_gone.set_result(None)
    end = await learn(engine)
    assert not end.was_seen
    assert engine.calls == ["inspect", *["kill", "inspect"] * 3]


async def test_the_code_of_an_end_docker_did_not_see_means_nothing() -> None:
    engine = ForgetfulEngine(kills_needed=1, code=255)
    engine.has_gone.set_result(None)
    assert not (await learn(engine)).was_seen


async def test_an_engine_that_gives_up_is_enough_where_the_kernel_cannot_tell() -> None:
    engine = ForgetfulEngine()
    engine.told.set_exception(EndUnseenError("c" * 64, "no such exit code"))
    assert not (await learn(engine)).was_seen
    assert "kill" in engine.calls


async def test_a_program_the_engine_let_go_of_is_ended_and_lost() -> None:
    engine = ForgetfulEngine()
    engine.alive = True
    engine.told.set_exception(EndUnseenError("c" * 64, "no such exit code"))
    with pytest.raises(ContainerMissingError, match="lost hold"):
        await learn(engine)
    assert engine.calls[-1] == "remove"


async def test_failures_of_either_wait_are_passed_on() -> None:
    for which in ("told", "has_gone"):
        engine = ForgetfulEngine()
        getattr(engine, which).set_exception(EngineUnavailableError("it is away"))
        with pytest.raises(EngineUnavailableError):
            await learn(engine)
        assert engine.calls == []


async def test_an_engine_that_stops_waiting_is_asked_again_by_others() -> None:
    engine = ForgetfulEngine()
    engine.told.set_result(None)
    with pytest.raises(DriverError, match="stopped waiting"):
        await learn(engine)
    assert "kill" not in engine.calls


class Unsure:
    """A dialect that cannot say at first who runs in a container; and an accountant without it."""

    def __init__(self, *answers: bool | None) -> None:
        self.answers = [*answers]

    async def is_empty(self, container_id: str) -> bool | None:
        return self.answers.pop(0)

    def attach(self, seen: Inspection) -> None:
        pass

    def watch(self, container_id: str, pid: int) -> None:
        pass

    async def is_alive(self, container_id: str) -> bool:
        return False

    async def ended(self, container_id: str) -> None:
        await asyncio.Future()


async def test_who_runs_in_a_container_is_asked_until_the_engine_can_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "LIST_PAUSE_S", 0.0)
    unsure: Any = Unsure(None, None, True)
    calls = containers.Containers(unsure, unsure, unsure)
    seen = looks("running")
    calls.attach(seen)
    await asyncio.wait_for(calls.gone(seen.container_id), 5)
    assert unsure.answers == []

    unsure.answers = [None, False]  # somebody does run there
    calls.attach(seen)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(calls.gone(seen.container_id), 0.05)
    assert unsure.answers == []


async def test_who_runs_in_a_container_is_asked_again_by_who_had_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "LIST_PAUSE_S", 60.0)
    unsure: Any = Unsure(None, True)
    calls = containers.Containers(unsure, unsure, unsure)
    seen = looks("running")
    calls.attach(seen)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(calls.gone(seen.container_id), 0.05)
    await asyncio.wait_for(calls.gone(seen.container_id), 5)
    assert unsure.answers == []
