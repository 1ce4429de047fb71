"""``abaco search``: find actors, executions, workers and logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from abaco.cli.client import snake_keys
from abaco.cli.output import Columns, examples
from abaco.cli.session import Session, client_options

#: most characters of a log in a table; ``abaco logs`` shows all
_LOG_LENGTH = 200

_COLUMNS: Mapping[str, Columns] = {
    "actors": Columns(
        {
            "id": "id",
            "name": "name",
            "status": "status",
            "image": "image",
            "create_time": "created",
        }
    ),
    "executions": Columns(
        {
            "id": "id",
            "actor_id": "actor",
            "status": "status",
            "exit_code": "exit",
            "message_received_time": "received",
            "finish_time": "finished",
        },
        spare=frozenset({"finish_time"}),
    ),
    "workers": Columns(
        {"id": "id", "actor_id": "actor", "status": "status", "create_time": "created"}
    ),
    "logs": Columns({"execution": "execution", "logs": "log"}),
}


@click.command(
    epilog=examples(
        "abaco search executions status=ERROR finish_time.gt=2024-05",
        'abaco search actors --words "sleep loop" --limit 5',
        'abaco search logs --exact "out of memory"',
    )
)
@click.argument("kind", metavar="TYPE", type=click.Choice(list(_COLUMNS), case_sensitive=False))
@click.argument("conditions", metavar="[FIELD[.OPERATOR]=VALUE]...", nargs=-1)
@click.option("--actor", help="Only this actor, or what belongs to it.")
@click.option("--words", help="Words of which one must be there; more of them come first.")
@click.option("--exact", multiple=True, help="A phrase that must be there; may be repeated.")
@click.option("--limit", type=click.IntRange(min=0), help="Most items shown; 100 if not given.")
@click.option("--skip", type=click.IntRange(min=0), help="Leave out so many before them.")
@client_options()
def search(
    session: Session,
    kind: str,
    conditions: tuple[str, ...],
    *,
    actor: str | None,
    words: str | None,
    exact: tuple[str, ...],
    limit: int | None,
    skip: int | None,
) -> None:
    """Find what you may read: TYPE is actors, executions, workers or logs.

    All conditions must hold. OPERATOR is one of eq neq lt lte gt gte in nin like nlike between;
    without one the field equals the value. Dots lead into nested objects, as in
    final_state.ExitCode=0. Oldest first, or with --words the best first.
    """
    given = {"search": words, "limit": limit, "skip": skip}
    query = [_split(condition) for condition in conditions]
    query += [(key, str(value)) for key, value in given.items() if value is not None]
    query += [("exactsearch", phrase) for phrase in exact]
    if actor is not None:
        query.append(("id" if kind == "actors" else "actor_id", session.find_actor_id(actor)))
    found = session.client.request("GET", ["search", kind], query=query)
    items, metadata = snake_keys(found["search"]), snake_keys(found["_metadata"])
    if session.printer.as_json:
        session.printer.json({"_metadata": metadata, "search": items})
        return
    shown = [_brief_log(item) for item in items] if kind == "logs" else items
    session.printer.table(shown, _COLUMNS[kind], empty="nothing found")
    if len(items) < metadata["total_count"]:
        session.printer.say(f"{len(items)} of {metadata['total_count']}; --limit and --skip page")


def _split(condition: str) -> tuple[str, str]:
    key, sign, value = condition.partition("=")
    if not (sign and key):
        raise click.BadParameter(f"{condition!r} is not of the form FIELD=VALUE")
    return key, value


def _brief_log(item: Mapping[str, Any]) -> dict[str, Any]:
    execution = item["_links"]["execution"].rpartition("/")[2]
    text = item["logs"]
    cut = f"{text[:_LOG_LENGTH]}..." if len(text) > _LOG_LENGTH else text
    return {"execution": execution, "logs": cut}
