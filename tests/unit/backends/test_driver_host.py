"""What is concluded from a host: on hosts that are not at hand, and on this one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.drivers.host import (
    CgroupLayout,
    Host,
    Level,
    Ulimit,
    cgroup_layout,
    engine_needs,
    findings,
    has_capability,
    look,
)

PLAIN = Host(
    can_raise_limits=True,
    nofile_hard=524_288,
    nproc_hard=127_000,
    pid_max=4_194_304,
    cgroups=CgroupLayout.V2,
    has_systemd=True,
    programs={"podman": "/usr/bin/podman", "crun": "/usr/bin/crun", "catatonit": "/c"},
)

V2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
ROOT = "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n"


def test_plain_host_needs_nothing() -> None:
    needs = engine_needs(PLAIN)
    assert (needs.ulimits, needs.runtime, needs.cgroup_manager) == ((), None, None)
    assert {item.level for item in findings(PLAIN)} == {Level.OK}


def test_limits_that_cannot_be_raised_are_asked_for_as_they_are() -> None:
    host = replace(PLAIN, can_raise_limits=False, nofile_hard=20_000, pid_max=32_768)
    assert engine_needs(host).ulimits == (
        Ulimit("nofile", 20_000, 20_000),
        Ulimit("nproc", 32_768, 32_768),
    )
    host = replace(host, nproc_hard=5_000)
    assert engine_needs(host).ulimits[1] == Ulimit("nproc", 5_000, 5_000)
    [finding] = [item for item in findings(host) if item.level is Level.WARNING]
    assert "nofile=20000, nproc=5000" in finding.what
    assert finding.remedy


def test_high_limits_need_no_raising() -> None:
    host = replace(PLAIN, can_raise_limits=False, nofile_hard=1_048_576)
    assert engine_needs(host).ulimits == ()


def test_hybrid_control_groups_need_runc() -> None:
    host = replace(PLAIN, cgroups=CgroupLayout.HYBRID)
    assert engine_needs(host).runtime is None
    [finding] = [item for item in findings(host) if item.level is Level.ERROR]
    assert finding.remedy == "apt install runc"
    host = replace(host, programs={**PLAIN.programs, "runc": "/usr/sbin/runc"})
    assert engine_needs(host).runtime == "runc"
    assert findings(host)[0].level is Level.WARNING


def test_configured_runtime_wins() -> None:
    host = replace(PLAIN, cgroups=CgroupLayout.HYBRID, programs={"runc": "/r"})
    assert engine_needs(host, runtime="crun").runtime == "crun"


def test_without_systemd_podman_manages_control_groups_itself() -> None:
    assert engine_needs(replace(PLAIN, has_systemd=False)).cgroup_manager == "cgroupfs"


def test_missing_engine_and_init_are_found_with_a_remedy() -> None:
    nothing = findings(replace(PLAIN, programs={}))
    assert "neither Docker nor Podman" in nothing[0].what
    assert "apt install podman" in nothing[0].remedy
    no_init = findings(replace(PLAIN, programs={"podman": "/p"}))
    assert "catatonit" in no_init[0].remedy


def test_no_control_groups_is_an_error_and_comes_first() -> None:
    first = findings(replace(PLAIN, cgroups=CgroupLayout.NONE, programs={}))[0]
    assert first.level is Level.ERROR
    assert "control groups" in first.what


@pytest.mark.parametrize(
    ("mounts", "layout"),
    [
        (ROOT + V2, CgroupLayout.V2),
        (ROOT + V1, CgroupLayout.V1),
        (ROOT + V1 + V2, CgroupLayout.HYBRID),
        (ROOT, CgroupLayout.NONE),
        ("", CgroupLayout.NONE),
    ],
)
def test_layouts(mounts: str, layout: CgroupLayout) -> None:
    assert cgroup_layout(mounts) is layout


@pytest.mark.parametrize(
    ("status", "has"),
    [
        ("CapPrm:\t0\nCapEff:\t000001ffffffffff\n", True),
        ("CapEff:\t000001fffeffffff\n", False),
        ("Name:\tx\n", False),
    ],
)
def test_capability_bit(status: str, has: bool) -> None:
    assert has_capability(status, 24) is has


def test_this_host_can_be_looked_at() -> None:
    host = look()
    assert host.nofile_hard > 0
    assert host.pid_max > 0
    assert host.cgroups in CgroupLayout
    found = findings()
    assert found
    assert all(item.remedy for item in found if item.level is not Level.OK)
