"""``abaco admin``: the whole instance, for administrators."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from abaco.cli.client import snake_keys
from abaco.cli.keys import rotate_key
from abaco.cli.output import Columns, examples
from abaco.cli.session import Session, client_options

_ACTOR_COLUMNS = Columns(
    {
        "tenant": "tenant",
        "id": "id",
        "name": "name",
        "owner": "owner",
        "status": "status",
        "image": "image",
        "workers": "workers",
        "messages": "waiting",
        "executions": "executions",
        "runtime": "runtime, s",
    },
    spare=frozenset({"image", "runtime"}),
)

_WORKER_COLUMNS = Columns(
    {
        "tenant": "tenant",
        "actor_id": "actor",
        "id": "id",
        "status": "status",
        "image": "image",
        "create_time": "created",
        "last_execution_time": "last execution",
    },
    spare=frozenset({"image", "create_time"}),
)

_EXECUTION_COLUMNS = Columns(
    {
        "actor_id": "actor",
        "owner": "owner",
        "image": "image",
        "total_executions": "executions",
        "total_execution_runtime": "runtime, s",
        "total_execution_cpu": "cpu, ns",
        "total_execution_io": "io, bytes",
    },
    spare=frozenset({"image", "total_execution_io"}),
)

_AUDIT_COLUMNS = Columns(
    {
        "id": "id",
        "time": "time",
        "tenant": "tenant",
        "user": "user",
        "action": "action",
        "object": "object",
        "outcome": "outcome",
        "detail": "detail",
        "proof": "proof",
        "remote_address": "from",
    },
    spare=frozenset({"id", "proof", "remote_address"}),
)

#: records of the audit log asked for at once
_PAGE = 1000


@click.group()
def admin() -> None:
    """Look after the whole instance; for administrators."""


admin.add_command(rotate_key)


@admin.command()
@client_options()
def utilization(session: Session) -> None:
    """Show how many actors, workers and waiting commands there are; takes no special role."""
    session.printer.record(session.client.get("utilization"))


@admin.command("actors")
@client_options()
def list_actors(session: Session) -> None:
    """List the actors of all tenants, oldest first."""
    found = session.client.get("admin")
    if not session.printer.as_json:
        found = [{**actor, "workers": len(actor["workers"])} for actor in found]
    session.printer.table(found, _ACTOR_COLUMNS, empty="no actors")


@admin.command("workers")
@client_options()
def list_workers(session: Session) -> None:
    """Count and list the workers of all tenants, oldest first."""
    _with_summary(session, "workers", _WORKER_COLUMNS, empty="no workers")


@admin.command("executions")
@client_options()
def list_executions(session: Session) -> None:
    """Show what actors have used: in all, deleted ones too, and each that exists."""
    _with_summary(session, "executions", _EXECUTION_COLUMNS, key="actors", empty="no actors")


def _with_summary(
    session: Session, path: str, columns: Columns, *, empty: str, key: str = ""
) -> None:
    found = session.client.get("admin", path)
    found = {name: snake_keys(part) for name, part in found.items()}
    if session.printer.as_json:
        session.printer.json(found)
        return
    session.printer.record(found["summary"])
    session.printer.table(found[key or path], columns, empty=empty)


@admin.command(
    epilog=examples(
        "abaco admin audit --hours 1",
        "abaco admin audit --hours 720 --json",
    )
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True, max=24 * 36_500),
    default=24.0,
    show_default=True,
    help="How far back to begin.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Most records to show.")
@client_options()
def audit(session: Session, hours: float, limit: int | None) -> None:
    """Show who changed what: the audit log, in the order of its writing."""
    since = datetime.now(UTC) - timedelta(hours=hours)
    records = list(_records(session, since, limit))
    session.printer.table(records, _AUDIT_COLUMNS, empty=f"nothing in the last {hours:g} hours")


def _records(session: Session, since: datetime, limit: int | None) -> Iterator[dict[str, Any]]:
    """Ask page by page until there is no more, or enough."""
    after, left = 0, limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        query = {"after": str(after), "since": since.isoformat(), "limit": str(size)}
        page = session.client.request("GET", ["admin", "audit"], query=query)
        yield from page
        if len(page) < size:
            return
        after = page[-1]["id"]
        left = None if left is None else left - size
