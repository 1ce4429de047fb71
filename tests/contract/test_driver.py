"""The driver's contract, over every real engine and the scripted one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from abaco.errors import ContainerMissingError, ImageMissingError, StartFailedError
from abaco.ports.driver import Limits
from backends.drivers.scripted import Act, Script, ScriptedDriver, ScriptedEngine, print_message
from tests.support.drivers import Lab, first_words, read_all, settings
from tests.support.engines import ENGINE_PARAMS, EnginePool
from tests.support.images import ACTORS

#: what the actor images do, for the fake engine
SCRIPT = Script(
    plays={
        "abaco_test_echo": print_message,
        "abaco_test_sleeper": Act(output=[b"sleeping\n"], until_stopped=True),
        "abaco_test_stubborn": Act(output=[b"sleeping\n"], until_stopped=True, ignores_term=True),
        "abaco_test_fail": Act(output=[b"failing\n"], exit_code=3),
        "abaco_test_oom": Act(output=[b"eating\n"], exit_code=137, oom_killed=True),
        "abaco_test_baduser": Act(start_error="unable to find user nobody-here"),
    }
)

STATE_NAMES = {
    "Status",
    "Running",
    "Paused",
    "Restarting",
    "OOMKilled",
    "Dead",
    "Pid",
    "ExitCode",
    "Error",
    "StartedAt",
    "FinishedAt",
}


@pytest.fixture(params=[*ENGINE_PARAMS, "scripted"])
async def lab(request: pytest.FixtureRequest, engine_pool: EnginePool) -> AsyncIterator[Lab]:
    if request.param == "scripted":
        fake = ScriptedEngine(SCRIPT)
        fake.images.update(ACTORS)
        yield Lab(ScriptedDriver(fake, "mine"))
        return
    with engine_pool.lend(request.param, request.session) as engine:
        driver = engine.driver(settings(), "mine")
        yield Lab(driver)
        await driver.close()


async def test_info_names_engine_and_version(lab: Lab) -> None:
    info = await lab.driver.info()
    assert info.driver in ("docker", "podman", "scripted")
    assert info.version
    assert "://" in info.endpoint


async def test_message_in_output_out(lab: Lab) -> None:
    before = datetime.now(UTC)
    running = await lab.start("hello", "abaco_test_echo", environment={"COLOUR": "blue"})
    output, end = await asyncio.gather(read_all(running), running.wait())
    assert output.startswith(b"Contents of MSG: hello\nEnvironment:\n")
    assert b"\nCOLOUR=blue\n" in output
    assert end.exit_code == 0
    assert not end.oom_killed
    assert before - timedelta(seconds=1) <= end.started_at <= end.finished_at
    assert end.finished_at <= datetime.now(UTC) + timedelta(seconds=1)
    assert running.started_at.utcoffset() == timedelta(0)


async def test_end_is_told_in_dockers_words(lab: Lab) -> None:
    _, end = await lab.run(image="abaco_test_fail")
    assert set(end.state) == STATE_NAMES
    assert end.exit_code == end.state["ExitCode"] == 3
    assert end.state["Status"] == "exited"
    assert end.state["Running"] is False
    assert end.state["OOMKilled"] is False
    for name, moment in (("StartedAt", end.started_at), ("FinishedAt", end.finished_at)):
        text = str(end.state[name])
        assert len(text) == len("2026-01-01T00:00:00.000Z")
        assert abs(datetime.fromisoformat(text) - moment) < timedelta(milliseconds=1)


async def test_every_wait_gives_the_same_end(lab: Lab) -> None:
    running = await lab.start(image="abaco_test_fail")
    ends = await asyncio.gather(*(running.wait() for _ in range(5)))
    assert {end.exit_code for end in ends} == {3}
    assert await running.wait() == ends[0]


async def test_cancelled_wait_does_not_disturb_others(lab: Lab) -> None:
    running = await lab.start(image="abaco_test_sleeper")
    first = asyncio.ensure_future(running.wait())
    second = asyncio.ensure_future(running.wait())
    await first_words(running)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await running.stop(30)
    assert (await second).exit_code == 143


async def test_memory_that_runs_out_is_told(lab: Lab) -> None:
    limits = Limits(memory_bytes=24 * 1024 * 1024)
    output, end = await lab.run(image="abaco_test_oom", limits=limits)
    assert output == b"eating\n"
    assert end.exit_code == 137
    assert end.oom_killed
    assert end.state["OOMKilled"] is True


async def test_stop_asks_first(lab: Lab) -> None:
    running = await lab.start(image="abaco_test_sleeper")
    await first_words(running)  # it can be asked
    async with asyncio.timeout(30):
        await running.stop(60)
        end = await running.wait()
    assert end.exit_code == 143
    assert await read_all(running) == b"sleeping\n"


async def test_stop_kills_after_the_grace(lab: Lab) -> None:
    running = await lab.start(image="abaco_test_stubborn")
    await first_words(running)  # it is deaf by now
    began = asyncio.get_running_loop().time()
    await running.stop(1)
    took = asyncio.get_running_loop().time() - began
    assert (await running.wait()).exit_code == 137
    assert 0.9 <= took < 30


async def test_stop_without_grace_kills_at_once(lab: Lab) -> None:
    running = await lab.start(image="abaco_test_stubborn")
    await first_words(running)  # it is deaf by now
    async with asyncio.timeout(30):
        await running.stop(0)
    assert (await running.wait()).exit_code == 137


async def test_stop_of_an_ended_container_is_no_error(lab: Lab) -> None:
    running = await lab.start(image="abaco_test_fail")
    end = await running.wait()
    await running.stop(1)
    await running.stop(1)
    assert await running.wait() == end


async def test_owned_containers_are_listed_with_whose_they_are(lab: Lab) -> None:
    assert await lab.driver.list_owned() == []
    sleeping = await lab.start(image="abaco_test_sleeper")
    ended = await lab.start(image="abaco_test_fail")
    await ended.wait()
    owned = {item.container_id: item for item in await lab.driver.list_owned()}
    assert set(owned) == {sleeping.container_id, ended.container_id}
    assert owned[sleeping.container_id].is_running
    found = owned[ended.container_id]
    assert not found.is_running
    assert (found.tenant, found.actor_id, found.worker_id, found.attempt) == (
        "DEV",
        "actor1",
        "worker1",
        1,
    )
    assert found.execution_id


async def test_remove_kills_and_is_idempotent(lab: Lab) -> None:
    running = await lab.start(image="abaco_test_sleeper")
    await lab.driver.remove(running.container_id)
    assert await lab.driver.list_owned() == []
    await lab.driver.remove(running.container_id)
    await lab.driver.remove("0" * 64)


async def test_wait_for_a_removed_container_fails(lab: Lab) -> None:
    running = await lab.start(image="abaco_test_sleeper")
    waiting = asyncio.ensure_future(running.wait())
    await asyncio.sleep(0.2)
    await lab.driver.remove(running.container_id)
    async with asyncio.timeout(10):
        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
    # an engine may get its word out before the container is gone
    assert isinstance(outcome, ContainerMissingError) or outcome.exit_code == 137  # type: ignore[union-attr]
    with pytest.raises(ContainerMissingError):
        await lab.driver.adopt(running.container_id)


async def test_adopted_container_is_the_same(lab: Lab) -> None:
    running = await lab.start(image="abaco_test_sleeper")
    await first_words(running)
    adopted = await lab.driver.adopt(running.container_id)
    assert adopted.container_id == running.container_id
    assert abs(adopted.started_at - running.started_at) < timedelta(seconds=1)
    await adopted.stop(30)
    assert (await adopted.wait()).exit_code == (await running.wait()).exit_code == 143
    again = await lab.driver.adopt(running.container_id)
    assert (await again.wait()).exit_code == 143
    assert await read_all(again) == b"sleeping\n"
    assert await read_all(again, offset=6) == b"ng\n"


async def test_adopting_nothing_fails(lab: Lab) -> None:
    with pytest.raises(ContainerMissingError):
        await lab.driver.adopt("0" * 64)


async def test_failed_start_leaves_nothing(lab: Lab) -> None:
    with pytest.raises(StartFailedError, match="user"):
        await lab.start(image="abaco_test_baduser")
    assert await lab.driver.list_owned() == []


async def test_missing_image_says_what_was_tried(lab: Lab) -> None:
    assert await lab.driver.find_image("missing_here") is None
    with pytest.raises(ImageMissingError, match="missing_here"):
        await lab.driver.pull_image("127.0.0.1:9/missing_here", timeout_s=20, may_keep=True)


async def test_local_image_has_an_id_and_its_name(lab: Lab) -> None:
    image = await lab.driver.find_image("abaco_test_echo")
    other = await lab.driver.find_image("abaco_test_fail")
    assert image is not None
    assert other is not None
    assert image.reference == "abaco_test_echo"
    assert image.id.startswith("sha256:")
    assert other.id != image.id


async def test_eight_at_once(lab: Lab) -> None:
    runs = await asyncio.gather(
        *(lab.run(f"message {number}", "abaco_test_echo") for number in range(8))
    )
    for number, (output, end) in enumerate(runs):
        assert output.startswith(b"Contents of MSG: message %d\n" % number)
        assert end.exit_code == 0
    assert len(await lab.driver.list_owned()) == 8


async def test_slots_are_used_once_and_may_be_given_back(lab: Lab) -> None:
    spec = await lab.spec("abaco_test_echo")
    first, second = await lab.driver.prepare(spec), await lab.driver.prepare(spec)
    assert first.id != second.id
    assert first.spec == spec
    await lab.driver.discard(first)
    await lab.driver.discard(first)
    assert await lab.driver.list_owned() == []
