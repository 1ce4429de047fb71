"""What every client command shares: the options that reach a server, and finding an actor."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from abaco.cli.client import AbacoClient, ApiError, ClientError
from abaco.cli.output import Printer
from abaco.domain.context import is_reserved

#: exit code of a program that Ctrl-C ended: 128 + SIGINT
INTERRUPTED: Final = 130

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the server is and what proves the caller; None means that nobody said."""

    url: str | None = None
    jwt_header: str | None = None
    token_file: Path | None = None
    ca: Path | None = None

    def or_else(self, other: Target) -> Target:
        """Take from another what this one does not say."""
        return Target(
            url=self.url or other.url,
            jwt_header=self.jwt_header or other.jwt_header,
            token_file=self.token_file or other.token_file,
            ca=self.ca or other.ca,
        )

    def client(self) -> AbacoClient:
        """Return a client of this server.

        Raises:
            ClientError: The URL is none, or the certificates to trust cannot be read.
            click.UsageError: Half a proof, or a token file that cannot be read.

        """
        return AbacoClient(self.url or DEFAULT_URL, self._proof(), ca=self.ca)

    def _proof(self) -> dict[str, str]:
        if self.token_file is None:
            if self.jwt_header is not None:
                raise click.UsageError("--jwt-header needs --token-file")
            return {}
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise click.UsageError(
                f"the token file {self.token_file} cannot be read: {error.strerror}"
            ) from error
        if self.jwt_header is None:
            return {"Authorization": f"Bearer {token}"}
        return {self.jwt_header: token}


def target_options(function: Command) -> Command:
    """Give the command above all others the options that reach a server, and a Target.

    What stands before a command's name, or in the environment, holds for the command unless it
    says otherwise itself. Here nothing is checked: not every command speaks to a server.
    """

    @functools.wraps(function)
    def group(
        *args: Any,
        url: str | None,
        jwt_header: str | None,
        token_file: Path | None,
        ca: Path | None,
        **options: Any,
    ) -> None:
        target = Target(url=url, jwt_header=jwt_header, token_file=token_file, ca=ca)
        click.get_current_context().obj = target
        function(*args, **options)

    decorated: Command = group
    for option in _target_options(from_environment=True):
        decorated = option(decorated)
    return decorated


def client_options(*, json_flag: bool = True) -> Callable[[Command], Command]:
    """Give a command the client options and a Session as first argument.

    Args:
        json_flag: Whether ``--json`` asks for JSON output; ``send`` needs that word for itself.

    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(
            *args: Any,
            url: str | None,
            jwt_header: str | None,
            token_file: Path | None,
            ca: Path | None,
            output: str,
            as_json: bool = False,
            **options: Any,
        ) -> None:
            target = Target(url=url, jwt_header=jwt_header, token_file=token_file, ca=ca)
            before = click.get_current_context().find_object(Target) or Target()
            printer = Printer(as_json=as_json or output == "json")
            function(Session(target.or_else(before).client(), printer), *args, **options)

        decorated: Command = command
        for option in _options(json_flag=json_flag):
            decorated = option(decorated)
        return decorated

    return decorate


def _target_options(*, from_environment: bool) -> list[Callable[[Command], Command]]:
    """Make ``--url``, ``--jwt-header``, ``--token-file`` and ``--ca``.

    Args:
        from_environment: Whether they are read there; once, lest it wins over the group's options.

    """

    def variable(name: str) -> str | None:
        return name if from_environment else None

    return [
        click.option(
            "--ca",
            envvar=variable("ABACO_CA"),
            type=click.Path(path_type=Path),
            help="File with the certificates of authorities to trust with https; else $ABACO_CA,"
            " else those this machine trusts.",
        ),
        click.option(
            "--token-file",
            envvar=variable("ABACO_TOKEN_FILE"),
            type=click.Path(path_type=Path),
            help="File with a bearer token, or that for --jwt-header; else $ABACO_TOKEN_FILE.",
        ),
        click.option(
            "--jwt-header",
            envvar=variable("ABACO_JWT_HEADER"),
            metavar="NAME",
            help="Header that carries the token instead of Authorization, e.g."
            " X-JWT-Assertion-DEV; else $ABACO_JWT_HEADER.",
        ),
        click.option(
            "--url",
            envvar=variable("ABACO_URL"),
            help=f"Base URL of the server; else $ABACO_URL, else {DEFAULT_URL}.",
        ),
    ]


def _options(*, json_flag: bool) -> list[Callable[[Command], Command]]:
    options = _target_options(from_environment=False)
    options.append(
        click.option(
            "--output",
            "-o",
            type=click.Choice(["table", "json"]),
            default="table",
            help="json prints nothing but JSON.",
        )
    )
    if json_flag:
        options.append(click.option("--json", "as_json", is_flag=True, help="Same as -o json."))
    return options


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


def variables(
    context: click.Context, param: click.Parameter, items: Sequence[str]
) -> dict[str, str]:
    """Take ``NAME=VALUE`` items apart that are to become variables of a container.

    Raises:
        click.BadParameter: An item is none, or the server would ignore it.

    """
    pairs = assignments(context, param, items)
    for name in pairs:
        if is_reserved(name):
            raise click.BadParameter(f"{name} is set by the server alone; use another name")
    return pairs
