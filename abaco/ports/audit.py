"""The contract of the audit log."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Protocol

from abaco.domain.audit import AuditRecord


class AuditStore(Protocol):
    """Records that are only ever added; nothing but their age removes them.

    A place in the log is given once: after a record was removed no other one gets its ``seq``.
    """

    @abstractmethod
    async def append(self, record: AuditRecord) -> int:
        """Add a record at the end, durable before this returns. Returns its ``seq``."""

    @abstractmethod
    async def list_records(
        self, *, after: int = 0, since: datetime | None = None, limit: int = 1000
    ) -> list[AuditRecord]:
        """Page the log in the order of its writing.

        Args:
            after: Only records with a greater ``seq``.
            since: Only records of this time or later.
            limit: Most records returned.

        """

    @abstractmethod
    async def expire(self, before: datetime, *, limit: int = 1000) -> int:
        """Remove up to ``limit`` records older than ``before``. Returns how many."""
