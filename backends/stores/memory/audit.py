"""The audit log in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from abaco.domain.audit import AuditRecord
from abaco.ports.audit import AuditStore
from backends.stores.memory.state import State


class MemoryAudit(AuditStore):
    """Records in a dictionary by their places."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def append(self, record: AuditRecord) -> int:
        """Add a record at the end."""
        self._state.last_audit_seq += 1
        seq = self._state.last_audit_seq
        self._state.audit[seq] = replace(record, seq=seq, detail=dict(record.detail))
        return seq

    async def list_records(
        self, *, after: int = 0, since: datetime | None = None, limit: int = 1000
    ) -> list[AuditRecord]:
        """Page the log by its places."""
        found = [
            replace(record, detail=dict(record.detail))
            for record in self._state.audit.values()
            if record.seq > after and (since is None or record.time >= since)
        ]
        return found[:limit]

    async def expire(self, before: datetime, *, limit: int = 1000) -> int:
        """Remove old records, the oldest first."""
        old = [(record.time, seq) for seq, record in self._state.audit.items()]
        expired = sorted(place for place in old if place[0] < before)[:limit]
        for _, seq in expired:
            del self._state.audit[seq]
        return len(expired)
