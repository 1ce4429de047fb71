"""``abaco workers``: what an actor's workers do, more of them, and one less."""

from __future__ import annotations

import click

from abaco.cli.output import Columns, examples
from abaco.cli.session import Session, client_options

_COLUMNS = Columns(
    {
        "id": "id",
        "status": "status",
        "image": "image",
        "cid": "container",
        "create_time": "created",
        "last_execution_time": "last execution",
    },
    spare=frozenset({"create_time"}),
)

#: most workers one request may ask for
_MOST = 100


@click.command(
    epilog=examples(
        "abaco workers hello",
        "abaco workers hello --at-least 3       at once, not as messages wait",
        "abaco workers hello --drain WORKER     it finishes its message first",
    )
)
@click.argument("actor")
@click.option("--at-least", type=click.IntRange(1, _MOST), help="Ask for so many in all.")
@click.option("--drain", metavar="WORKER", help="Send this worker away.")
@client_options()
def workers(session: Session, actor: str, at_least: int | None, drain: str | None) -> None:
    """List the workers of ACTOR and what they do."""
    owner = session.find_actor(actor)
    path = [str(owner["id"]), "workers"]
    if drain is not None:
        session.client.request("DELETE", [*path, drain])
    if at_least is not None:
        session.client.request("POST", path, body={"num": at_least})
    found = session.client.get(*path)
    empty = "no workers; a message starts one"
    if owner["status"] == "ERROR":
        empty = "no workers"
        reason = str(owner.get("status_message", "")).strip() or "no reason"
        session.printer.say(
            f"the actor is in ERROR ({reason}); no worker starts before an update, e.g."
            f" `abaco actors update {actor} --force`"
        )
    session.printer.table(found, _COLUMNS, empty=empty)
