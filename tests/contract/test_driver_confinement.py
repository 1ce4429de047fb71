"""How real containers are kept apart from their host, by what the kernel tells inside of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from abaco.errors import StartFailedError
from abaco.ports.driver import Limits
from backends.drivers.host import Level
from backends.drivers.select import open_driver
from tests.support.drivers import Lab, settings
from tests.support.engines import Engine

#: bits of /proc/<pid>/status. Source: linux/capability.h
BITS = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7,
    "NET_BIND_SERVICE": 10,
}  # fmt: skip


@pytest.fixture
async def lab(engine: Engine) -> AsyncIterator[Lab]:
    driver = engine.driver(settings(), "mine")
    yield Lab(driver)
    await driver.close()


async def status(lab: Lab, **fields: object) -> dict[str, str]:
    output, _ = await lab.run("cat /proc/self/status", **fields)
    lines = output.decode().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


async def test_no_privileges_can_be_gained(lab: Lab) -> None:
    found = await status(lab)
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2", "a filter"


async def test_the_capabilities_are_the_configured_ones_and_no_others(lab: Lab) -> None:
    found = await status(lab)
    expected = sum(1 << bit for bit in BITS.values())
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(found[kind], 16) == expected, kind
    assert int(found["CapAmb"], 16) == 0


async def test_other_capabilities_and_none_at_all(engine: Engine) -> None:
    for capabilities, expected in ((("KILL", "CHOWN"), 1 << 5 | 1), ((), 0)):
        driver = engine.driver(settings(capabilities=capabilities), "mine")
        found = await status(Lab(driver))
        assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == expected
        await driver.close()


async def test_a_user_of_the_image_has_none(lab: Lab) -> None:
    found = await status(lab, user="1234:5678")
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == 0


async def test_a_root_file_system_that_can_be_written(lab: Lab) -> None:
    output, _ = await lab.run("echo x > /new && echo x > /tmp/new && cat /new /tmp/new")
    assert output == b"x\nx\n"


async def test_a_root_file_system_that_cannot(lab: Lab) -> None:
    script = (
        "for place in / /etc /bin /var; do echo x > $place/new || echo refused; done 2>/dev/null;"
        "echo x > /tmp/new && cat /tmp/new; cat /tmp/new > /dev/shm/new && cat /dev/shm/new;"
        "chmod 755 /tmp/new; grep ' /tmp ' /proc/mounts"
    )
    output, _ = await lab.run(script, read_only_rootfs=True)
    lines = output.decode().splitlines()
    assert lines[:-1] == ["refused"] * 4 + ["x", "x"]
    assert {"nosuid", "nodev"} <= set(lines[-1].split()[3].split(","))


async def test_the_memory_under_tmp_is_bounded(engine: Engine) -> None:
    driver = engine.driver(settings(tmp_size="2m", shm_size="3m"), "mine")
    script = (
        "for place in tmp dev/shm; do dd if=/dev/zero of=/$place/x bs=4096 count=10000 2>&1 |"
        " grep -c 'No space'; wc -c < /$place/x; done"
    )
    output, _ = await Lab(driver).run(script, read_only_rootfs=True)
    assert output.split() == [b"1", b"2097152", b"1", b"3145728"]
    await driver.close()


async def test_network_none_wins_over_the_drivers_own(engine: Engine) -> None:
    driver = engine.driver(settings(network="host"), "mine")
    lab = Lab(driver)
    output, _ = await lab.run("cat /proc/net/dev", network="none")
    names = [line.split(b":")[0].strip() for line in output.splitlines()[2:]]
    assert b"lo" in names
    assert not [name for name in names if name.startswith((b"eth", b"veth", b"en"))]
    await driver.close()


async def test_no_core_is_ever_written(lab: Lab) -> None:
    output, _ = await lab.run("ulimit -c; ulimit -Hc; ulimit -c unlimited 2>/dev/null || echo no")
    assert output.split() == [b"0", b"0", b"no"]


async def test_memory_has_no_swap_on_top(lab: Lab) -> None:
    script = (
        "cd /sys/fs/cgroup; cat memory/memory.memsw.limit_in_bytes 2>/dev/null ||"
        " cat memory.swap.max 2>/dev/null || echo none"
    )
    output, _ = await lab.run(script, limits=Limits(memory_bytes=64 * 1024**2))
    # version 1 counts both together, version 2 swap alone; without swap there is no such file
    assert output.strip() in {b"67108864", b"0", b"none"}


async def test_more_cpus_than_there_are_is_a_limit_that_is_never_met(lab: Lab) -> None:
    for nano_cpus in (10_000_000, 64_000_000_000, 2**63 - 1):
        _, end = await lab.run("exit 7", limits=Limits(nano_cpus=nano_cpus))
        assert end.exit_code == 7


async def test_the_kernel_ends_containers_first(engine: Engine) -> None:
    driver = engine.driver(settings(oom_score=321), "mine")
    output, _ = await Lab(driver).run("cat /proc/self/oom_score_adj")
    assert output == b"321\n"
    await driver.close()


async def test_a_limit_of_the_root_file_system_holds_or_no_container_starts(
    engine: Engine,
) -> None:
    driver = engine.driver(settings(rootfs_size="8m"), "mine")
    script = "dd if=/dev/zero of=/x bs=1048576 count=32 2>&1; wc -c < /x"
    output, refusal = await outcome(Lab(driver), script)
    if refusal:
        assert "rootfs_size needs another file system" in refusal
        assert await driver.list_owned() == []
    else:
        assert int(output.split()[-1]) <= 8 * 1024**2
    await driver.close()


async def test_a_privileged_container_is_bounded_all_the_same(engine: Engine) -> None:
    driver = engine.driver(settings(), "mine")
    script = "ulimit -c; echo x > /new || echo refused; cat /proc/self/oom_score_adj"
    output, refusal = await outcome(Lab(driver), script, privileged=True, read_only_rootfs=True)
    if refusal:  # what the engine does not have itself it cannot give
        assert "lacks capabilities" in refusal
    else:
        assert output.split()[0] == b"0"
        assert b"refused" in output
        assert output.split()[-1] == b"500"
    await driver.close()


async def outcome(lab: Lab, script: str, **fields: object) -> tuple[bytes, str]:
    """Return the output, or why the container could not be started."""
    try:
        return (await lab.run(script, **fields))[0], ""
    except StartFailedError as error:
        return b"", error.message


async def test_what_doctor_says_is_what_happens(engine: Engine) -> None:
    """An engine of which nothing bad is said holds to every limit; the tests above show it."""
    own = settings(
        rootfs_size="8m", **{"driver": engine.kind, f"{engine.kind}_socket": engine.endpoint}
    )
    async with open_driver(own, "mine") as opened:
        found = await opened.examine()
        levels = {item.level for item in found if "rootfs_size" in item.what}
        _, refusal = await outcome(Lab(opened.driver), "true")
    assert levels == ({Level.ERROR} if refusal else {Level.OK})
    assert not [
        item for item in found if "rootfs_size" not in item.what and "swap" not in item.what
    ]
