"""What real containers report to have used, under loads of a known size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager

import pytest

from abaco.config import Settings
from abaco.ports.driver import Exit, Limits
from backends.drivers.engine import EngineDriver
from tests.support.drivers import Lab, first_words, read_all, settings
from tests.support.engines import Engine, EnginePool
from tests.support.loads import BODY_BYTES, groups_below, serving_bytes, to_gateway

MS = 1_000_000
MIB = 1024**2

#: uses up 30 steps of 10 ms on the clock the kernel counts with, whatever else the host does
BURN = """
used() { read -r line </proc/$$/stat; set -- ${line##*) }; echo $((${12} + ${13})); }
while [ $(used) -lt 30 ]; do i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done; done
"""


@pytest.fixture
def groups() -> str:
    """Where the groups of this test's containers are made."""
    return settings().engine.cgroup_parent


@asynccontextmanager
async def a_driver(engine: Engine, found: Settings | None = None) -> AsyncIterator[EngineDriver]:
    """A driver that leaves nothing behind when the test went well."""
    driver = engine.driver(found or settings(), "mine")
    try:
        yield driver
    finally:
        await driver.close()
    async with a_closing(engine.driver(found or settings(), "mine")) as sweeper:
        for owned in await sweeper.list_owned():
            await sweeper.remove(owned.container_id)
    assert groups_below(settings().engine.cgroup_parent) == []


@asynccontextmanager
async def a_closing(driver: EngineDriver) -> AsyncIterator[EngineDriver]:
    """Close it in any case, and do nothing else."""
    try:
        yield driver
    finally:
        await driver.close()


@pytest.fixture
async def lab(engine: Engine) -> AsyncIterator[Lab]:
    async with a_driver(engine) as driver:
        yield Lab(driver)


@pytest.fixture
async def networked(engine: Engine) -> AsyncIterator[Lab]:
    async with a_driver(engine, settings(network="bridge")) as driver:
        yield Lab(driver)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving_bytes() as port:
        yield port


async def test_cpu_is_what_the_program_burned(lab: Lab) -> None:
    _, idle = await lab.run("sleep 0.4")
    _, busy = await lab.run(BURN)
    # the engine's runtime works in the group too, before the program starts
    assert 0 < idle.cpu_ns < 150 * MS
    assert 250 * MS < busy.cpu_ns - idle.cpu_ns + 30 * MS < 450 * MS


async def test_shortest_run_has_used_something(lab: Lab) -> None:
    for script in ("true", "sleep 0.005"):
        _, end = await lab.run(script)
        assert 0 < end.cpu_ns < 500 * MS
        assert end.memory_peak_bytes > 100_000
        assert (end.finished_at - end.started_at).total_seconds() < 10


async def test_memory_peak_is_the_most_there_was_at_one_time(lab: Lab) -> None:
    _, small = await lab.run("true")
    # tail keeps the end of a line that never ends
    _, large = await lab.run("head -c 50000000 /dev/zero | tail -n 1 | wc -c")
    assert small.memory_peak_bytes < 20_000_000
    assert 50_000_000 < large.memory_peak_bytes < 160_000_000


async def test_what_children_burn_counts(lab: Lab) -> None:
    script = 'sh -c "$BURN" & sh -c "$BURN" & wait'
    _, end = await lab.run(script, environment={"BURN": BURN})
    assert 550 * MS < end.cpu_ns < 900 * MS


async def test_bytes_over_the_network(networked: Lab, port: int) -> None:
    _, end = await networked.run(to_gateway(port))
    assert end.exit_code == 0
    # the body, its packets' headers, and what else is said on a network
    assert BODY_BYTES < end.io_bytes < BODY_BYTES * 1.1
    assert end.io_bytes == end.io_detail.net_rx
    assert 0 < end.io_detail.net_tx < BODY_BYTES / 10


async def test_bytes_sent_are_not_bytes_received(networked: Lab, port: int) -> None:
    send = to_gateway(port, "-O /dev/null --post-file=/tmp/body")
    _, end = await networked.run(f"head -c 500000 /dev/zero | tr '\\0' x >/tmp/body; {send}")
    assert end.exit_code == 0
    assert 500_000 < end.io_detail.net_tx < 600_000
    assert end.io_bytes < 100_000


async def test_loopback_is_no_network(lab: Lab) -> None:
    _, end = await lab.run("(echo hello | nc -l -p 80 & sleep 0.2; nc 127.0.0.1 80 </dev/null)")
    assert (end.io_bytes, end.io_detail.net_tx) == (0, 0)


async def test_the_hosts_network_is_not_the_containers(engine: Engine, port: int) -> None:
    async with a_driver(engine, settings(network="host")) as driver:
        _, end = await Lab(driver).run(f"wget -q -O /dev/null http://127.0.0.1:{port}/; sleep 0.1")
    assert end.exit_code == 0
    assert (end.io_bytes, end.io_detail.net_tx) == (0, 0)
    assert end.cpu_ns > 0


async def test_bytes_written_to_a_device_are_at_least_those_synced(lab: Lab) -> None:
    _, end = await lab.run("dd if=/dev/zero of=/file bs=1M count=8 conv=fsync; sleep 0.1")
    # kernels differ in whether they count (see abaco doctor); what is counted is right
    assert end.io_detail.blk_write == 0 or 8 * MIB <= end.io_detail.blk_write < 16 * MIB


async def test_a_run_that_was_killed_has_used_what_it_had(lab: Lab) -> None:
    running = await lab.start(f"{BURN}echo burned; sleep 60")
    async with aclosing(running.output()) as output:  # type: ignore[type-var]
        assert await anext(output) == b"burned\n"
    await running.stop(0)
    end = await running.wait()
    assert end.exit_code in (137, 143)
    assert 250 * MS < end.cpu_ns < 600 * MS


async def test_a_run_out_of_memory_has_used_its_limit(lab: Lab) -> None:
    limits = Limits(memory_bytes=40 * MIB)
    _, end = await lab.run("tail /dev/zero", limits=limits)
    assert end.exit_code == 137
    assert end.oom_killed
    assert end.state["OOMKilled"] is True
    assert 30 * MIB < end.memory_peak_bytes <= 41 * MIB


async def test_asking_again_gives_the_same(lab: Lab) -> None:
    running = await lab.start("true")
    first, second = await asyncio.gather(running.wait(), running.wait())
    assert first == second == await running.wait()
    third = await (await lab.driver.adopt(running.container_id)).wait()
    assert third == first


async def adopted(engine: Engine, script: str, *, is_over: bool) -> Exit:
    """Run under one driver, and take over with another; while it runs, or when it has ended."""
    async with a_closing(engine.driver(settings(), "mine")) as first:
        running = await Lab(first).start(script)
    async with asyncio.timeout(60):
        while is_over and engine.inspect(running.container_id)["State"]["Status"] != "exited":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    async with a_driver(engine) as second:
        again = await second.adopt(running.container_id)
        if not is_over:
            await first_words(again)
            await again.stop(0)
        end = await again.wait()
        assert await read_all(again) == b"burned\n"
    return end


async def test_adopted_run_is_counted_from_its_start(engine: Engine) -> None:
    end = await adopted(engine, f"{BURN}echo burned; sleep 600", is_over=False)
    assert 250 * MS < end.cpu_ns < 600 * MS
    assert end.memory_peak_bytes > 100_000


async def test_run_that_ended_while_nobody_looked(engine: Engine) -> None:
    end = await adopted(engine, f"{BURN}echo burned", is_over=True)
    if engine.kind == "docker":
        # the group above the container's own is still there
        assert 250 * MS < end.cpu_ns < 600 * MS
        assert end.memory_peak_bytes > 100_000
    else:
        assert (end.cpu_ns, end.memory_peak_bytes) == (0, 0), "unknown, and not wrong"


def names() -> set[str]:
    """Names of the groups there are above containers' own."""
    found = groups_below(settings().engine.cgroup_parent)
    return {place.name for place in found if place.name.startswith("abaco_")}


@pytest.mark.docker
async def test_groups_of_containers_that_are_gone_are_swept(engine_pool: EnginePool) -> None:
    engine = engine_pool.get("docker")
    async with a_closing(engine.driver(settings(), "mine")) as crashed:
        lab = Lab(crashed)
        gone, kept = await lab.start("sleep 60"), await lab.start("sleep 60")
        assert len(names()) == 2
        # a person removes it by hand, or the server dies between its two removals
        path = f"{engine.base}/containers/{gone.container_id}"
        engine.request("DELETE", path, query={"force": "true"})
    async with a_driver(engine) as driver:
        (owned,) = await driver.list_owned()
        assert owned.container_id == kept.container_id
        assert names() == {f"abaco_{owned.execution_id}_{owned.attempt}"}


async def test_removing_a_container_removes_its_group(lab: Lab, engine: Engine) -> None:
    running = await lab.start("sleep 60")
    assert len(names()) == (1 if engine.kind == "docker" else 0)
    await lab.driver.remove(running.container_id)
    # the accountant works in order: when this is answered the group is gone
    assert await lab.driver.list_owned() == []
    assert names() == set()


async def test_place_of_the_groups_can_be_left_to_the_engine(engine: Engine) -> None:
    async with a_driver(engine, settings(cgroup_parent="")) as driver:
        running = await Lab(driver).start(f"{BURN}sleep 0.3")
        assert names() == set()
        end = await running.wait()
    # by whoever heard of the end first; 0, which is unknown, when that was too late
    assert end.cpu_ns == 0 or 250 * MS < end.cpu_ns < 600 * MS


async def test_sums_of_the_older_abaco(engine: Engine) -> None:
    found = settings()
    runtime = found.runtime.model_copy(update={"stats_mode": "legacy"})
    async with a_driver(engine, found.model_copy(update={"runtime": runtime})) as driver:
        began = time.monotonic()
        _, short = await Lab(driver).run("true")
        short_s = time.monotonic() - began
        _, long = await Lab(driver).run(f"{BURN}sleep 3.2")
        long_s = time.monotonic() - began - short_s
    assert short.cpu_ns == 0 or short_s > 1, "over before the first sample"
    # a sample a second, of a number that has stopped growing
    assert 2 * 250 * MS < long.cpu_ns < (long_s + 1) * 600 * MS
    assert long.memory_peak_bytes > 100_000
