"""The watch over the room on disk, and the disk it asks."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from abaco.config import Settings
from abaco.errors import StoreUnavailableError
from abaco.operations.space import Space
from abaco.ports.disk import Disk
from agents.disk import DiskWatch
from backends import disk as backend
from backends.disk import LocalDisk, disk_of


class ShrinkingDisk(Disk):
    """Has what its list says, look by look; None: it does not answer."""

    def __init__(self, *free: int | None) -> None:
        self._free = list(free)

    async def free_bytes(self) -> int:
        free = self._free.pop(0)
        if free is None:
            raise StoreUnavailableError("the disk does not answer")
        return free


async def test_it_says_once_that_there_is_no_room_and_once_that_there_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    space = Space(100)
    watch = DiskWatch(ShrinkingDisk(200, 99, 98, 100), space)
    rooms = []
    for _ in range(4):
        await watch.round()
        rooms.append(space.has_room())
    assert rooms == [True, False, False, True]
    said = [record.message for record in caplog.records if record.name == "agents.disk"]
    assert [text.split(":")[0] for text in said] == [
        "messages are refused",
        "messages are taken again",
    ]


async def test_a_disk_that_does_not_answer_refuses_nobody() -> None:
    space = Space(100)
    watch = DiskWatch(ShrinkingDisk(10, None), space)
    await watch.round()
    with pytest.raises(StoreUnavailableError):
        await watch.round()
    assert space.has_room()
    assert space.free_bytes is None


async def test_the_fullest_disk_counts(tmp_path: Path) -> None:
    both = await LocalDisk([tmp_path, Path("/dev/shm")]).free_bytes()
    assert both <= os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize + 1024**3
    assert both > 0


async def test_a_place_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="No such file"):
        await LocalDisk([tmp_path / "gone"]).free_bytes()


async def test_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "ANSWER_S", 0.05)
    read_end, write_end = os.pipe()
    disk = LocalDisk([tmp_path])
    monkeypatch.setattr(disk, "_look", lambda: len(os.read(read_end, 1)))
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        await disk.free_bytes()
    os.write(write_end, b"x")
    os.close(write_end)


def test_the_disks_of_an_instance(tmp_path: Path) -> None:
    here = {"data_dir": tmp_path / "data"}
    assert disk_of(Settings.model_validate({"store": {"backend": "memory"}})) is None
    found = disk_of(Settings.model_validate({"general": here, "store": {"path": tmp_path / "d/b"}}))
    assert found is not None
    assert set(found._directories) == {tmp_path / "data", tmp_path / "d"}
