"""``abaco state``: the user's value an actor keeps between executions."""

from __future__ import annotations

import click

from abaco.cli.output import examples
from abaco.cli.session import JsonBody, Session, client_options, json_value


@click.group()
def state() -> None:
    """Read and write the state of an actor."""


@state.command("get")
@click.argument("actor")
@client_options()
def get_state(session: Session, actor: str) -> None:
    """Print the state of ACTOR as JSON."""
    answer = session.client.get(session.find_actor_id(actor), "state")
    session.printer.json(answer["state"])


@state.command(
    "set",
    epilog=examples(
        """abaco state set counter '{"count": 0}'""",
        "abaco state set counter @state.json",
    ),
)
@click.argument("actor")
@click.argument("value", metavar="JSON|@FILE", callback=json_value)
@client_options()
def set_state(session: Session, actor: str, value: JsonBody) -> None:
    """Write VALUE, a JSON value or @file, as the state of ACTOR."""
    actor_id = session.find_actor_id(actor)
    answer = session.client.request("POST", [actor_id, "state"], body=value.value)
    if session.printer.as_json:
        session.printer.json(answer["state"])
    session.printer.say(f"state of {actor_id} written")
