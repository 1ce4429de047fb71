"""What of a request goes into the audit log. Nothing of its body or query does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tornado.httputil import HTTPServerRequest

from abaco.domain.audit import AuditOutcome, AuditRecord, fingerprint, shorten
from abaco.domain.caller import ALL_ROLE, Caller
from abaco.errors import ForbiddenError
from abaco.operations.access import Scope
from handlers.parameters import NONCE_PARAMETER, read_query


def outcome_of(
    status: int, raised: BaseException | None, *, is_reading: bool
) -> AuditOutcome | None:
    """Tell how a request ended, None when that is no matter of the audit log.

    A request that was only wrong has changed nothing, and reading changes nothing; to be refused
    is worth a record in any case.
    """
    if isinstance(raised, ForbiddenError):
        return AuditOutcome.REFUSED
    if is_reading or 400 <= status < 500:
        return None
    return AuditOutcome.DONE if status < 400 else AuditOutcome.FAILED


def make_record(
    request: HTTPServerRequest,
    caller: Caller,
    *,
    now: datetime,
    action: str,
    outcome: AuditOutcome,
    status: int,
    object_name: str,
    request_id: str,
    detail: Mapping[str, str],
) -> AuditRecord:
    """Put a record together."""
    return AuditRecord(
        time=now,
        action=action,
        outcome=outcome,
        status=status,
        tenant=caller.tenant,
        user=shorten(caller.user),
        roles=tuple(shorten(role) for role in sorted(caller.roles)),
        proof=_proof(request, caller),
        object=object_name,
        request_id=request_id,
        remote_address=request.remote_ip or "",
        detail={name: shorten(text) for name, text in detail.items()},
    )


def named_object(scope: Scope, path_args: list[str]) -> str:
    """Name what a path asks for when nobody has looked it up: the caller was refused before."""
    if scope is Scope.NOTHING or not path_args:
        return ""
    return f"{scope}:{shorten(path_args[0])}"


def _proof(request: HTTPServerRequest, caller: Caller) -> str:
    if caller.nonce_level is not None:
        return f"nonce:{fingerprint(read_query(request)[NONCE_PARAMETER][0])}"
    return "open" if ALL_ROLE in caller.roles else "token"
