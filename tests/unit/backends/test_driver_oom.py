"""Watching a memory control group, with real ones where the host has version 1."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.drivers.oom import MemoryWatch, memory_cgroup, watch_memory

MOUNTS = (
    "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "32 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
)
HERE = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def group() -> Iterator[Path]:
    group = HERE / f"abaco-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no version 1 memory control group can be made here: {error}")
    yield group
    if group.exists():
        group.rmdir()


def remove(group: Path) -> None:
    group.rmdir()


def run_in(group: Path, command: str) -> int:
    script = f"echo $$ > {group}/cgroup.procs && exec {command}"
    return subprocess.run(["sh", "-c", script], check=False).returncode


async def test_kill_is_seen_while_the_group_is_there(group: Path) -> None:
    (group / "memory.limit_in_bytes").write_text("8000000")
    watch = MemoryWatch(group)
    assert await asyncio.to_thread(run_in, group, "tail /dev/zero") == -9
    assert await watch.was_killed()
    assert await watch.was_killed()
    watch.close()


async def test_kill_is_seen_after_the_group_is_gone(group: Path) -> None:
    (group / "memory.limit_in_bytes").write_text("8000000")
    watch = MemoryWatch(group)
    assert run_in(group, "tail /dev/zero") == -9
    remove(group)
    # the loop has not run since: both notices wait to be counted
    assert await watch.was_killed()
    watch.close()


async def test_quiet_end_is_no_kill(group: Path) -> None:
    watch = MemoryWatch(group)
    assert await asyncio.to_thread(run_in, group, "true") == 0
    remove(group)
    assert not await watch.was_killed()
    watch.close()
    watch.close()


async def test_group_that_is_gone_cannot_be_watched(group: Path) -> None:
    remove(group)
    with pytest.raises(OSError, match="No such file"):
        MemoryWatch(group)


async def test_process_that_is_gone_cannot_be_watched() -> None:
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    assert watch_memory(gone.pid) is None


def test_directory_comes_from_membership_and_mounts() -> None:
    membership = "9:cpu:/x\n4:memory:/libpod_parent/libpod-ab\n0::/u\n"
    assert memory_cgroup(membership, MOUNTS) == HERE / "libpod_parent/libpod-ab"


def test_version_2_is_left_to_the_engine() -> None:
    assert memory_cgroup("0::/user.slice\n", MOUNTS) is None
    assert memory_cgroup("4:memory:/x\n", MOUNTS.splitlines()[0]) is None
