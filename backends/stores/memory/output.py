"""Logs, results and the instance's row in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from abaco.domain.execution import ExecutionKey
from abaco.ports.store import InstanceStore, LogStore, LogText, ResultStore
from backends.stores import rules
from backends.stores.memory.state import Log, Result, State


class MemoryLogs(LogStore):
    """Logs as bytes."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def append(
        self,
        key: ExecutionKey,
        offset: int,
        data: bytes,
        *,
        max_bytes: int,
        expires_at: datetime | None,
    ) -> int:
        """Append output."""
        log = self._state.logs.get(key, Log())
        cut = rules.cut_log(
            seen=log.bytes_seen,
            kept=len(log.data),
            is_truncated=log.is_truncated,
            offset=offset,
            data=data,
            max_bytes=max_bytes,
        )
        self._state.logs[key] = Log(
            start=log.start if log.data else log.bytes_seen,
            data=log.data + cut.data,
            bytes_seen=cut.bytes_seen,
            is_truncated=cut.is_truncated,
            expires_at=expires_at,
        )
        return cut.bytes_seen

    async def read(
        self, key: ExecutionKey, offset: int = 0, *, max_bytes: int | None = None
    ) -> LogText:
        """Return the stored bytes from an offset on."""
        log = self._state.logs.get(key, Log())
        is_expired = log.expires_at is not None and log.expires_at <= self._state.clock.now()
        begin = max(0, offset - log.start)
        end = None if max_bytes is None else begin + max_bytes
        return LogText(
            data=b"" if is_expired else log.data[begin:end],
            bytes_seen=log.bytes_seen,
            is_truncated=log.is_truncated,
        )

    async def clear(self, key: ExecutionKey) -> None:
        """Forget the log."""
        self._state.logs.pop(key, None)

    async def expire(self, now: datetime, *, limit: int = 1000) -> int:
        """Remove the text of logs whose expiry has passed."""
        expired = [
            (log.expires_at, key)
            for key, log in self._state.logs.items()
            if log.expires_at is not None and log.expires_at <= now
        ]
        for _, key in sorted(expired)[:limit]:
            # the count stays: output that still comes must find its place
            log = self._state.logs[key]
            log.data, log.expires_at = b"", None
        return min(limit, len(expired))


class MemoryResults(ResultStore):
    """Results in a deque per execution."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def push(
        self, key: ExecutionKey, first: int, results: Sequence[bytes], *, expires_at: datetime
    ) -> None:
        """Add results at the end."""
        known, _ = self._state.result_counts.get(key, (0, expires_at))
        fresh = results[max(0, known - first) :]
        waiting = self._state.results.setdefault(key, deque())
        waiting.extend(Result(data, expires_at) for data in fresh)
        self._state.result_counts[key] = max(known, first + len(results)), expires_at

    async def pop(self, key: ExecutionKey, now: datetime) -> bytes | None:
        """Take the oldest unexpired result away."""
        waiting = self._state.results.get(key, deque())
        for result in waiting:
            if result.expires_at > now:
                waiting.remove(result)
                return result.data
        return None

    async def expire(self, now: datetime, *, limit: int = 1000) -> int:
        """Remove results whose expiry has passed."""
        expired = [
            (waiting, result)
            for waiting in self._state.results.values()
            for result in waiting
            if result.expires_at <= now
        ]
        expired = sorted(expired, key=lambda pair: pair[1].expires_at)[:limit]
        for waiting, result in expired:
            waiting.remove(result)
        for key in [key for key, waiting in self._state.results.items() if not waiting]:
            del self._state.results[key]
        counts = self._state.result_counts
        for key in [key for key, (_, expires_at) in counts.items() if expires_at <= now]:
            del counts[key]
        return len(expired)

    async def clear(self, key: ExecutionKey) -> None:
        """Forget the results."""
        self._state.results.pop(key, None)
        self._state.result_counts.pop(key, None)


class MemoryInstance(InstanceStore):
    """The instance's one row."""

    def __init__(self, state: State) -> None:
        self._row = state.instance

    async def acquire(self, holder: str, now: datetime, ttl_s: float) -> int:
        """Become the one live process."""
        row = self._row
        rules.check_vacant(row.holder, row.expires_at, holder, now)
        row.epoch += 1
        row.holder, row.expires_at = holder, now + timedelta(seconds=ttl_s)
        return row.epoch

    async def heartbeat(self, epoch: int, now: datetime, ttl_s: float) -> bool:
        """Renew."""
        if self._row.epoch != epoch or self._row.holder is None:
            return False
        self._row.expires_at = now + timedelta(seconds=ttl_s)
        return True

    async def release(self, epoch: int) -> None:
        """Give the place up."""
        if self._row.epoch == epoch:
            self._row.holder = self._row.expires_at = None

    async def ping(self) -> None:
        """Memory always answers."""
