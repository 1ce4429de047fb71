"""The audit log: who did what to what, when, and how it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from abaco.domain.ids import Tenant

#: longest text kept of anything a client may choose
MAX_TEXT = 256

#: hexadecimal digits of a nonce's fingerprint: enough to tell nonces apart, useless as a key
FINGERPRINT_LENGTH = 12


class AuditOutcome(StrEnum):
    """How a request ended."""

    DONE = "done"
    REFUSED = "refused"  # the caller may not do this
    FAILED = "failed"  # by a fault of ours; whether anything changed, the server's log tells


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One request that changed something administrative, or was refused to.

    Invariant: no message, state, environment, nonce, secret or token is in any field.

    Attributes:
        seq: Place in the log, from 1; 0 before the store has given one.
        action: What was asked for, as ``<noun>.<verb>``.
        object: ``<kind>:<name>`` of what it was asked for; empty for the whole instance.
        proof: What the request proved itself with: ``token``, ``open`` (no access control), or
            ``nonce:`` and the fingerprint of the nonce.
        detail: What tells this request from others of its kind.

    """

    time: datetime
    action: str
    outcome: AuditOutcome
    status: int
    tenant: Tenant
    user: str
    roles: tuple[str, ...]
    proof: str
    object: str
    request_id: str
    remote_address: str
    detail: Mapping[str, str] = field(default_factory=dict)
    seq: int = 0


def fingerprint(nonce: str) -> str:
    """Return what stands for a nonce in the audit log."""
    return hashlib.sha256(nonce.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def shorten(text: str) -> str:
    """Cut a text a client chose, and what cannot be shown out of it."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:MAX_TEXT])
