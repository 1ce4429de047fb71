"""Writes that must happen, however long the store is away."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from abaco.errors import StoreUnavailableError

_log = logging.getLogger(__name__)

T = TypeVar("T")


def _warn(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("the store does not answer, try %d: %s", state.attempt_number, error)


async def persist(write: Callable[[], Awaitable[T]]) -> T:
    """Make a write that must happen, however long the store is away.

    For the facts of a run: what happened in a container cannot be asked for again. The write
    must be fenced or idempotent, because one that timed out may have been applied.
    """
    try:
        return await write()  # as nearly always; what follows costs more than many writes
    except StoreUnavailableError as error:
        _log.warning("the store does not answer: %s", error)
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(StoreUnavailableError),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=5.0),
        before_sleep=_warn,
    )
    async for attempt in retrying:
        with attempt:
            return await write()
    raise AssertionError("tenacity ends only with a result or an error")
