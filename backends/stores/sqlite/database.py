"""The database file: making it, connecting to it, and its three lanes."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from abaco.errors import ConfigError
from abaco.metrics import store_call
from backends.stores.sqlite.faults import SQLITE_FAULTS
from backends.stores.sqlite.lane import Lane
from backends.stores.sqlite.schema import MIGRATIONS, migrate

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: first release with STRICT tables; RETURNING is older
OLDEST_SQLITE = (3, 37, 0)
#: Units: KiB, as a negative cache_size means
_CACHE_KIB = 32 * 1024
#: a WAL that a burst has grown is cut back to this
_WAL_LIMIT_BYTES = 64 * 1024 * 1024
#: searches that may wait; past it the store says that it is overloaded
MAX_SEARCHES = 100


class Database:
    """Three lanes to one file: one that writes, one that reads, one for searches, which take long.

    A read begins a fresh snapshot after it was asked for, so it sees every write that returned
    before.

    Attributes:
        is_closing: Set when what takes long should be given up; read by the lanes' threads.

    """

    def __init__(self, writer: Lane, reader: Lane, searcher: Lane) -> None:
        self._writer = writer
        self._reader = reader
        self._searcher = searcher
        self.is_closing = False

    async def write(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function in a writing transaction; durable when this returns."""
        with store_call("sqlite", name_of(work)):
            return await self._writer.run(partial(_call, work, args, kwargs))

    async def read(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function in a snapshot."""
        with store_call("sqlite", name_of(work)):
            return await self._reader.run(partial(_call, work, args, kwargs))

    async def search(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function that may take long in a snapshot, when the ones before it are done."""
        with store_call("sqlite", name_of(work)):
            return await self._searcher.run(partial(_call, work, args, kwargs))


def name_of(work: Callable[..., object]) -> str:
    """Return what metrics call a function: ``<module>.<name>``."""
    return f"{work.__module__.rpartition('.')[2]}.{work.__name__.lstrip('_')}"


def _call(
    work: Callable[..., T],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    connection: sqlite3.Connection,
) -> T:
    return work(connection, *args, **kwargs)


@asynccontextmanager
async def open_database(
    path: Path, timeout_s: float, *, search_timeout_s: float = 5.0
) -> AsyncIterator[Database]:
    """Make or upgrade the file, and serve it until the context ends.

    Args:
        path: The file.
        timeout_s: Seconds after which a call counts as unanswered.
        search_timeout_s: Seconds a search may take, besides.

    Raises:
        ConfigError: The file or its directory cannot be used.

    """
    path = _rooted(path)
    writer = Lane(
        "abaco-store-writer",
        partial(connect, path, timeout_s),
        begin="BEGIN IMMEDIATE",
        timeout_s=timeout_s,
    )
    reader = Lane(
        "abaco-store-reader",
        partial(connect, path, timeout_s, can_write=False),
        begin="BEGIN",
        timeout_s=timeout_s,
    )
    # one at a time: a quick search must not wait for the end of a slow one it shares a batch with
    searcher = Lane(
        "abaco-store-search",
        partial(connect, path, timeout_s, can_write=False),
        begin="BEGIN",
        timeout_s=timeout_s + search_timeout_s,
        max_batch=1,
        max_waiting=MAX_SEARCHES,
    )
    with ThreadPoolExecutor(1, "abaco-store-setup") as pool:
        await asyncio.get_running_loop().run_in_executor(pool, prepare, path, timeout_s)
    database = Database(writer, reader, searcher)
    try:
        writer.start()
        reader.start()
        searcher.start()
        yield database
    finally:
        database.is_closing = True
        # the writer last: the last connection to leave folds the WAL into the file
        await searcher.close()
        await reader.close()
        await writer.close()


def _rooted(path: Path) -> Path:
    return path.absolute()


def prepare(path: Path, timeout_s: float) -> None:
    """Make directory and file if need be, and bring the schema up to date.

    Raises:
        ConfigError: Names the key to change and what helps.

    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise ConfigError(
            f"[store] backend sqlite needs SQLite {oldest}, this Python has"
            f" {sqlite3.sqlite_version}: use a newer Python build, or another backend"
        )
    try:
        # what actors were told and what they answered is nobody else's business
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with closing(connect(_rooted(path), timeout_s)) as connection:
            taken_count = migrate(connection)
    except (OSError, *SQLITE_FAULTS) as error:
        raise ConfigError(
            f"[store] path (without it [general] data_dir): the database {path} cannot be used:"
            f" {error}. {_remedy(error)}",
            detail=repr(error),
        ) from error
    if 0 < taken_count < len(MIGRATIONS):  # a new one takes all of them
        old = len(MIGRATIONS) - taken_count
        _log.info("brought %s from schema version %s to %s", path, old, len(MIGRATIONS))


def _remedy(error: Exception) -> str:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "Restore it from a copy, or name another file in a directory one may write to"
    return "Name a file in a directory this user may write to, with free space"


def connect(path: Path, timeout_s: float, *, can_write: bool = True) -> sqlite3.Connection:
    """Open a connection to a file that exists, named absolutely.

    Never makes a file: a database that vanished must not turn into an empty one.
    """
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        cached_statements=256,
    )
    try:
        connection.row_factory = sqlite3.Row
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            f"cache_size = -{_CACHE_KIB}",
            f"journal_size_limit = {_WAL_LIMIT_BYTES}",
            f"query_only = {'OFF' if can_write else 'ON'}",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except SQLITE_FAULTS:
        connection.close()
        raise
    return connection
