"""What a real container is like: environment, limits, user, labels, hardening, exit codes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import pytest

from abaco.errors import ImageMissingError, StartFailedError
from abaco.ports.driver import Limits
from backends.drivers.host import look
from backends.drivers.labels import container_name
from tests.support.drivers import Lab, read_all, settings
from tests.support.engines import Engine
from tests.support.images import rootfs_tar, shell


@pytest.fixture
async def lab(engine: Engine) -> AsyncIterator[Lab]:
    driver = engine.driver(settings(), "mine")
    yield Lab(driver)
    await driver.close()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("no-such-command-here", 127),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
    ],
)
async def test_exit_code(lab: Lab, script: str, code: int) -> None:
    _, end = await lab.run(script)
    assert end.exit_code == end.state["ExitCode"] == code
    assert not end.oom_killed


async def test_program_that_is_not_in_the_image_ends_with_127(lab: Lab) -> None:
    output, end = await lab.run(image="abaco_test_notfound")
    assert end.exit_code == end.state["ExitCode"] == 127
    assert b"/no/such/program" in output or b"No such file" in output


async def test_image_without_a_command_cannot_be_prepared(lab: Lab) -> None:
    with pytest.raises(StartFailedError, match="does not say what to run"):
        await lab.start(image="abaco_test_nocommand")


async def test_image_that_vanished_is_missing(lab: Lab) -> None:
    spec = await lab.spec("abaco_test_echo")
    gone = replace(spec, image=replace(spec.image, id=f"sha256:{'0' * 64}"))
    with pytest.raises(ImageMissingError, match="abaco_test_echo"):
        await lab.driver.dispatch(await lab.driver.prepare(gone), lab.context())


async def test_image_that_vanishes_after_prepare_is_missing(lab: Lab, engine: Engine) -> None:
    engine.import_image("abaco_test_brief", rootfs_tar(), shell(f"echo {time.time_ns()}"))
    slot = await lab.driver.prepare(await lab.spec("abaco_test_brief"))
    engine.request("DELETE", f"{engine.base}/images/abaco_test_brief", query={"force": "true"})
    with pytest.raises(ImageMissingError, match="abaco_test_brief"):
        await lab.driver.dispatch(slot, lab.context())
    assert await lab.driver.list_owned() == []


async def test_odd_values_reach_the_environment_unchanged(lab: Lab) -> None:
    values = {
        "LINES": "one\ntwo\n\nthree\n",
        "QUOTES": """it's "quoted" `and` $HOME \\ back""",
        "EMPTY": "",
        "EQUALS": "a=b=c",
        "UMLAUT": "grüße \N{SNOWMAN} \N{GRINNING FACE}",
        "BLANKS": "  around  ",
        "STAR": "*",
    }
    script = "printf '[%s]' " + " ".join(f'"${name}"' for name in values)
    output, _ = await lab.run(script, environment=values)
    assert output.decode() == "".join(f"[{value}]" for value in values.values())


async def test_names_no_shell_would_take(lab: Lab) -> None:
    output, _ = await lab.run(image="abaco_test_echo", environment={"_abaco_Content-Type": "str"})
    assert b"\n_abaco_Content-Type=str\n" in output


async def test_values_of_a_hundred_kilobytes(lab: Lab) -> None:
    environment = {f"BIG{number}": "x" * 100_000 for number in range(3)}
    output, _ = await lab.run("echo ${#BIG0} ${#BIG1} ${#BIG2}", environment=environment)
    assert output == b"100000 100000 100000\n"


async def test_context_wins_over_the_images_environment(lab: Lab) -> None:
    output, _ = await lab.run(
        image="abaco_test_entrypoint", environment={"GREETING": "goodbye", "MSG": "x"}
    )
    assert output == b"one two in /tmp with goodbye\n"


async def test_images_entrypoint_workdir_and_environment(lab: Lab) -> None:
    output, _ = await lab.run(image="abaco_test_entrypoint")
    assert output == b"one two in /tmp with hello\n"


async def test_user_of_the_image_and_of_the_spec(lab: Lab) -> None:
    output, _ = await lab.run(image="abaco_test_user")
    assert output == b"1234\n5678\n"
    output, _ = await lab.run(image="abaco_test_user", user="4321:8765")
    assert output == b"4321\n8765\n"
    output, _ = await lab.run("id -u", user="99")
    assert output == b"99\n"


async def test_limits_are_enforced_by_the_kernel(lab: Lab) -> None:
    script = (
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null;"
        " cat cpu/cpu.cfs_quota_us 2>/dev/null || sed 's/ .*//' cpu.max;"
        " cat pids/pids.max pids.max 2>/dev/null"
    )
    limits = Limits(memory_bytes=64 * 1024 * 1024, nano_cpus=500_000_000, pids=33)
    output, _ = await lab.run(script, limits=limits)
    assert output.split() == [b"67108864", b"50000", b"33"]


async def test_too_many_processes_are_refused(lab: Lab) -> None:
    script = "for i in $(seq 60); do sleep 5 & done 2>&1 | head -1; echo still here"
    output, _ = await lab.run(script, limits=Limits(pids=20))
    assert b"fork" in output


async def test_no_limits_means_none(lab: Lab) -> None:
    script = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null"
    output, _ = await lab.run(script, limits=Limits(pids=None))
    assert output == b"max\n"


async def test_program_that_survives_a_child_out_of_memory(lab: Lab) -> None:
    limits = Limits(memory_bytes=24 * 1024 * 1024)
    output, end = await lab.run("tail /dev/zero; echo went on; exit 4", limits=limits)
    assert b"went on" in output
    assert end.exit_code == 4
    assert end.oom_killed


@pytest.mark.parametrize("round_", range(5))
async def test_enough_memory_is_not_out_of_memory(lab: Lab, round_: int) -> None:
    limits = Limits(memory_bytes=64 * 1024 * 1024)
    _, end = await lab.run(f"exit {round_}", limits=limits)
    assert end.exit_code == round_
    assert not end.oom_killed


async def test_ordinary_containers_are_hardened(lab: Lab) -> None:
    script = "grep -E 'NoNewPrivs|CapEff' /proc/self/status; ls /var/run 2>&1; echo pid $$"
    output, _ = await lab.run(script)
    status = dict(line.split(":\t") for line in output.decode().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    capabilities = int(status["CapEff"], 16)
    assert not capabilities >> 21 & 1, "CAP_SYS_ADMIN"
    assert not capabilities >> 12 & 1, "CAP_NET_ADMIN"
    assert b"docker.sock" not in output
    assert b"pid 1\n" not in output, "an init is process 1"


async def test_privileged_containers_may_drive_the_engine(lab: Lab, engine: Engine) -> None:
    script = "grep CapEff /proc/self/status; test -S /var/run/docker.sock && echo socket"
    if engine.kind == "docker" and not look().can_raise_limits:
        # what the engine does not have itself it cannot give
        with pytest.raises(StartFailedError, match="lacks capabilities"):
            await lab.run(script, privileged=True)
        assert await lab.driver.list_owned() == []
        return
    output, _ = await lab.run(script, privileged=True)
    assert b"socket" in output
    assert int(output.split()[1], 16) >> 12 & 1, "CAP_NET_ADMIN"


async def test_network_none_has_loopback_only(lab: Lab) -> None:
    output, _ = await lab.run("cat /proc/net/dev")
    names = [line.split(b":")[0].strip() for line in output.splitlines()[2:]]
    assert b"lo" in names
    assert not [name for name in names if name.startswith((b"eth", b"veth", b"en"))]


async def test_network_host_is_the_hosts(engine: Engine) -> None:
    driver = engine.driver(settings(network="host"), "mine")
    output, _ = await Lab(driver).run("cat /proc/net/dev")
    with open("/proc/net/dev", "rb") as file:  # noqa: PTH123, ASYNC230 - a file of the kernel
        here = [line.split(b":")[0].strip() for line in file.read().splitlines()[2:]]
    assert [line.split(b":")[0].strip() for line in output.splitlines()[2:]] == here
    await driver.close()


async def test_unknown_network_fails_the_start_and_leaves_nothing(engine: Engine) -> None:
    driver = engine.driver(settings(network="no-such-network"), "mine")
    with pytest.raises(StartFailedError, match="no-such-network"):
        await Lab(driver).start("true")
    assert engine.containers() == []
    await driver.close()


async def test_names_and_labels_say_whose_it_is(lab: Lab, engine: Engine) -> None:
    slot = await lab.driver.prepare(await lab.spec())
    context = lab.context("true", attempt=4)
    running = await lab.driver.dispatch(slot, context)
    seen = engine.inspect(running.container_id)
    assert seen["Name"].lstrip("/") == container_name(context) == f"abaco_{context.execution.id}_4"
    labels = seen["Config"]["Labels"]
    assert {name: value for name, value in labels.items() if name.startswith("abaco.")} == {
        "abaco.instance": "mine",
        "abaco.tenant": "DEV",
        "abaco.actor": "actor1",
        "abaco.worker": "worker1",
        "abaco.execution": context.execution.id,
        "abaco.attempt": "4",
        "abaco.revision": "7",
    }


async def test_instances_on_one_engine_do_not_see_each_other(engine: Engine) -> None:
    mine, yours = engine.driver(settings(), "mine"), engine.driver(settings(), "yours")
    running = await Lab(mine).start("sleep 60")
    other = await Lab(yours).start("sleep 60")
    assert [item.container_id for item in await mine.list_owned()] == [running.container_id]
    assert [item.container_id for item in await yours.list_owned()] == [other.container_id]
    await mine.close()
    await yours.close()


async def test_foreign_and_mangled_containers_are_not_listed(lab: Lab, engine: Engine) -> None:
    slot = await lab.driver.prepare(await lab.spec())
    assert slot.id
    other = engine.driver(settings(), "mine ")
    await Lab(other).run("true")
    assert await lab.driver.list_owned() == []
    await other.close()


async def test_same_attempt_twice_is_one_container(lab: Lab) -> None:
    spec, context = await lab.spec(), lab.context("echo once; sleep 1")
    first = await lab.driver.dispatch(await lab.driver.prepare(spec), context)
    second = await lab.driver.dispatch(await lab.driver.prepare(spec), context)
    assert second.container_id == first.container_id
    assert await read_all(second) == b"once\n"
    assert len(await lab.driver.list_owned()) == 1


async def test_name_taken_by_a_stranger_fails_the_start(lab: Lab, engine: Engine) -> None:
    context = lab.context("true")
    other = engine.driver(settings(), "yours")
    theirs = await other.dispatch(await other.prepare(await lab.spec()), context)
    with pytest.raises(StartFailedError, match="another container"):
        await lab.driver.dispatch(await lab.driver.prepare(await lab.spec()), context)
    assert (await theirs.wait()).exit_code == 0
    await other.close()


async def test_creations_are_capped(engine: Engine) -> None:
    driver = engine.driver(settings(max_creates=1), "mine")
    lab = Lab(driver)
    began = time.monotonic()
    await lab.run("true")
    one = time.monotonic() - began
    running = await asyncio.gather(*(lab.start("sleep 60") for _ in range(4)))
    started = sorted(item.started_at for item in running)
    gaps = [(b - a).total_seconds() for a, b in pairwise(started)]
    assert min(gaps) > one / 20, "one after the other"
    await driver.close()
