"""What every client command shares: the options that reach a server, and finding an actor."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from abaco.cli.client import AbacoClient, ApiError, ClientError
from abaco.cli.output import Printer

DEFAULT_URL = "http://127.0.0.1:8000"

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Session:
    """One command's server and printer."""

    client: AbacoClient
    printer: Printer

    def find_actor(self, reference: str) -> dict[str, Any]:
        """Return the actor with this id, or else the only one with this name.

        Raises:
            ClientError: No actor, or several, match.

        """
        try:
            found = self.client.get(reference)
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            return dict(found)
        named = [actor for actor in self.client.get() if actor.get("name") == reference]
        if not named:
            raise ClientError(
                f"no actor has the id or name {reference!r}; `abaco actors list` shows them"
            )
        if len(named) > 1:
            ids = ", ".join(actor["id"] for actor in named)
            raise ClientError(f"several actors are named {reference!r}; use an id: {ids}")
        return dict(named[0])

    def find_actor_id(self, reference: str) -> str:
        """Return the id of the actor with this id or name."""
        return str(self.find_actor(reference)["id"])


def client_options(*, json_flag: bool = True) -> Callable[[Command], Command]:
    """Give a command the client options and a Session as first argument.

    Args:
        json_flag: Whether ``--json`` asks for JSON output; ``send`` needs that word for itself.

    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(
            *args: Any,
            url: str,
            jwt_header: str | None,
            token_file: Path | None,
            output: str,
            as_json: bool = False,
            **options: Any,
        ) -> None:
            client = AbacoClient(url, _proof(jwt_header, token_file))
            printer = Printer(as_json=as_json or output == "json")
            function(Session(client, printer), *args, **options)

        decorated: Command = command
        for option in _options(json_flag=json_flag):
            decorated = option(decorated)
        return decorated

    return decorate


def _options(*, json_flag: bool) -> list[Callable[[Command], Command]]:
    options: list[Callable[[Command], Command]] = [
        click.option(
            "--token-file",
            envvar="ABACO_TOKEN_FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="File with the token for --jwt-header.",
        ),
        click.option(
            "--jwt-header",
            envvar="ABACO_JWT_HEADER",
            metavar="NAME",
            help="Header that carries the token, e.g. X-JWT-Assertion-DEV.",
        ),
        click.option(
            "--url",
            envvar="ABACO_URL",
            default=DEFAULT_URL,
            show_default=True,
            help="Base URL of the server.",
        ),
        click.option(
            "--output",
            "-o",
            type=click.Choice(["table", "json"]),
            default="table",
            help="json prints nothing but JSON.",
        ),
    ]
    if json_flag:
        options.append(click.option("--json", "as_json", is_flag=True, help="Same as -o json."))
    return options


def _proof(jwt_header: str | None, token_file: Path | None) -> dict[str, str]:
    if (jwt_header is None) != (token_file is None):
        raise click.UsageError("--jwt-header and --token-file belong together")
    if jwt_header is None or token_file is None:
        return {}
    return {jwt_header: token_file.read_text(encoding="utf-8").strip()}


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A decoded JSON value; a box, so that ``null`` is not "not given"."""

    value: Any


def json_value(context: click.Context, param: click.Parameter, text: str | None) -> JsonBody | None:
    """Decode an option's JSON value, or that in ``@file``; ``@-`` is standard input.

    Raises:
        click.BadParameter: It is no JSON, or the file cannot be read.

    """
    if text is None:
        return None
    try:
        if text.startswith("@"):
            with click.open_file(text[1:], encoding="utf-8") as file:
                text = file.read()
        return JsonBody(json.loads(text))
    except OSError as error:
        raise click.BadParameter(f"{error.filename} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise click.BadParameter(
            f"not JSON: {error} (a text needs quotes of its own: '\"text\"')"
        ) from error


def assignments(
    context: click.Context, param: click.Parameter, items: Sequence[str]
) -> dict[str, str]:
    """Take ``NAME=VALUE`` items apart.

    Raises:
        click.BadParameter: An item has no name or no ``=``.

    """
    pairs: dict[str, str] = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not (name and separator):
            raise click.BadParameter(f"{item!r} is not of the form NAME=VALUE")
        pairs[name] = value
    return pairs
