"""Reading control groups and network counters as kernels write them."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import pytest

from backends.drivers.cgroups import (
    Counts,
    Group,
    group_at,
    group_of,
    is_first,
    read_counts,
    read_mounts,
    read_processes,
)
from backends.drivers.host import cgroup_layout
from backends.drivers.traffic import Traffic, open_traffic, parse_traffic, read_traffic
from backends.drivers.used import Used, sum_up

#: Source: prctl(2)
_PR_SET_NAME, _PR_GET_NAME = 15, 16

OLD = (
    "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "31 30 0:27 / /cg/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:28 / /cg/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "33 30 0:29 / /cg/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n"
)
HYBRID = OLD + "34 30 0:30 / /cg/unified rw - cgroup2 cgroup2 rw\n"
NEW = "30 23 0:26 / /cg rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def write(directory: Path, **files: str) -> Path:
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


def test_odd_names_of_mounts_hide_nothing() -> None:
    odd = "24 1 0:5 / /home/jane/\udcff\x0c\x85\u2028 rw - fuse fuse rw\n"
    assert read_mounts(odd + HYBRID + odd) == read_mounts(HYBRID)
    assert cgroup_layout(odd + HYBRID) == cgroup_layout(HYBRID)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\x0cNSpid:\t9\t1\x0c"])
def test_name_of_a_process_does_not_make_it_the_first(name: bytes) -> None:
    libc = ctypes.CDLL(None)
    held = ctypes.create_string_buffer(16)
    assert libc.prctl(_PR_GET_NAME, held) == 0
    assert libc.prctl(_PR_SET_NAME, name) == 0
    try:
        assert not is_first(threading.get_native_id())
    finally:
        libc.prctl(_PR_SET_NAME, held)


class TestPlaces:
    def test_version_1_has_a_place_for_each_controller(self) -> None:
        membership = "4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n"
        assert group_of(membership, read_mounts(OLD)).places == {
            "cpuacct": Path("/cg/cpu,cpuacct/docker/ab"),
            "memory": Path("/cg/memory/docker/ab"),
        }

    def test_version_2_has_one(self) -> None:
        group = group_of("0::/system.slice/docker-ab.scope\n", read_mounts(NEW))
        assert group.places == {"": Path("/cg/system.slice/docker-ab.scope")}

    def test_hybrid_has_both(self) -> None:
        membership = "4:memory:/x\n3:cpu,cpuacct:/y\n0::/z\n"
        assert group_of(membership, read_mounts(HYBRID)).places == {
            "memory": Path("/cg/memory/x"),
            "cpuacct": Path("/cg/cpu,cpuacct/y"),
            "": Path("/cg/unified/z"),
        }

    def test_same_path_everywhere(self) -> None:
        assert group_at("/a/b", read_mounts(HYBRID)).places == {
            "memory": Path("/cg/memory/a/b"),
            "cpuacct": Path("/cg/cpu,cpuacct/a/b"),
            "": Path("/cg/unified/a/b"),
        }

    def test_part_of_a_hierarchy_may_be_mounted(self) -> None:
        (mount,) = read_mounts("1 1 0:1 /docker/us /cg rw - cgroup2 c rw")
        assert mount.place("/docker/us/x") == Path("/cg/x")
        assert mount.place("/docker/us") == Path("/cg")
        assert mount.place("/docker/usurper") is None
        assert mount.place("/docker/them") is None

    def test_groups_outside_of_our_namespace_are_nowhere(self) -> None:
        (mount,) = read_mounts(NEW)
        assert mount.place("/../../docker/ab") is None
        assert mount.place("/a..b") == Path("/cg/a..b")


class TestCounts:
    def test_version_1(self, tmp_path: Path) -> None:
        cpu = write(tmp_path / "cpu", cpuacct__usage="123456789\n")
        memory = write(
            tmp_path / "memory",
            memory__max_usage_in_bytes="4096\n",
            memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        )
        lines = "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 1\n8:16 Write 2\nTotal 33\n"
        block = write(tmp_path / "blkio", blkio__throttle__io_service_bytes_recursive=lines)
        group = Group({"cpuacct": cpu, "memory": memory, "blkio": block})
        assert read_counts(group) == Counts(
            cpu_ns=123456789,
            memory_peak_bytes=4096,
            blk_read_bytes=11,
            blk_write_bytes=22,
            oom_kills=2,
        )

    def test_version_2(self, tmp_path: Path) -> None:
        place = write(
            tmp_path / "new",
            cpu__stat="usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
            memory__peak="8192\n",
            memory__events="low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n",
            io__stat="8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1\n",
        )
        assert read_counts(Group({"": place})) == Counts(
            cpu_ns=1_500_000,
            memory_peak_bytes=8192,
            blk_read_bytes=11,
            blk_write_bytes=20,
            oom_kills=1,
        )

    def test_no_device_is_no_bytes_in_version_2_and_unknown_in_1(self, tmp_path: Path) -> None:
        new = write(tmp_path / "new", io__stat="")
        old = write(tmp_path / "old", blkio__throttle__io_service_bytes_recursive="Total 0\n")
        assert read_counts(Group({"": new})).blk_write_bytes == 0
        assert read_counts(Group({"blkio": old})).blk_write_bytes is None

    def test_controllers_of_version_1_win_where_both_are(self, tmp_path: Path) -> None:
        old = write(tmp_path / "old", cpuacct__usage="5\n")
        new = write(tmp_path / "new", cpu__stat="usage_usec 9\n")
        assert read_counts(Group({"cpuacct": old, "": new})).cpu_ns == 5

    def test_group_that_is_gone_or_old_kernel_counts_nothing(self, tmp_path: Path) -> None:
        for places in ({}, {"": tmp_path}, {"memory": tmp_path, "cpuacct": tmp_path / "gone"}):
            assert read_counts(Group(places)) == Counts()
            assert read_processes(Group(places)) == []

    def test_processes(self, tmp_path: Path) -> None:
        place = write(tmp_path / "new", cgroup__procs="12\n7\n")
        assert read_processes(Group({"": place})) == [12, 7]

    def test_this_process_is_first_of_no_namespace_below_ours(self) -> None:
        assert not is_first(1)
        assert not is_first(2**22 + 1)


class TestTraffic:
    TEXT = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets\n"
        "    lo:     900       9    0    0    0     0          0         0      900       9 0 0\n"
        "  eth0: 1002421      34    0    0    0     0          0         0     2132      31 0 0\n"
        "  eth1:       9       1    0    0    0     0          0         0        1       1 0 0\n"
    )

    def test_all_interfaces_but_loopback(self) -> None:
        assert parse_traffic(self.TEXT) == Traffic(1002430, 2133)
        assert parse_traffic("") == Traffic()

    def test_what_cannot_be_opened_is_nothing(self) -> None:
        assert read_traffic(-1) == Traffic()
        assert open_traffic(2**22 + 1) == -1

    def test_the_hosts_own_counters_are_nobodys(self) -> None:
        assert open_traffic(1) == -1


SEEN = Counts(cpu_ns=1, memory_peak_bytes=2, blk_read_bytes=3, blk_write_bytes=4, oom_kills=1)


@pytest.mark.parametrize(
    ("seen", "own", "cpu_ns", "oom_kills"),
    [
        (SEEN, Counts(), 1, 1),
        (SEEN, Counts(cpu_ns=9, oom_kills=0), 9, 1),
        (Counts(), Counts(cpu_ns=9, oom_kills=2), 9, 2),
        (Counts(), Counts(), 0, 0),
        (SEEN, Counts(cpu_ns=0), 0, 1),
    ],
)
def test_our_own_group_knows_best(seen: Counts, own: Counts, cpu_ns: int, oom_kills: int) -> None:
    used = sum_up(seen, own, Traffic(7, 8))
    assert (used.cpu_ns, used.oom_kills) == (cpu_ns, oom_kills)
    assert (used.io_bytes, used.net_rx_bytes, used.net_tx_bytes) == (7, 7, 8)
    assert sum_up(Counts(), Counts(), Traffic()) == Used()
