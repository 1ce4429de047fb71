"""Keeps the books of containers that run on this host: what each has used, exact at its end.

The kernel counts in a container's control group and network namespace, and both are gone some
milliseconds after its last process (7 on Docker 20.10, 70 to 100 on Podman 4.3, measured
2026-11). So the books are closed by whoever hears of the end first: a thread of this process that
waits for the end of the container's first process by pidfd, and does nothing else. The loop may
be late, and the engine always is.

Where the engine can be told into which group to put a container, that is one of ``OwnGroups``,
whose totals are there whenever they are asked for: of runs that ended before they could be looked
at, and of those that ended while no server ran.
"""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from abaco.config import Settings
from backends.drivers.cgroups import (
    Counts,
    Group,
    group_at,
    group_of,
    is_first,
    kernel_text,
    read_counts,
    read_mounts,
    read_processes,
)
from backends.drivers.own_groups import OwnGroups
from backends.drivers.traffic import Traffic, open_traffic, read_traffic
from backends.drivers.used import Used, sum_up

log = logging.getLogger(__name__)

T = TypeVar("T")

#: how often a container is looked at in legacy mode; what the older Abaco did
SAMPLE_S = 1.0
#: How often an expected container is looked for while its engine starts it, which takes 80 ms or
#: more. Nothing in the kernel tells that a process got namespaces of its own.
LOOK_OUT_S = 0.01
#: closed books kept of containers that nobody removes
MAX_CLOSED = 1000


@dataclass(slots=True)
class _Book:
    """An open book. The descriptors are closed with it."""

    group: Group
    pidfd: int
    #: see open_traffic
    net: int
    counts: Counts = field(default_factory=Counts)
    traffic: Traffic = field(default_factory=Traffic)
    is_closed: bool = False
    #: sums over samples, for legacy mode
    cpu_sum: int = 0
    io_sum: int = 0
    #: told when the first process has ended
    waiting: list[Future[None]] = field(default_factory=list)


class Accountant:
    """The books of one engine's containers. One loop calls it; its files are read on a thread.

    Args:
        counts_network: Whether every container has a network namespace of its own.
        is_legacy: Report sums over samples as ``cpu_ns`` and ``io_bytes``, as the older Abaco did.
        parent: Path of the groups that are made for containers; None when none are.

    """

    def __init__(
        self, *, counts_network: bool = True, is_legacy: bool = False, parent: str | None = None
    ) -> None:
        self._counts_network = counts_network
        self._is_legacy = is_legacy
        self._parent = parent
        self._thread: threading.Thread | None = None
        self._tasks: deque[Callable[[], None]] = deque()
        self._wake = -1
        #: containers that may have a group of ours, and its name
        self._names: dict[str, str] = {}
        #: those of them for which the engine was told to make it
        self._made: set[str] = set()
        #: whether the engine is told; None until it is known
        self._makes_groups: bool | None = None if parent is not None else False
        # What follows belongs to the thread.
        self._is_leaving = False
        self._mounts = read_mounts("")
        self._own = OwnGroups("", ())
        self._selector: selectors.BaseSelector
        self._expected: dict[str, tuple[str, ...]] = {}
        self._books: dict[str, _Book] = {}
        self._closed: dict[str, Used] = {}
        self._sample_at = 0.0

    # What the loop calls.

    async def group_path(self, name: str) -> str | None:
        """Return where the engine shall make a group for a container of this name.

        None when groups made there would not be this process's to remove.
        """
        if self._makes_groups is None:
            self._makes_groups = await self._ask(lambda: self._own.can_remove())
        return f"{self._parent}/{name}" if self._makes_groups else None

    def made(self, container_id: str, name: str) -> None:
        """Say that the engine was told to make a group of this name."""
        self._made.add(container_id)
        self.name(container_id, name)

    def own_path(self, container_id: str) -> str | None:
        """Return the path of the group of ours that the engine was told to make."""
        if container_id not in self._made:
            return None
        return f"{self._parent}/{self._names[container_id]}"

    def name(self, container_id: str, name: str) -> None:
        """Say by which name a container has a group of ours, if it has one."""
        if self._parent is not None:
            self._names[container_id] = name

    @contextmanager
    def expecting(self, container_id: str, paths: Iterable[str]) -> Iterator[None]:
        """Open the book of a container while the engine starts it, before its program runs.

        Args:
            container_id: Which one.
            paths: Control groups in one of which it will be; none when there is no need.

        """
        expected = tuple(paths)
        if not expected:
            yield
            return
        self._submit(lambda: self._expected.update({container_id: expected}))
        try:
            yield
        finally:
            self._submit(lambda: self._expected.pop(container_id, None))

    def watch(self, container_id: str, pid: int) -> None:
        """Open the book of a container that runs; its first process has this id."""
        self._submit(lambda: self._open(container_id, pid))

    async def find(self, container_id: str, paths: Iterable[str]) -> int:
        """Open the book of a container that is about to start, and return its process's id.

        Args:
            container_id: Which one.
            paths: Control groups in one of which it may be.

        Returns: 0 when there is no such process on this host.

        """
        return await self._ask(lambda: self._find(container_id, tuple(paths)))

    async def ended(self, container_id: str) -> None:
        """Wait for the end of a container's first process; for ever without an open book."""
        over: Future[None] = Future()
        self._submit(lambda: self._wait(container_id, over))
        await asyncio.wrap_future(over)

    async def is_alive(self, container_id: str) -> bool:
        """Tell whether a container's first process certainly runs."""
        return await self._ask(lambda: not self._book_of(container_id).is_closed)

    async def settle(self, container_id: str) -> Used:
        """Close the book of a container that has ended, and say what it used; any times."""
        name = self._names.get(container_id)
        used, has_group = await self._ask(lambda: self._settle(container_id, name))
        if container_id in self._made and not has_group:
            # told, and not done where we can see it: the engine runs in a place of its own
            log.warning("the engine's control groups are not those of this host")
            self._makes_groups = False
        return used

    def forget(self, container_id: str) -> None:
        """Drop the book of a container that is gone, and its group of ours."""
        name = self._names.pop(container_id, None)
        self._made.discard(container_id)
        if self._thread is not None:
            self._submit(lambda: self._forget(container_id, name))

    async def list_groups(self) -> list[str]:
        """Return the names of all groups of ours, those of earlier processes too."""
        if self._parent is None:
            return []
        return await self._ask(lambda: self._own.list_names())

    async def remove_groups(self, names: list[str]) -> None:
        """Remove groups whose containers are gone."""
        if names:
            await self._ask(lambda: self._own.remove(names))

    async def close(self) -> None:
        """Close all books and end the thread; what was begun is done first."""
        if (thread := self._thread) is not None:
            await self._ask(self._leave)
            thread.join()
            self._thread = None
            os.close(self._wake)

    # The way to the thread.

    async def _ask(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._submit(work))

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        answer: Future[T] = Future()
        answer.add_done_callback(_complain)

        def perform() -> None:
            # who asked may have gone away; what is begun is done all the same
            is_awaited = answer.set_running_or_notify_cancel()
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - whoever asked hears of it
                if is_awaited:
                    answer.set_exception(error)
                else:
                    _log_fault(error)
            else:
                if is_awaited:
                    answer.set_result(result)

        if self._thread is None:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._is_leaving = False
            self._thread = threading.Thread(target=self._run, name="accountant", daemon=True)
            self._thread.start()
        self._tasks.append(perform)
        os.eventfd_write(self._wake, 1)
        return answer

    def _run(self) -> None:
        self._mounts = read_mounts(kernel_text(Path("/proc/self/mountinfo")))
        self._own = OwnGroups(self._parent or "", self._mounts)
        with selectors.DefaultSelector() as self._selector:
            self._selector.register(self._wake, selectors.EVENT_READ)
            while not self._is_leaving:
                for key, _ in self._selector.select(self._patience_s()):
                    if key.data is None:
                        os.eventfd_read(self._wake)
                    else:
                        _attempt(partial(self._close, key.data))
                        self._tell(key.data)
                if self._is_legacy:
                    _attempt(self._sample)
                while self._tasks:
                    self._tasks.popleft()()
                _attempt(self._look_out)

    def _leave(self) -> None:
        for book in self._books.values():
            _attempt(partial(self._close, book))
        self._books.clear()
        if self._parent is not None:
            self._own.remove_all()
        self._is_leaving = True

    # What happens on the thread.

    def _find(self, container_id: str, paths: tuple[str, ...]) -> int:
        for path in paths:
            for pid in read_processes(group_at(path, self._mounts)):
                # what prepares a container is in its group, too
                if is_first(pid) and self._open(container_id, pid):
                    return pid
        return 0

    def _look_out(self) -> None:
        for container_id, paths in list(self._expected.items()):
            if self._find(container_id, paths):
                del self._expected[container_id]

    def _open(self, container_id: str, pid: int) -> bool:
        if container_id in self._books or container_id in self._closed:
            return True
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # it has ended, or is not on this host
            return False
        try:
            membership = kernel_text(Path(f"/proc/{pid}/cgroup"))
        except OSError:
            membership = ""
        # an engine in another pid namespace means another process by this number
        if container_id not in membership:
            os.close(pidfd)
            return False
        net = open_traffic(pid) if self._counts_network else -1
        book = _Book(group_of(membership, self._mounts), pidfd, net)
        self._sample_at = self._sample_at or time.monotonic() + SAMPLE_S
        self._books[container_id] = book
        self._selector.register(pidfd, selectors.EVENT_READ, book)
        return True

    def _close(self, book: _Book) -> None:
        """Read for the last time, and let go."""
        if book.is_closed:
            return
        book.is_closed = True
        self._selector.unregister(book.pidfd)
        os.close(book.pidfd)
        try:
            book.counts = read_counts(book.group)
            book.traffic = read_traffic(book.net)
        finally:
            if book.net >= 0:
                os.close(book.net)

    def _book_of(self, container_id: str) -> _Book:
        """Return the book, or a closed and empty one."""
        return self._books.get(container_id) or _Book(Group({}), -1, -1, is_closed=True)

    def _wait(self, container_id: str, over: Future[None]) -> None:
        book = self._book_of(container_id)
        book.waiting.append(over)
        if book.is_closed and (container_id in self._books or container_id in self._closed):
            self._tell(book)

    def _tell(self, book: _Book) -> None:
        """Answer those who wait for the end, but for those who went away."""
        for over in book.waiting:
            if over.set_running_or_notify_cancel():
                over.set_result(None)
        book.waiting.clear()

    def _settle(self, container_id: str, name: str | None) -> tuple[Used, bool]:
        has_group = name is not None and self._own.exists(name)
        if container_id in self._closed:
            return self._closed[container_id], has_group
        book = self._book_of(container_id)
        self._books.pop(container_id, None)
        _attempt(partial(self._close, book))
        own = self._own.read(name) if name is not None else Counts()
        used = sum_up(book.counts, own, book.traffic)
        if self._is_legacy:
            used = replace(used, cpu_ns=book.cpu_sum, io_bytes=book.io_sum)
        while len(self._closed) >= MAX_CLOSED:
            del self._closed[next(iter(self._closed))]
        self._closed[container_id] = used
        return used, has_group

    def _forget(self, container_id: str, name: str | None) -> None:
        self._closed.pop(container_id, None)
        if (book := self._books.pop(container_id, None)) is not None:
            _attempt(partial(self._close, book))
        if name is not None:
            self._own.remove([name])

    def _patience_s(self) -> float | None:
        if self._expected:
            return LOOK_OUT_S
        if not self._is_legacy or not self._books:
            return None
        return max(0.0, self._sample_at - time.monotonic())

    def _sample(self) -> None:
        """Add what the counters say to the sums, once a second."""
        if not self._books:
            self._sample_at = 0.0
        elif time.monotonic() >= self._sample_at:
            self._sample_at = time.monotonic() + SAMPLE_S
            for book in self._books.values():
                if not book.is_closed:
                    book.cpu_sum += read_counts(book.group).cpu_ns or 0
                    book.io_sum += read_traffic(book.net).rx_bytes


def _complain(answer: Future[Any]) -> None:
    """Write down what went wrong: of some work nobody waits for the end."""
    if not answer.cancelled() and (error := answer.exception()) is not None:
        _log_fault(error)


def _attempt(work: Callable[[], None]) -> None:
    """Do what nobody asked for; the thread outlives it, because every book waits for the thread."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - a number less, and not an execution
        _log_fault(error)


def _log_fault(error: BaseException) -> None:
    log.error("accounting of a container failed: %r", error)


def make_accountant(settings: Settings, instance_id: str | None) -> Accountant:
    """Make the one for an engine's containers.

    Args:
        settings: Of the server.
        instance_id: Names the place of groups of ours; None when the engine cannot make them.

    """
    engine = settings.engine
    has_groups = instance_id is not None and engine.cgroup_parent
    return Accountant(
        counts_network=not engine.network.startswith(("host", "container:")),
        is_legacy=settings.runtime.stats_mode == "legacy",
        parent=f"{engine.cgroup_parent}/{instance_id}" if has_groups else None,
    )
