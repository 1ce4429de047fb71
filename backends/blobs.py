"""Blobs as files of one directory.

A blob is written under a name of its own, then renamed; what has its final name is whole and
durable. Everything here runs in threads that only blobs use.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Collection, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from abaco.domain.ids import ExecutionId
from abaco.domain.message import Blob
from abaco.errors import ConfigError
from abaco.ports.blobs import BlobStore, Upload
from abaco.ports.clock import Clock
from backends.files import in_thread, sync_directory

_log = logging.getLogger(__name__)

#: files worked on at the same time; more would only queue at the disk
THREADS = 4
#: whatever user a container runs as may read its message
_MODE = 0o444
_UNFINISHED = ".part"
#: by so much a file's time may lie before that of the clock: the kernel stamps files by its ticks
COARSE = timedelta(milliseconds=50)


class FileUpload(Upload):
    """A file that is being written.

    The lock keeps an abandoning thread from closing a file another one writes to.
    """

    def __init__(self, path: Path, pool: Executor) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}{_UNFINISHED}")
        self._pool = pool
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        #: finished or abandoned
        self._is_over = False
        self._size_bytes = 0
        self._digest = hashlib.sha256()

    async def open(self) -> None:
        """Make the file."""
        await in_thread(self._pool, self._open)

    async def write(self, data: bytes) -> None:
        """Append to the file."""
        await in_thread(self._pool, self._write, data)

    async def finish(self) -> Blob:
        """Write through to the disk and rename."""
        return await in_thread(self._pool, self._finish)

    def abandon(self) -> None:
        """Have the file removed, unless it was finished."""
        self._pool.submit(self._abandon).add_done_callback(_report)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with self._lock:
            if not self._is_over:
                self._descriptor = os.open(self._part, flags, 0o600)

    def _write(self, data: bytes) -> None:
        with self._lock:
            rest = memoryview(data)
            while rest and self._descriptor is not None:
                rest = rest[os.write(self._descriptor, rest) :]
            self._digest.update(data)
            self._size_bytes += len(data)

    def _finish(self) -> Blob:
        with self._lock:
            if self._descriptor is None:
                raise ValueError("this upload was abandoned")
            os.fchmod(self._descriptor, _MODE)
            os.fsync(self._descriptor)
            self._close()
            self._part.rename(self._path)
            self._is_over = True
            sync_directory(self._path.parent)
            return Blob(size_bytes=self._size_bytes, sha256=self._digest.hexdigest())

    def _abandon(self) -> None:
        with self._lock:
            self._close()
            if not self._is_over:
                self._is_over = True
                self._part.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class FileBlobs(BlobStore):
    """Blobs below one directory, which nobody else writes to.

    Args:
        directory: Exists.
        pool: Threads for the files.
        opened_at: What is older was left by an earlier process.

    """

    def __init__(self, directory: Path, pool: Executor, opened_at: datetime) -> None:
        self._directory = directory
        self._pool = pool
        self._opened_at = opened_at - COARSE

    async def begin(self, name: ExecutionId) -> Upload:
        """Make an empty file."""
        upload = FileUpload(self._path(name), self._pool)
        try:
            await upload.open()
        except BaseException:
            upload.abandon()
            raise
        return upload

    async def delete(self, names: Collection[ExecutionId]) -> None:
        """Unlink files."""
        await in_thread(self._pool, self._delete, names)

    async def list_older(self, than: datetime) -> list[ExecutionId]:
        """Look at the times of all files."""
        before = max(than, self._opened_at)
        return await in_thread(self._pool, lambda: list(self._iter_older(before)))

    def path(self, name: ExecutionId) -> str:
        """Return the path of the file."""
        return str(self._path(name))

    def _path(self, name: ExecutionId) -> Path:
        if not name.isalnum():
            raise ValueError(f"{name!r} is not the id of an execution")
        return self._directory / name

    def _delete(self, names: Collection[ExecutionId]) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def _iter_older(self, before: datetime) -> Iterator[ExecutionId]:
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name.endswith(_UNFINISHED):
                    continue
                try:
                    written_at = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
                except FileNotFoundError:  # its message ended meanwhile
                    continue
                if written_at < before:
                    yield ExecutionId(entry.name)


def _report(removal: Future[None]) -> None:
    if (error := removal.exception()) is not None:
        _log.warning("an unfinished upload is left to the next start: %s", error)


@asynccontextmanager
async def open_blobs(directory: Path, clock: Clock) -> AsyncIterator[BlobStore]:
    """Open the blobs of a directory, which is made if need be; clear what was never finished.

    Raises:
        ConfigError: The directory cannot be used.

    """
    with ThreadPoolExecutor(THREADS, "abaco-blobs") as pool:
        try:
            _clear(directory)
        except OSError as error:
            raise ConfigError(
                f"general.data_dir: {directory} cannot be used ({error.strerror}); name a"
                " directory this user may write"
            ) from error
        yield FileBlobs(directory, pool, clock.now())


@asynccontextmanager
async def open_passing_blobs(clock: Clock) -> AsyncIterator[BlobStore]:
    """Open blobs that nothing outlives, in a directory for temporary files."""
    with _scratch() as directory:
        async with open_blobs(directory, clock) as blobs:
            yield blobs


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="abaco-blobs-") as directory:
        yield Path(directory)


def _clear(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for unfinished in directory.glob(f"*{_UNFINISHED}"):
        unfinished.unlink(missing_ok=True)
