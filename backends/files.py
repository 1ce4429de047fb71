"""What stores of files share: threads of their own, and the host's refusals in our words."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from abaco.errors import StoreError, StoreUnavailableError

P = ParamSpec("P")
T = TypeVar("T")

#: what passes when somebody makes room
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


async def in_thread(pool: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work on files in a thread of the pool.

    Raises:
        StoreUnavailableError: There is no room.
        StoreError: The host refuses for another reason.

    """
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(pool, lambda: work(*args, **kwargs))
    except OSError as error:
        raise translate(error) from error


def translate(error: OSError) -> StoreError:
    """Put a refusal of the host in our words."""
    kind = StoreUnavailableError if error.errno in _PASSING else StoreError
    return kind(f"a file cannot be kept: {error.strerror}", detail=str(error))


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
