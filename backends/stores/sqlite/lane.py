"""A thread with a connection of its own that serves the loop in batches.

All calls that wait when the thread is free share one transaction: the **group commit**. On the
writing lane each stands in a savepoint, so that one that fails takes nothing along; nobody hears
of success before the shared commit is durable.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from abaco.errors import StoreUnavailableError
from backends.stores.sqlite.faults import SQLITE_FAULTS, VALUE_FAULTS, refuse_value, translate

_log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

#: calls that share a transaction at most; bounds how long the first of them waits
MAX_BATCH = 128
#: calls that may wait; past it the store says that it is overloaded instead of growing
MAX_WAITING = 10_000


@dataclass(slots=True)
class _Job:
    """One call on its way. ``future`` belongs to the loop, the rest to the thread."""

    work: Work[Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Lane:
    """Runs functions of a connection, in order, on one thread.

    Args:
        name: Name of the thread.
        connect: Opens the connection, on the thread; called again after a fault.
        begin: Statement that opens a transaction.
        timeout_s: Seconds after which a call counts as unanswered.

    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], sqlite3.Connection],
        *,
        begin: str,
        timeout_s: float,
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._connect = connect
        self._begin = begin
        self._timeout_s = timeout_s
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        # daemon: an abrupt end of the process is a crash to SQLite, which it is made for
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._ended = asyncio.Event()
        #: calls handed over and not answered; touched by the loop only
        self._waiting = 0
        self._is_open = False

    def start(self) -> None:
        """Begin to serve."""
        self._is_open = True
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """Run a function of the connection in a transaction and return what it returns.

        What the function raises rolls its own writes back and is raised here. A call that is
        cancelled, or given up after the time limit, before the thread takes it is not made;
        after that it is applied whole.

        Raises:
            StoreUnavailableError: Overloaded, closed, too slow, or SQLite says so.
            StoreError: SQLite failed.

        """
        if not self._is_open:
            raise StoreUnavailableError("the store is closed")
        if self._waiting >= self._max_waiting:
            raise StoreUnavailableError("the store is overloaded: too many calls wait")
        job = _Job(work, self._loop.create_future())
        self._waiting += 1
        self._jobs.put(job)
        try:
            async with asyncio.timeout(self._timeout_s):
                result: T = await job.future
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"the store does not answer within {self._timeout_s:g} s"
            ) from error
        return result

    async def close(self) -> None:
        """Serve what waits, then end the thread. Idempotent."""
        if self._is_open:
            self._is_open = False
            self._jobs.put(None)
        if self._thread.ident is not None:
            await self._ended.wait()
            self._thread.join()

    def _resolve(self, jobs: list[_Job]) -> None:
        """Answer a batch; on the loop."""
        self._waiting -= len(jobs)
        for job in jobs:
            if job.future.done():  # given up meanwhile
                continue
            if job.error is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(job.error)

    # Everything below runs on the thread.

    def _serve(self) -> None:
        is_open = True
        try:
            while is_open:
                jobs, is_open = self._take()
                if jobs:
                    self._perform(jobs)
                    self._tell(self._resolve, jobs)
        finally:
            self._disconnect()
            self._tell(self._ended.set)

    def _take(self) -> tuple[list[_Job], bool]:
        """Wait for a call and gather those behind it. False when the end was among them."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == self._max_batch:
                return jobs, True
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False

    def _perform(self, jobs: list[_Job]) -> None:
        """Run a batch in one transaction; a fault of the whole fails every call in it."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.execute(self._begin)
            for job in jobs:
                if not job.future.done():
                    _attempt(self._connection, job)
            self._connection.execute("COMMIT")
        except SQLITE_FAULTS as error:
            _log.warning("a transaction of %d calls failed: %s", len(jobs), error)
            for job in jobs:
                job.error = translate(error)
            # a connection may be of no use after a fault; a new one is cheap and clean
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except SQLITE_FAULTS:
            _log.exception("a connection could not be closed")

    def _tell(self, call: Callable[..., object], *values: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *values)
        except RuntimeError:
            _log.warning("the loop ended before the store did; nobody is left to be answered")


def _attempt(connection: sqlite3.Connection, job: _Job) -> None:
    """Run one call in a savepoint. Raises only when the whole transaction is gone."""
    connection.execute("SAVEPOINT call")
    try:
        job.result = job.work(connection)
    except SQLITE_FAULTS as error:
        if not connection.in_transaction:  # SQLite took everything back, the others' too
            raise
        job.error = translate(error)
    except VALUE_FAULTS as error:
        job.error = refuse_value(error)
    except Exception as error:  # noqa: BLE001 - not ours to judge: raised again at the caller
        job.error = error
    if job.error is not None:
        connection.execute("ROLLBACK TO call")
    connection.execute("RELEASE call")
