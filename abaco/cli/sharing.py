"""``abaco actors share``, ``abaco aliases`` and ``abaco nonces``: let others in."""

from __future__ import annotations

import click

from abaco.cli.actors import actors
from abaco.cli.output import Columns, examples
from abaco.cli.session import Session, client_options

_ALIAS_COLUMNS = Columns({"alias": "alias", "actor_id": "actor", "owner": "owner"})

_NONCE_COLUMNS = Columns(
    {
        "id": "nonce",
        "level": "level",
        "current_uses": "used",
        "remaining_uses": "left",
        "last_use_time": "last use",
        "description": "description",
    }
)

LEVELS = click.Choice(["NONE", "READ", "EXECUTE", "UPDATE"], case_sensitive=False)


@actors.command(
    epilog=examples(
        "abaco actors share hello jane EXECUTE",
        "abaco actors share hello ABACO_WORLD READ",
    ),
)
@click.argument("actor")
@click.argument("user")
@click.argument("level", type=LEVELS)
@client_options()
def share(session: Session, actor: str, user: str, level: str) -> None:
    """Give USER a LEVEL on ACTOR; NONE takes it away again.

    READ shows the actor and all below it, EXECUTE also sends messages, UPDATE does everything.
    The user ABACO_WORLD stands for everybody in the tenant.
    """
    path = [session.find_actor_id(actor), "permissions"]
    body = {"user": user, "level": level}
    session.printer.record(session.client.request("POST", path, body=body, as_sent=True))


@click.group()
def aliases() -> None:
    """Names for actors that can be pointed at another actor."""


@aliases.command("list")
@client_options()
def list_aliases(session: Session) -> None:
    """List the aliases you may use, oldest first."""
    session.printer.table(
        session.client.get("aliases"),
        _ALIAS_COLUMNS,
        empty="no aliases yet; `abaco aliases create ALIAS ACTOR` makes one",
    )


@aliases.command("create")
@click.argument("alias")
@click.argument("actor")
@client_options()
def create_alias(session: Session, alias: str, actor: str) -> None:
    """Make ALIAS another name of ACTOR; it stands wherever the id does."""
    body = {"alias": alias, "actor_id": session.find_actor_id(actor)}
    session.printer.short(session.client.request("POST", ["aliases"], body=body), _ALIAS_COLUMNS)


@aliases.command("delete")
@click.argument("alias")
@client_options()
def delete_alias(session: Session, alias: str) -> None:
    """Delete ALIAS with its nonces; the actor stays."""
    session.client.request("DELETE", ["aliases", alias])
    if session.printer.as_json:
        session.printer.json({"alias": alias})
    session.printer.say(f"deleted {alias}")


@click.group()
def nonces() -> None:
    """Keys that let programs use an actor without a token of their own.

    A nonce goes into a URL as ?x-nonce=NONCE. Whoever has it acts as you, on this actor and up
    to its level; the server must be told to accept nonces ([web] accept_nonce).
    """


def _path(session: Session, target: str, *, alias: bool) -> list[str]:
    named = ["aliases", target] if alias else [session.find_actor_id(target)]
    return [*named, "nonces"]


_alias_option = click.option(
    "--alias", is_flag=True, help="TARGET is an alias, and the nonce belongs to it."
)


@nonces.command("list")
@click.argument("target")
@_alias_option
@client_options()
def list_nonces(session: Session, target: str, *, alias: bool) -> None:
    """List the nonces of TARGET, an actor, oldest first."""
    found = session.client.get(*_path(session, target, alias=alias))
    session.printer.table(found, _NONCE_COLUMNS, empty="no nonces")


@nonces.command("create")
@click.argument("target")
@_alias_option
@click.option("--level", type=LEVELS, help="What it allows; EXECUTE when not given.")
@click.option("--max-uses", type=click.IntRange(min=1), help="Requests it is good for.")
@click.option("--expires-in", type=click.IntRange(min=1), help="Seconds it is good for.")
@click.option("--description", help="For people.")
@client_options()
def create_nonce(
    session: Session,
    target: str,
    *,
    alias: bool,
    level: str | None,
    max_uses: int | None,
    expires_in: int | None,
    description: str | None,
) -> None:
    r"""Make a nonce for TARGET, an actor, and print it.

    \b
    Examples:
      abaco nonces create hello --max-uses 10
      abaco nonces create greeter --alias --level READ
    """
    given = {
        "level": level,
        "max_uses": max_uses,
        "expires_in": expires_in,
        "description": description,
    }
    body = {name: value for name, value in given.items() if value is not None}
    path = _path(session, target, alias=alias)
    session.printer.short(session.client.request("POST", path, body=body), _NONCE_COLUMNS)


@nonces.command("delete")
@click.argument("target")
@click.argument("nonce")
@_alias_option
@client_options()
def delete_nonce(session: Session, target: str, nonce: str, *, alias: bool) -> None:
    """Delete one NONCE of TARGET, an actor."""
    session.client.request("DELETE", [*_path(session, target, alias=alias), nonce])
    if session.printer.as_json:
        session.printer.json({"id": nonce})
    session.printer.say("deleted the nonce")
