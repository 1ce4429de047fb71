"""The files between this process and its containers, on this host.

An attempt's directory holds the socket of its results and, as a hard link or a pipe, the message
that is a file. The directories above it are closed to other users of the host; a container
reaches what is bound into it all the same. The socket is bound by way of a descriptor of its
directory, so that the path may be longer than the 107 bytes an address of a socket can have.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from abaco.domain.context import BINARY_DATA, RESULTS_DIRECTORY, RESULTS_SOCKET
from abaco.errors import ConfigError, NotFoundError, StartFailedError, TooLargeError
from abaco.ports.driver import Bind
from abaco.ports.ipc import Datagram, Delivery, Ipc, IpcHost, LeftFile, LeftNames, Place
from backends.left_files import list_files, read_file, remove_tree

#: files made or removed at the same time
THREADS = 2
#: a batch of results ends when this much was taken from the socket; bounds what is in memory
BATCH_BYTES = 1024 * 1024
BATCH_COUNT = 256
#: tries to make a directory that a sweep may be removing the parent of
_MAKE_TRIES = 5

#: the socket of the results, and this process' end of the message's pipe
Opened = tuple[socket.socket, int | None]

_SOCKET_NAME = "results.sock"
_MESSAGE_NAME = "message"
_LEFT_NAME = "results.d"


class HostIpc(Ipc):
    """One attempt's directory, and this process' ends of what is in it.

    Args:
        directory: Where the files are.
        left: Where the container may leave files as results.
        pool: Threads for files.
        results: Bound; None when the container of an earlier process is taken over.
        pipe: This process' end of the message's pipe, kept open so that it does not end.

    """

    def __init__(
        self,
        directory: Path,
        left: Path,
        pool: Executor,
        *,
        results: socket.socket | None = None,
        max_result_bytes: int = 0,
        pipe: int | None = None,
        binds: tuple[Bind, ...] = (),
    ) -> None:
        self.binds = binds
        self._directory = directory
        self._left = left
        self._pool = pool
        self._results = results
        self._buffer = bytearray(max_result_bytes)
        self._pipe = pipe
        self._ended = asyncio.Event()

    async def receive(self) -> list[Datagram]:
        """Read until the kernel has none left, or the batch is full."""
        while self._results is not None:
            if batch := self._take(self._results):
                return batch
            if self._ended.is_set():
                break
            await self._wait(self._results)
        return []

    def _take(self, results: socket.socket) -> list[Datagram]:
        batch: list[Datagram] = []
        taken_bytes = 0
        while taken_bytes < BATCH_BYTES and len(batch) < BATCH_COUNT:
            try:
                # with this flag the length is that of the datagram, whatever the buffer holds
                size = results.recv_into(self._buffer, 0, socket.MSG_TRUNC)
            except BlockingIOError:
                break
            if size == 0:  # to readers an empty result means that there is none
                continue
            is_whole = size <= len(self._buffer)
            batch.append(Datagram(bytes(self._buffer[:size]) if is_whole else b"", size))
            taken_bytes += size
        return batch

    async def _wait(self, results: socket.socket) -> None:
        """Wait until the socket can be read, or the end."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        loop.add_reader(results, changed.set)
        try:
            waiting = [asyncio.ensure_future(event.wait()) for event in (changed, self._ended)]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waiting:
                    each.cancel()
        finally:
            loop.remove_reader(results)

    def end(self) -> None:
        """Let ``receive`` end."""
        self._ended.set()

    async def list_left(self, *, limit: int) -> LeftNames:
        """List the directory for files."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, list_files, self._left, limit)

    async def read_left(self, name: str, *, max_bytes: int) -> LeftFile:
        """Read a file of that directory."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, read_file, self._left, name, max_bytes)

    def detach(self) -> None:
        """Close this process' ends."""
        results, self._results = self._results, None
        if results is not None:
            results.close()
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            os.close(pipe)

    async def close(self) -> None:
        """Close this process' ends and remove the directories."""
        self.detach()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, _remove, self._left, self._directory)


class HostIpcs(IpcHost):
    """Directories below one.

    Args:
        root: Exists.
        left_root: For what containers leave; None for within each attempt's directory.
        pool: Threads that make files.
        left_pool: Threads that read and remove what containers left, however long that takes.

    """

    def __init__(
        self, root: Path, left_root: Path | None, pool: Executor, left_pool: Executor
    ) -> None:
        self._root = root
        self._left_root = left_root
        self._pool = pool
        self._left_pool = left_pool

    async def open(
        self,
        place: Place,
        *,
        max_result_bytes: int,
        delivery: Delivery | None,
        takes_files: bool = False,
    ) -> Ipc:
        """Make directory, socket and message."""
        loop = asyncio.get_running_loop()
        directory = self._directory(place)
        left = self._left(place)
        wanted = left if takes_files else None
        making = loop.run_in_executor(self._pool, _make, directory, delivery, wanted)
        try:
            # a thread cannot be cancelled, and what it has opened must be closed by somebody
            results, pipe = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_let_go)
            raise
        except OSError as error:
            raise StartFailedError(
                f"the files of the container cannot be made: {error.strerror}", detail=str(error)
            ) from error
        binds = [_bind(directory / _SOCKET_NAME, RESULTS_SOCKET)]
        if delivery is not None:
            binds.append(_bind(directory / _MESSAGE_NAME, BINARY_DATA))
        if takes_files:
            binds.append(_bind(left, RESULTS_DIRECTORY, is_read_only=False))
        return HostIpc(
            directory,
            left,
            self._left_pool if takes_files else self._pool,
            results=results,
            max_result_bytes=max_result_bytes,
            pipe=pipe,
            binds=tuple(binds),
        )

    def adopt(self, place: Place) -> Ipc:
        """Return the directory without a socket."""
        return HostIpc(self._directory(place), self._left(place), self._left_pool)

    async def list_places(self) -> list[Place]:
        """List two levels of directories."""
        roots = [root for root in (self._root, self._left_root) if root is not None]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, _list, *roots)

    async def remove(self, places: list[Place]) -> None:
        """Remove directories."""
        directories = [each(place) for place in places for each in (self._left, self._directory)]
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._left_pool, _remove, *directories)

    def _directory(self, place: Place) -> Path:
        return self._root / place.worker / place.attempt

    def _left(self, place: Place) -> Path:
        if self._left_root is None:
            return self._directory(place) / _LEFT_NAME
        return self._left_root / place.worker / place.attempt


def _bind(path: Path, container_path: str, *, is_read_only: bool = True) -> Bind:
    return Bind(host_path=str(path), container_path=container_path, is_read_only=is_read_only)


def _let_go(making: asyncio.Future[Opened]) -> None:
    if not making.cancelled() and making.exception() is None:
        results, pipe = making.result()
        results.close()
        if pipe is not None:
            os.close(pipe)


# Everything below runs in a thread.


def _make(directory: Path, delivery: Delivery | None, left: Path | None) -> Opened:
    stale = [directory] if left is None else [left, directory]
    _remove(*stale)
    _make_directory(directory)
    pipe = None
    try:
        if left is not None:
            _make_directory(left)
            left.chmod(0o777)  # any user of a container may leave files
        if delivery is not None:
            pipe = _deliver(directory / _MESSAGE_NAME, delivery)
        return _make_socket(directory), pipe
    except BaseException:
        if pipe is not None:
            os.close(pipe)
        _remove(*stale)
        raise


def _make_directory(directory: Path) -> None:
    for _ in range(_MAKE_TRIES):
        # The worker's directory may be removed, being empty, before ours is in it. It is closed
        # whatever is above it: ours may be open to any user, who must not come so far.
        with suppress(FileNotFoundError):
            directory.parent.mkdir(mode=0o700, exist_ok=True)
            directory.mkdir(mode=0o700)
            return
    directory.mkdir(mode=0o700)


def _make_socket(directory: Path) -> socket.socket:
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        results = socket.socket(socket.AF_UNIX, kind)
        try:
            results.bind(f"/proc/self/fd/{descriptor}/{_SOCKET_NAME}")
            (directory / _SOCKET_NAME).chmod(0o777)  # any user of a container may send
        except BaseException:
            results.close()
            raise
    finally:
        os.close(descriptor)
    return results


def _deliver(path: Path, delivery: Delivery) -> int | None:
    try:
        if delivery.as_pipe:
            return _make_pipe(path, Path(delivery.path))
        _link(Path(delivery.path), path)
    except FileNotFoundError as error:
        raise NotFoundError("the file with the message is gone", detail=str(error)) from error
    return None


def _link(source: Path, path: Path) -> None:
    try:
        path.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        shutil.copy(source, path)  # file systems without hard links; the mode comes along


def _make_pipe(path: Path, source: Path) -> int:
    """Make a pipe that holds all of a file; its reader gets everything and then would block."""
    size = source.stat().st_size
    os.mkfifo(path)
    path.chmod(0o444)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _fill(pipe, source, size)
    except BaseException:
        os.close(pipe)
        raise
    return pipe


def _fill(pipe: int, source: Path, size: int) -> None:
    try:
        room = fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, max(size, 1))
    except PermissionError as error:
        largest = Path("/proc/sys/fs/pipe-max-size").read_text().strip()
        raise TooLargeError(
            f"the message has {size} bytes, and a pipe on this host can hold {largest}"
            " (runtime.binary_transport is fifo)"
        ) from error
    with source.open("rb") as data:
        rest = memoryview(data.read(room))
    while rest:
        rest = rest[os.write(pipe, rest) :]


def _remove(*directories: Path) -> None:
    for directory in directories:
        remove_tree(directory)
        with suppress(OSError):  # the worker has another attempt there
            directory.parent.rmdir()


def _list(*roots: Path) -> list[Place]:
    found = {
        Place(worker.name, attempt.name)
        for root in roots
        for worker in _directories(root)
        for attempt in _directories(worker)
    }
    return list(found)


def _directories(path: Path) -> Iterable[Path]:
    with suppress(FileNotFoundError):
        return [each for each in path.iterdir() if each.is_dir()]
    return []


@asynccontextmanager
async def open_ipc(root: Path | None, left_root: Path | None = None) -> AsyncIterator[IpcHost]:
    """Open the directories for the files of attempts, making them if need be.

    Args:
        root: None for one that nothing outlives.
        left_root: For what containers leave; None for below ``root``.

    Raises:
        ConfigError: One cannot be made.

    """
    with (
        ThreadPoolExecutor(THREADS, "abaco-ipc") as pool,
        ThreadPoolExecutor(THREADS, "abaco-left") as left_pool,
        _rooted(root) as path,
    ):
        if left_root is not None:  # above it is a file system that must be there
            _make_root(left_root, "runtime.large_results_dir", parents=False)
        yield HostIpcs(path, left_root, pool, left_pool)
        if root is None and left_root is not None:
            remove_tree(left_root)


@contextmanager
def _rooted(root: Path | None) -> Iterator[Path]:
    if root is None:
        with tempfile.TemporaryDirectory(prefix="abaco-ipc-") as scratch:
            yield Path(scratch)
        return
    _make_root(root, "general.data_dir")
    yield root


def _make_root(root: Path, key: str, *, parents: bool = True) -> None:
    try:
        root.mkdir(mode=0o700, parents=parents, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{key}: {root} cannot be used ({error.strerror}); name a directory this user may write"
        ) from error
