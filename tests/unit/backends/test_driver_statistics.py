"""What is said of numbers a host can and cannot tell."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from abaco.ports.driver import EngineInfo
from backends.drivers.host import Level
from backends.drivers.statistics import Sight, judge, look_at_statistics
from tests.support.drivers import settings

#: an ordinary host of today, its engine's groups managed by systemd
TODAY = Sight(
    is_local=True,
    is_root=True,
    has_own_groups=False,
    old=frozenset(),
    new=frozenset({"cpuset", "cpu", "io", "memory", "pids"}),
    kernel=(6, 1),
    network="bridge",
)
#: this machine's kind
OLD = replace(
    TODAY,
    has_own_groups=True,
    old=frozenset({"rw", "cpuacct", "cpu", "memory", "blkio"}),
    new=frozenset(),
    kernel=(5, 10),
)


def unknown(sight: Sight) -> list[str]:
    """Return the first words of what is not known."""
    for finding in (found := list(judge(sight))):
        assert bool(finding.remedy) is (finding.level is Level.WARNING)
        assert ("shown as 0" in finding.what) is (finding.level is Level.WARNING)
    return [item.what.split(" of executions")[0] for item in found if item.level is Level.WARNING]


def test_ordinary_hosts_tell_all() -> None:
    assert unknown(TODAY) == unknown(OLD) == []


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        (replace(TODAY, kernel=(5, 18)), ["memory_peak"]),
        (replace(TODAY, new=frozenset({"cpu"})), ["memory_peak", "block I/O"]),
        (replace(TODAY, new=frozenset({"memory", "io"})), ["cpu"]),
        (replace(TODAY, network="host"), ["io (network)"]),
        (replace(TODAY, network="container:abc"), ["io (network)"]),
        (replace(TODAY, is_root=False), ["io (network)"]),
        (replace(OLD, kernel=(6, 10)), ["block I/O"]),
        (replace(OLD, kernel=(6, 9)), []),
        (replace(OLD, old=frozenset({"cpuacct"})), ["memory_peak", "block I/O"]),
        (replace(TODAY, is_local=False), ["cpu, memory, network and block I/O"]),
    ],
)
def test_what_is_missing_is_named(changed: Sight, missing: list[str]) -> None:
    assert unknown(changed) == missing


def test_runs_that_end_unseen_need_groups_of_ours() -> None:
    text = "server is away"
    assert any(text in finding.what for finding in judge(TODAY))
    assert not any(text in finding.what for finding in judge(OLD))


async def test_this_host_is_read() -> None:
    info = EngineInfo(driver="podman", version="4", endpoint="unix:///nowhere")
    sight = await look_at_statistics(settings(), info)
    assert sight.is_local
    assert sight.is_root is (os.geteuid() == 0)
    assert not sight.has_own_groups, "Podman gets none"
    assert sight.kernel > (3, 0)
    assert sight.old or sight.new
    assert sight.network == "none"
