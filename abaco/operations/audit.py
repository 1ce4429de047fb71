"""Write and read the audit log."""

from __future__ import annotations

import logging
from datetime import datetime

from abaco.domain.audit import AuditRecord
from abaco.errors import InvalidInputError, StoreError
from abaco.metrics import AUDIT_FAILURES
from abaco.operations.services import Services

_log = logging.getLogger(__name__)

#: most records one request may ask for
MAX_RECORDS = 1000


async def append(services: Services, record: AuditRecord) -> None:
    """Add a record.

    What it tells of has happened already, so a store that fails cannot undo it: the record goes
    to the server's log as an ERROR, and is counted.
    """
    try:
        await services.stores.audit.append(record)
    except StoreError as error:
        AUDIT_FAILURES.inc()
        _log.error("the audit log could not be written (%s); lost: %s", error, record)


async def list_records(
    services: Services, *, after: int, since: datetime | None, limit: int
) -> list[AuditRecord]:
    """Page the log in the order of its writing.

    Raises:
        InvalidInputError: Names the field.

    """
    if after < 0:
        raise InvalidInputError("must be 0 or more", field="after")
    if not 1 <= limit <= MAX_RECORDS:
        raise InvalidInputError(f"must be from 1 to {MAX_RECORDS}", field="limit")
    return await services.stores.audit.list_records(after=after, since=since, limit=limit)
