"""``abaco token``: sign a bearer token with the keys of the installation on this machine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from abaco.cli.output import examples
from abaco.cli.server import ConfigurationFault
from abaco.config import Settings, load
from abaco.domain.caller import check_tenant, is_user_name
from abaco.domain.ids import Tenant
from abaco.errors import ConfigError, InvalidInputError
from abaco.ports.tokens import Identity
from backends.system import SystemClock
from backends.tokens.own import MAX_VALID, KeyFile
from backends.tokens.select import key_file, own_tokens


@click.command(
    epilog=examples(
        "(umask 077; abaco token jane > token.txt)",
        "abaco token jane --role Internal/abaco-admin --hours 1",
        "abaco --token-file token.txt actors list",
        "abaco token jane --new-key        sign with a fresh key from now on",
    )
)
@click.argument("user")
@click.option("--tenant", help="Tenant of the token; without it [web] tenant_name.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    help="A role the token gives, may be repeated; without it the role of base use.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0, MAX_VALID / timedelta(hours=1), min_open=True),
    default=8.0,
    show_default=True,
    help="How long it is valid.",
)
@click.option("--new-key", is_flag=True, help="Make a new key first; tokens of older keys stay.")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Configuration file.")
@click.option("--data-dir", help="Directory of everything kept on disk.")
def token(
    user: str,
    *,
    tenant: str | None,
    roles: tuple[str, ...],
    hours: float,
    new_key: bool,
    config: Path | None,
    data_dir: str | None,
) -> None:
    """Print a bearer token that makes whoever has it USER.

    Runs on the machine of the server, as a user who may read its data directory; the server need
    not run, and takes the token if [web] accept_bearer is true. Whoever can read the keys can be
    anybody: they are for development and for sites without a gateway.
    """
    try:
        settings = load(config, flags={("general", "data_dir"): data_dir}).settings
        identity = _identity(settings, user, tenant, roles)
        clock = SystemClock()
        if new_key:
            KeyFile(key_file(settings)).rotate(clock.now())
        text = own_tokens(settings, clock).mint(identity, timedelta(hours=hours))
    except ConfigError as error:
        raise ConfigurationFault(error.message) from error
    click.echo(text)
    if not settings.web.accept_bearer:
        click.echo("note: no server takes it before [web] accept_bearer is true", err=True)


def _identity(
    settings: Settings, user: str, tenant: str | None, roles: tuple[str, ...]
) -> Identity:
    if not is_user_name(user):
        raise click.BadParameter("nobody can be called so", param_hint="USER")
    try:
        known: Tenant = check_tenant(tenant or settings.web.tenant_name)
    except InvalidInputError as error:
        raise click.BadParameter(error.message, param_hint="--tenant") from error
    return Identity(tenant=known, user=user, roles=frozenset(roles or {settings.web.user_role}))
