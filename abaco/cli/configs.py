"""``abaco configs``: values and secrets that actors are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from abaco.cli.client import ApiError
from abaco.cli.output import Columns, examples
from abaco.cli.session import Session, client_options
from abaco.cli.sharing import LEVELS

_COLUMNS = Columns({"name": "name", "value": "value", "is_secret": "secret", "actors": "actors"})

#: what stands for the value of a secret; the ciphertext tells people nothing
HIDDEN = "(secret)"


@click.group()
def configs() -> None:
    """Values and secrets that actors are given in _actor_configs."""


def _hide(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, **({"value": HIDDEN} if config["is_secret"] else {})}


@configs.command("list")
@client_options()
def list_configs(session: Session) -> None:
    """List the configs you may read, by name."""
    session.printer.table(
        [_hide(config) for config in session.client.get("configs")],
        _COLUMNS,
        empty="no configs yet; `abaco configs set NAME VALUE --actors ACTOR` makes one",
    )


@configs.command("get")
@click.argument("name")
@client_options()
def get_config(session: Session, name: str) -> None:
    """Show the config NAME."""
    session.printer.record(_hide(session.client.get("configs", name)))


def _value(context: click.Context, param: click.Parameter, text: str | None) -> str | None:
    """Take a value as it is typed, or out of a file without the newline at its end.

    Raises:
        click.BadParameter: The file cannot be read, or is no text.

    """
    if text is None or not text.startswith("@"):
        return text
    try:
        with click.open_file(text[1:], encoding="utf-8") as file:
            return str(file.read()).removesuffix("\n")
    except OSError as error:
        raise click.BadParameter(f"{error.filename} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise click.BadParameter(f"{text[1:]} is no UTF-8 text") from error


@configs.command(
    "set",
    epilog=examples(
        """abaco configs set limits '{"rows": 10}' --actors hello,greeter""",
        "abaco configs set password @password.txt --secret --actors hello",
        "pass show db | abaco configs set password @- --secret",
    ),
)
@click.argument("name")
@click.argument("value", metavar="TEXT|@FILE", required=False, callback=_value)
@click.option("--secret/--no-secret", default=None, help="Keep the value encrypted.")
@click.option("--actors", help="Ids, names or aliases of actors, with commas between them.")
@client_options()
def set_config(
    session: Session, name: str, value: str | None, *, secret: bool | None, actors: str | None
) -> None:
    """Make the config NAME, or change it.

    VALUE is a text, @file or @- (standard input): a secret is better not typed where others see
    it. Without VALUE it is asked for. What is not said of a config that is there stays.
    """
    present = _find(session, name)
    if present is None and actors is None:
        raise click.UsageError("say with --actors which actors a new config is for")
    if value is None and (present is None or secret not in (None, present["is_secret"])):
        value = click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)
    before = present or {"is_secret": False}
    body = {
        "name": name,
        "value": before["value"] if value is None else value,
        "is_secret": before["is_secret"] if secret is None else secret,
        "actors": before["actors"] if actors is None else _resolve(session, actors),
    }
    path = ["configs"] if present is None else ["configs", name]
    method = "POST" if present is None else "PUT"
    session.printer.short(_hide(session.client.request(method, path, body=body)), _COLUMNS)


def _find(session: Session, name: str) -> dict[str, Any] | None:
    try:
        return dict(session.client.get("configs", name))
    except ApiError as error:
        if error.status != 404:
            raise
        return None


def _resolve(session: Session, actors: str) -> str:
    """Put ids in the place of names; aliases stay, so that they may be pointed elsewhere."""
    known = {alias["alias"] for alias in session.client.get("aliases")}
    entries = [entry.strip() for entry in actors.split(",")]
    return ",".join(
        entry if not entry or entry in known else session.find_actor_id(entry) for entry in entries
    )


@configs.command("delete")
@click.argument("name")
@client_options()
def delete_config(session: Session, name: str) -> None:
    """Delete the config NAME; executions that run keep what they were given."""
    session.client.request("DELETE", ["configs", name])
    if session.printer.as_json:
        session.printer.json({"name": name})
    session.printer.say(f"deleted {name}")


@configs.command(epilog=examples("abaco configs share limits jane READ"))
@click.argument("name")
@click.argument("user")
@click.argument("level", type=LEVELS)
@client_options()
def share(session: Session, name: str, user: str, level: str) -> None:
    """Give USER a LEVEL on the config NAME; NONE takes it away again.

    READ shows it, a secret as ciphertext; UPDATE changes it, and so decides which actors are given
    the value. The user ABACO_WORLD stands for everybody in the tenant.
    """
    body = {"user": user, "level": level}
    path = ["configs", name, "permissions"]
    session.printer.record(session.client.request("POST", path, body=body, as_sent=True))
