"""The fake engine: its script, its outages, and what it remembers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from abaco.errors import (
    ContainerMissingError,
    EngineTimeoutError,
    EngineUnavailableError,
    ImageMissingError,
    StartFailedError,
)
from abaco.ports.driver import Context, Slot
from backends.drivers.scripted import Act, Script, ScriptedDriver, ScriptedEngine, open_driver
from tests.support.drivers import Lab, read_all, settings


def lab_of(script: Script | None = None) -> tuple[Lab, ScriptedEngine]:
    engine = ScriptedEngine(script)
    engine.images.update(["abaco_test", "fail", "oom", "sleep", "stubborn", "nostart"])
    return Lab(ScriptedDriver(engine, "mine")), engine


async def test_without_a_script_the_message_is_printed() -> None:
    lab, _ = lab_of()
    output, end = await lab.run("hi", "abaco_test", environment={"A": "b"})
    assert output == b"Contents of MSG: hi\nEnvironment:\nA=b\nMSG=hi\n"
    assert end.exit_code == 0


@pytest.mark.parametrize(
    ("image", "code", "oom"), [("fail", 3, False), ("oom", 137, True), ("abaco_test", 0, False)]
)
async def test_default_acts_by_name(image: str, code: int, oom: bool) -> None:
    lab, _ = lab_of()
    _, end = await lab.run(image=image)
    assert (end.exit_code, end.oom_killed, end.state["OOMKilled"]) == (code, oom, oom)


async def test_longest_beginning_of_the_name_wins() -> None:
    script = Script(plays={"a": Act(exit_code=1), "abaco": Act(exit_code=2)})
    lab, engine = lab_of(script)
    engine.images.update(["apple", "host/me/abacus:1", "host/me/abaco_test:1"])
    assert (await lab.run(image="apple"))[1].exit_code == 1
    assert (await lab.run(image="host/me/abacus:1"))[1].exit_code == 1
    assert (await lab.run(image="host/me/abaco_test:1"))[1].exit_code == 2


async def test_play_may_be_decided_by_the_message() -> None:
    def play(slot: Slot, context: Context) -> Act:
        return Act(exit_code=int(context.environment["MSG"]))

    lab, _ = lab_of(Script(otherwise=play, plays={}))
    assert (await lab.run("7", "abaco_test"))[1].exit_code == 7
    assert (await lab.run("8", "abaco_test"))[1].exit_code == 8


async def test_output_comes_in_time() -> None:
    script = Script(otherwise=Act(output=[b"one ", 0.2, b"two ", 0.2, b"three"]), plays={})
    lab, _ = lab_of(script)
    running = await lab.start(image="abaco_test")
    loop = asyncio.get_running_loop()
    began, said, came = loop.time(), b"", dict[bytes, float]()
    async with aclosing(running.output()) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            said += chunk
            came |= {word: came.get(word, loop.time() - began) for word in said.split()}
    assert said == b"one two three"
    assert came[b"two"] > 0.15
    assert came[b"three"] > 0.35
    assert await read_all(running, 4) == b"two three"
    end = await running.wait()
    assert 0.39 < (end.finished_at - end.started_at).total_seconds() < 0.5


async def test_test_may_speak_and_end_for_the_program() -> None:
    lab, engine = lab_of()
    running = await lab.start(image="sleep")
    reading = asyncio.ensure_future(read_all(running))
    await asyncio.sleep(0)
    engine.print(running.container_id, b"more\n")
    engine.finish(running.container_id, 9)
    assert await reading == b"sleeping\nmore\n"
    assert (await running.wait()).exit_code == 9
    engine.finish(running.container_id, 1)
    assert (await running.wait()).exit_code == 9


async def test_outage_fails_open_and_new_calls_and_spares_containers() -> None:
    lab, engine = lab_of()
    running = await lab.start(image="sleep")
    calls = [asyncio.ensure_future(running.wait()), asyncio.ensure_future(read_all(running))]
    await asyncio.sleep(0)
    engine.go_down()
    for call in calls:
        with pytest.raises(EngineUnavailableError):
            await call
    with pytest.raises(EngineUnavailableError):
        await lab.driver.info()
    with pytest.raises(EngineUnavailableError):
        await lab.driver.list_owned()
    engine.come_back()
    [owned] = await lab.driver.list_owned()
    assert owned.is_running
    adopted = await lab.driver.adopt(owned.container_id)
    await adopted.stop(1)
    assert (await adopted.wait()).exit_code == 143


async def test_lost_reply_leaves_a_running_container() -> None:
    lab, _ = lab_of(Script(otherwise=Act(reply_lost=True, until_stopped=True), plays={}))
    with pytest.raises(EngineUnavailableError):
        await lab.start(image="abaco_test")
    [owned] = await lab.driver.list_owned()
    assert owned.is_running


async def test_outage_during_a_slow_start_starts_nothing() -> None:
    lab, engine = lab_of(Script(otherwise=Act(start_delay_s=0.1), plays={}))
    starting = asyncio.ensure_future(lab.start(image="abaco_test"))
    await asyncio.sleep(0.05)
    engine.go_down()
    with pytest.raises(EngineUnavailableError):
        await starting
    assert engine.containers == {}


async def test_failed_start_leaves_nothing() -> None:
    lab, engine = lab_of()
    with pytest.raises(StartFailedError, match="exec format error"):
        await lab.start(image="nostart")
    assert engine.containers == {}


async def test_missing_and_slow_pulls() -> None:
    lab, engine = lab_of(Script(pull_delay_s=0.2))
    for name in ("missing", "host/me/missing_too:1"):
        with pytest.raises(ImageMissingError, match=name):
            await lab.driver.pull_image(name, timeout_s=1, may_keep=True)
    with pytest.raises(EngineTimeoutError):
        await lab.driver.pull_image("new", timeout_s=0.05, may_keep=True)
    assert await lab.driver.find_image("new") is None
    lines: list[str] = []
    await lab.driver.pull_image("new", timeout_s=1, may_keep=True, progress=lines.append)
    assert lines == ["pulling new"]
    assert "new" in engine.images


async def test_image_that_vanished_cannot_be_run() -> None:
    lab, engine = lab_of()
    spec = await lab.spec("abaco_test")
    engine.images.clear()
    slot = await lab.driver.prepare(spec)
    with pytest.raises(ImageMissingError):
        await lab.driver.dispatch(slot, lab.context())


async def test_calls_are_remembered_in_order() -> None:
    lab, engine = lab_of()
    running = await lab.start(image="sleep")
    await running.stop(1)
    await lab.driver.remove(running.container_id)
    assert [name for name, _ in engine.calls] == [
        "find_image",
        "prepare",
        "dispatch",
        "stop",
        "remove",
    ]
    assert engine.calls[0] == ("find_image", "sleep")
    assert engine.of_execution("none") == []


async def test_two_drivers_share_an_engine_and_see_their_own() -> None:
    engine = ScriptedEngine()
    engine.images.add("sleep")
    mine, yours = ScriptedDriver(engine, "mine"), ScriptedDriver(engine, "yours")
    running = await Lab(mine).start(image="sleep")
    assert len(await mine.list_owned()) == 1
    assert await yours.list_owned() == []
    again = ScriptedDriver(engine, "mine")
    assert (await again.adopt(running.container_id)).started_at == running.started_at


async def test_waiting_for_a_removed_container_fails() -> None:
    lab, engine = lab_of()
    running = await lab.start(image="sleep")
    waiting = asyncio.ensure_future(running.wait())
    await asyncio.sleep(0)
    del engine.containers[running.container_id]
    engine.announce()
    with pytest.raises(ContainerMissingError):
        await waiting


async def test_opened_by_settings() -> None:
    async with open_driver(settings(driver="scripted"), "mine") as opened:
        assert (await opened.driver.info()).driver == "scripted"
        assert opened.agents == {}
