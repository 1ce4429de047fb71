from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import resource
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from abaco.domain.ids import ExecutionId
from abaco.errors import ConfigError, StoreError, StoreUnavailableError
from abaco.ports.blobs import BlobStore
from backends.blobs import open_blobs, open_passing_blobs
from backends.files import translate
from backends.system import SystemClock
from tests.support.records import SteppedClock

NAME = ExecutionId("abc")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data" / "blobs"


@pytest.fixture
async def blobs(directory: Path) -> AsyncIterator[BlobStore]:
    async with open_blobs(directory, SystemClock()) as blobs:
        yield blobs


async def put(blobs: BlobStore, data: bytes, name: ExecutionId = NAME) -> None:
    upload = await blobs.begin(name)
    await upload.write(data)
    await upload.finish()


async def test_what_is_written_in_pieces_is_one_file(blobs: BlobStore, directory: Path) -> None:
    upload = await blobs.begin(NAME)
    pieces = [b"one", b"", os.urandom(100_000), b"three"]
    for piece in pieces:
        await upload.write(piece)
    assert not (directory / NAME).exists(), "nobody may see half a blob"
    blob = await upload.finish()
    whole = b"".join(pieces)
    assert (blob.size_bytes, blob.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    path = Path(blobs.path(NAME))
    assert path == directory / NAME
    assert path.read_bytes() == whole
    assert path.stat().st_mode & 0o777 == 0o444
    assert [each.name for each in directory.iterdir()] == [NAME]


async def test_an_empty_blob_is_one(blobs: BlobStore) -> None:
    blob = await (await blobs.begin(NAME)).finish()
    assert blob.size_bytes == 0
    assert Path(blobs.path(NAME)).read_bytes() == b""


async def test_an_abandoned_upload_leaves_nothing(directory: Path) -> None:
    async with open_blobs(directory, SystemClock()) as blobs:
        upload = await blobs.begin(NAME)
        await upload.write(b"x" * 1000)
        upload.abandon()
        upload.abandon()
        await upload.write(b"too late")
        with pytest.raises(ValueError, match="abandoned"):
            await upload.finish()
    assert list(directory.iterdir()) == []


async def test_abandoning_in_mid_write_waits_for_the_write(directory: Path) -> None:
    async with open_blobs(directory, SystemClock()) as blobs:
        for number in range(20):
            upload = await blobs.begin(ExecutionId(f"abc{number}"))
            writing = asyncio.ensure_future(upload.write(os.urandom(2_000_000)))
            await asyncio.sleep(0)
            upload.abandon()
            await writing
    assert list(directory.iterdir()) == []


async def test_what_was_finished_cannot_be_abandoned(blobs: BlobStore) -> None:
    upload = await blobs.begin(NAME)
    await upload.finish()
    upload.abandon()
    await blobs.delete([ExecutionId("other")])
    assert Path(blobs.path(NAME)).exists()


async def test_deleting_is_idempotent(blobs: BlobStore, directory: Path) -> None:
    await put(blobs, b"x")
    await blobs.delete([NAME, ExecutionId("never")])
    await blobs.delete([NAME])
    assert list(directory.iterdir()) == []


async def test_the_next_start_clears_what_was_never_finished(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "dead.part").write_bytes(b"half")
    (directory / "whole").write_bytes(b"all")
    os.utime(directory / "whole", (1e9, 1e9))
    async with open_blobs(directory, SystemClock()) as blobs:
        assert [each.name for each in directory.iterdir()] == ["whole"]
        # it may have a message, or not: whoever knows the messages decides
        assert await blobs.list_older(LONG_AGO) == ["whole"]


async def test_young_blobs_of_this_process_are_not_listed(blobs: BlobStore) -> None:
    unfinished = await blobs.begin(ExecutionId("unfinished"))
    await put(blobs, b"x")
    assert await blobs.list_older(LONG_AGO) == []
    soon = datetime.now(UTC) + timedelta(seconds=1)
    assert await blobs.list_older(soon) == [NAME]
    unfinished.abandon()


async def test_an_upload_in_progress_is_never_listed(directory: Path) -> None:
    clock = SteppedClock(datetime.now(UTC) + timedelta(days=1))
    async with open_blobs(directory, clock) as blobs:
        upload = await blobs.begin(NAME)
        assert await blobs.list_older(clock.now()) == []
        upload.abandon()


async def test_names_that_are_no_ids_are_refused(blobs: BlobStore) -> None:
    for name in ("", "..", "a/b", "a.part"):
        with pytest.raises(ValueError, match="not the id"):
            blobs.path(ExecutionId(name))


async def test_a_full_disk_is_unavailable_and_a_broken_one_is_not(
    blobs: BlobStore, directory: Path
) -> None:
    full = translate(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert isinstance(full, StoreUnavailableError)
    assert "No space left" in full.message
    directory.rmdir()
    with pytest.raises(StoreError, match="No such file") as raised:
        await blobs.begin(NAME)
    assert not isinstance(raised.value, StoreUnavailableError)


async def test_no_free_descriptor_is_a_passing_fault(blobs: BlobStore) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(StoreUnavailableError, match="open files"):
            await blobs.begin(NAME)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_directory_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigError, match="data_dir"):
        async with open_blobs(tmp_path / "data" / "blobs", SystemClock()):
            pass


async def test_passing_blobs_leave_nothing() -> None:
    async with open_passing_blobs(SystemClock()) as blobs:
        await put(blobs, b"x")
        path = Path(blobs.path(NAME))
        assert path.exists()
    assert not path.parent.exists()
