"""What engines say they cannot do, judged."""

from __future__ import annotations

from typing import Any

import pytest

from abaco.settings import EngineSettings
from backends.drivers.abilities import judge_docker, judge_podman
from backends.drivers.host import Level

DEFAULT = EngineSettings()
BOUNDED = EngineSettings(rootfs_size="10g")

DOCKER: dict[str, Any] = {
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "xfs"], ["Supports d_type", "true"]],
}
PODMAN: dict[str, Any] = {
    "host": {
        "cgroupControllers": ["cpu", "memory", "pids"],
        "security": {"seccompEnabled": True},
    },
    "store": {"graphDriverName": "overlay", "graphStatus": {"Backing Filesystem": "xfs"}},
}


def test_engines_that_can_do_everything() -> None:
    assert list(judge_docker(DOCKER, DEFAULT)) == []
    assert list(judge_podman(PODMAN, DEFAULT)) == []


@pytest.mark.parametrize(
    ("flag", "what"),
    [
        ("MemoryLimit", "memory (mem_limit)"),
        ("SwapLimit", "swap"),
        ("PidsLimit", "processes"),
        ("CpuCfsQuota", "CPU time"),
    ],
)
def test_a_kernel_docker_cannot_limit_with(flag: str, what: str) -> None:
    (finding,) = judge_docker(DOCKER | {flag: False}, DEFAULT)
    assert finding.level is Level.WARNING
    assert f"cannot limit {what}" in finding.what
    assert "kernel" in finding.remedy


@pytest.mark.parametrize("missing", ["memory", "pids", "cpu"])
def test_a_controller_podman_does_not_have(missing: str) -> None:
    controllers = [name for name in ("cpu", "memory", "pids") if name != missing]
    host = PODMAN["host"] | {"cgroupControllers": controllers}
    (finding,) = judge_podman(PODMAN | {"host": host}, DEFAULT)
    assert finding.level is Level.WARNING
    assert "cannot limit" in finding.what


@pytest.mark.parametrize("options", [[], None, ["name=seccomp,profile=unconfined"], ["name=x"]])
def test_docker_without_a_filter(options: list[str] | None) -> None:
    (finding,) = judge_docker(DOCKER | {"SecurityOptions": options}, DEFAULT)
    assert "seccomp" in finding.what


def test_podman_without_a_filter() -> None:
    host = PODMAN["host"] | {"security": {"seccompEnabled": False}}
    (finding,) = judge_podman(PODMAN | {"host": host}, DEFAULT)
    assert "seccomp" in finding.what


def test_an_answer_with_nothing_in_it_is_no_reason_to_fail() -> None:
    assert [finding.level for finding in judge_docker({}, DEFAULT)] == [Level.WARNING]
    assert len(list(judge_podman({}, DEFAULT))) == 4


def test_root_file_systems_that_can_be_bounded() -> None:
    for findings in (judge_docker(DOCKER, BOUNDED), judge_podman(PODMAN, BOUNDED)):
        (finding,) = findings
        assert (finding.level, finding.remedy) == (Level.OK, "")
        assert "pquota" in finding.what


@pytest.mark.parametrize(("driver", "below"), [("overlay2", "extfs"), ("vfs", "xfs")])
def test_root_file_systems_that_cannot(driver: str, below: str) -> None:
    answer = DOCKER | {"Driver": driver, "DriverStatus": [["Backing Filesystem", below]]}
    (finding,) = judge_docker(answer, BOUNDED)
    assert finding.level is Level.ERROR
    assert f"{driver} over {below}" in finding.what
    assert "rootfs_size: -1" in finding.remedy
    assert list(judge_docker(answer, DEFAULT)) == [], "nobody asked"
