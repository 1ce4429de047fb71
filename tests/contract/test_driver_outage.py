"""Real engines that go away in mid-call, and come back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable

import pytest

from abaco.errors import (
    ContainerMissingError,
    EngineTimeoutError,
    EngineUnavailableError,
    StartFailedError,
)
from backends.drivers.confinement import Confinement
from backends.drivers.containers import Plan
from tests.support.drivers import Lab, first_words, read_all, settings
from tests.support.engines import Engine, running_engine

#: seconds within which everybody is to know
PROMPT_S = 15.0


@pytest.fixture
async def lab(engine: Engine) -> AsyncIterator[Lab]:
    driver = engine.driver(settings(), "mine")
    yield Lab(driver)
    await driver.close()


async def outcome(call: Awaitable[object]) -> object:
    """Return what a call raised or returned, in bounded time."""
    async with asyncio.timeout(PROMPT_S):
        return (await asyncio.gather(call, return_exceptions=True))[0]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_open_calls_learn_of_it_at_once(
    lab: Lab, engine: Engine, how: signal.Signals
) -> None:
    running = await lab.start("echo said; sleep 60")
    waiting = asyncio.ensure_future(running.wait())
    reading = asyncio.ensure_future(read_all(running))
    deaf = await lab.start("trap '' TERM; echo deaf; sleep 60")
    await first_words(deaf)
    stopping = asyncio.ensure_future(deaf.stop(30))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(engine.stop, how)
    for call in (waiting, reading, stopping):
        assert isinstance(await outcome(call), EngineUnavailableError), call


async def test_every_new_call_says_so(lab: Lab, engine: Engine) -> None:
    running = await lab.start("sleep 60")
    spec = await lab.spec()
    slot = await lab.driver.prepare(spec)
    await asyncio.to_thread(engine.kill)
    calls = [
        lab.driver.info(),
        lab.driver.pull_image("abaco_test_echo", timeout_s=10, may_keep=True),
        lab.driver.find_image("abaco_test_echo"),
        lab.driver.list_images(),
        lab.driver.remove_image(spec.image.id, []),
        lab.driver.dispatch(slot, lab.context()),
        lab.driver.adopt(running.container_id),
        lab.driver.list_owned(),
        lab.driver.remove(running.container_id),
        running.wait(),
        running.stop(1),
        read_all(running),
    ]
    for call in calls:
        assert isinstance(await outcome(call), EngineUnavailableError), call


async def test_dispatch_in_flight_learns_of_it(lab: Lab, engine: Engine) -> None:
    slots = [await lab.driver.prepare(await lab.spec()) for _ in range(6)]
    calls = [
        asyncio.ensure_future(lab.driver.dispatch(slot, lab.context("sleep 60"))) for slot in slots
    ]
    await asyncio.sleep(0.06)
    await asyncio.to_thread(engine.kill)
    outcomes = [await outcome(call) for call in calls]
    assert any(isinstance(item, EngineUnavailableError) for item in outcomes)
    await asyncio.to_thread(engine.start)
    # whatever came of them can be found and dealt with
    for item in await lab.driver.list_owned():
        try:
            await lab.driver.adopt(item.container_id)
        except StartFailedError:
            assert not item.is_running
        await lab.driver.remove(item.container_id)
    assert await lab.driver.list_owned() == []


async def test_containers_survive_and_are_adopted(lab: Lab, engine: Engine) -> None:
    # it goes on until it is asked to end
    running = await lab.start(
        "trap 'echo after; exit 7' TERM; echo before; while :; do sleep 0.1; done"
    )
    await first_words(running)
    await asyncio.to_thread(engine.kill)
    await asyncio.to_thread(engine.start)
    owned = await lab.driver.list_owned()
    assert [(item.container_id, item.is_running) for item in owned] == [
        (running.container_id, True)
    ]
    adopted = await lab.driver.adopt(running.container_id)
    reading = asyncio.ensure_future(read_all(adopted))
    await adopted.stop(30)
    output, end = await asyncio.gather(reading, adopted.wait())
    assert output == b"before\nafter\n"
    assert end.exit_code == 7
    # the old handle works again as well
    assert (await running.wait()).exit_code == 7
    assert await read_all(running, 7) == b"after\n"


async def test_container_that_ended_meanwhile_tells_how(lab: Lab, engine: Engine) -> None:
    running = await lab.start("sleep 1; echo last words; exit 5")
    await asyncio.to_thread(engine.kill)
    await asyncio.sleep(2)
    await asyncio.to_thread(engine.start)
    adopted = await lab.driver.adopt(running.container_id)
    end = await adopted.wait()
    assert end.exit_code == 5
    output = await read_all(adopted)
    # Podman's monitors write the log; Docker does so itself, and misses what is said meanwhile
    assert output == b"last words\n" or (engine.kind == "docker" and output == b"")


async def test_adopted_container_can_be_stopped(lab: Lab, engine: Engine) -> None:
    running = await lab.start("sleep 60")
    await asyncio.to_thread(engine.kill)
    await asyncio.to_thread(engine.start)
    adopted = await lab.driver.adopt(running.container_id)
    await adopted.stop(2)
    assert (await adopted.wait()).exit_code == 143


async def test_created_but_never_started_cannot_be_adopted(lab: Lab, engine: Engine) -> None:
    spec, context = await lab.spec(), lab.context("true")
    labels = {"abaco.instance": "mine", "abaco.execution": "e", "abaco.attempt": "1"}
    plan = Plan(
        name=f"abaco_{context.execution.id}_1",
        spec=spec,
        environment=context.environment,
        binds=(),
        labels=labels,
        network="none",
        confinement=Confinement.of(settings().engine),
        log_bytes=10_000_000,
    )
    driver = engine.driver(settings(), "mine")
    container_id = await driver.containers.create(plan)
    [owned] = await lab.driver.list_owned()
    assert owned.container_id == container_id
    assert not owned.is_running
    with pytest.raises(StartFailedError, match="never started"):
        await lab.driver.adopt(container_id)
    # the next try of the same attempt takes its place
    running = await lab.driver.dispatch(await lab.driver.prepare(spec), context)
    assert running.container_id != container_id
    assert (await running.wait()).exit_code == 0
    with pytest.raises(ContainerMissingError):
        await lab.driver.adopt(container_id)
    await driver.close()


async def test_kept_connections_survive_a_restart(lab: Lab, engine: Engine) -> None:
    await asyncio.gather(*(lab.driver.info() for _ in range(10)))
    await asyncio.to_thread(engine.kill)
    await asyncio.to_thread(engine.start)
    await asyncio.gather(*(lab.driver.info() for _ in range(10)))
    _, end = await lab.run("exit 4")
    assert end.exit_code == 4


async def test_engine_that_hangs_times_out(engine: Engine) -> None:
    driver = engine.driver(settings(call_timeout_s=1), "mine")
    lab = Lab(driver)
    spec = await lab.spec()
    assert engine.process is not None
    os.kill(engine.process.pid, signal.SIGSTOP)
    try:
        for call in (driver.info(), driver.find_image(spec.image.id), driver.list_owned()):
            assert isinstance(await outcome(call), EngineTimeoutError)
    finally:
        os.kill(engine.process.pid, signal.SIGCONT)
    await driver.close()
    patient = engine.driver(settings(), "mine")
    assert (await patient.info()).version
    await patient.close()


@pytest.mark.docker
async def test_docker_that_takes_its_containers_along() -> None:
    """Without live-restore a stop of the engine ends the containers, and that is their end."""
    with running_engine("docker", live_restore=False) as engine:
        driver = engine.driver(settings(), "mine")
        lab = Lab(driver)
        running = await lab.start("echo said; sleep 60")
        waiting = asyncio.ensure_future(running.wait())
        await first_words(running)
        await asyncio.to_thread(engine.stop)
        await outcome(waiting)
        await asyncio.to_thread(engine.start)
        adopted = await driver.adopt(running.container_id)
        async with asyncio.timeout(PROMPT_S):
            end = await adopted.wait()
        assert end.exit_code in (137, 143)
        assert await read_all(adopted) == b"said\n"
        await driver.close()
