"""``abaco actors``: register, look at, change and delete actors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from abaco.cli.follow import wait_until_ready
from abaco.cli.output import Columns, examples
from abaco.cli.session import INTERRUPTED, Command, Session, client_options, variables

_COLUMNS = Columns(
    {
        "id": "id",
        "name": "name",
        "status": "status",
        "image": "image",
        "stateless": "stateless",
        "revision": "revision",
        "create_time": "created",
        "cron_next_ex": "next cron",
    },
    spare=frozenset({"stateless", "revision", "cron_next_ex"}),
)

#: attributes that a PUT puts back to their defaults when they are not sent
_REPLACED = (
    "image",
    "description",
    "type",
    "token",
    "link",
    "webhook",
    "hints",
    "privileged",
    "max_workers",
    "mem_limit",
    "max_cpus",
    "queue",
    "use_container_uid",
    "default_environment",
    "log_ex",
    "max_run_time",
    "read_only_rootfs",
    "network",
)

#: what the server shows for attributes nobody set; not worth sending back
_DEFAULTS: Mapping[str, Any] = {"type": "none", "queue": "default"}


@click.group()
def actors() -> None:
    """Register, look at, change and delete actors."""


def _attributes(*, env_help: str) -> Callable[[Command], Command]:
    """Add the options for what an actor is made of."""

    def decorate(function: Command) -> Command:
        for option in reversed(_attribute_options(env_help)):
            function = option(function)
        return function

    return decorate


def _attribute_options(env_help: str) -> list[Callable[[Command], Command]]:
    return [
        click.option("--description", help="For people."),
        click.option(
            "--env",
            "-e",
            metavar="NAME=VALUE",
            multiple=True,
            callback=variables,
            help=env_help,
        ),
        click.option("--max-workers", type=click.IntRange(min=1), help="Executions at once."),
        click.option("--mem-limit", metavar="SIZE", help="Memory: 512m, 3g. For privileged users."),
        click.option(
            "--cpus",
            type=click.FloatRange(min=0, min_open=True),
            help="CPUs: 0.5. For privileged users.",
        ),
        click.option("--queue", help="Where its workers get their places."),
        click.option(
            "--hint",
            "hints",
            multiple=True,
            help="'sync' keeps a worker ready; other words are yours. Name all at once.",
        ),
        click.option(
            "--link", metavar="ACTOR", help="Tell this actor what happens. An empty text: nobody."
        ),
        click.option(
            "--webhook", metavar="URL", help="Tell this URL what happens. An empty text: nobody."
        ),
        click.option(
            "--webhook-secret-file",
            type=click.File("r"),
            help="Sign what the webhook is sent with the secret (whsec_...) in this file; an empty"
            " file: no more.",
        ),
        click.option(
            "--token/--no-token",
            default=None,
            help="Give executions an access token that speaks for the actor's owner.",
        ),
        click.option("--log-ex", type=int, help="Seconds logs are kept."),
        *_limit_options(),
        click.option(
            "--cron",
            "cron_schedule",
            metavar="SCHEDULE",
            help="When to run by itself: 'now + 6 hours', '2030-1-31 8 + 1 month' (UTC), or five"
            " cron fields, 'CRON_TZ=Europe/Berlin 30 6 * * 1-5'. An empty text removes it.",
        ),
        click.option("--cron-on/--cron-off", default=None, help="Follow the schedule, or pause."),
        *_power_options(),
        click.option("--wait", "-w", is_flag=True, help="Return when the actor is ready."),
        click.option(
            "--timeout", type=float, default=600.0, show_default=True, help="Seconds for --wait."
        ),
    ]


def _limit_options() -> list[Callable[[Command], Command]]:
    """Return the options by which an owner confines an actor more than the server does."""
    return [
        click.option(
            "--max-run-time", type=click.IntRange(min=-1), help="Seconds an execution may last."
        ),
        click.option(
            "--read-only/--writable",
            "read_only_rootfs",
            default=None,
            help="Let executions write to mounts and /tmp only.",
        ),
        click.option(
            "--network",
            type=click.Choice(["none", "default"]),
            callback=lambda _, __, word: "" if word == "default" else word,
            help="none: executions reach nothing, this server included.",
        ),
    ]


def _power_options() -> list[Callable[[Command], Command]]:
    """Return the options that the server takes of privileged users only."""
    return [
        click.option(
            "--privileged/--no-privileged",
            default=None,
            help="Run privileged, with the engine's socket.",
        ),
        click.option(
            "--use-container-uid/--use-owner-uid",
            "use_container_uid",
            default=None,
            help="Run as the image's user, or as whom the server finds for the owner.",
        ),
    ]


def _body(options: Mapping[str, Any]) -> dict[str, Any]:
    """Name the given options as the API does."""
    names = (
        "name", "image", "description", "max_workers", "mem_limit", "log_ex", "privileged",
        "use_container_uid", "cron_schedule", "cron_on", "queue", "link", "webhook", "token",
        "max_run_time", "read_only_rootfs", "network",
    )  # fmt: skip
    body = {name: options[name] for name in names if options.get(name) is not None}
    if options["cpus"] is not None:
        body["max_cpus"] = round(options["cpus"] * 1_000_000_000)
    if options["webhook_secret_file"] is not None:
        body["webhook_secret"] = options["webhook_secret_file"].read().strip()
    if options["hints"]:
        body["hints"] = list(options["hints"])
    if options["env"]:
        body["default_environment"] = options["env"]
    return body


def _report(session: Session, actor: Mapping[str, Any], *, wait: bool, timeout: float) -> None:
    actor_id = str(actor["id"])
    if wait:
        try:
            with session.printer.progress("waiting for a worker") as progress:
                actor = wait_until_ready(
                    session.client, actor_id, on_status=progress.show, timeout_s=timeout
                )
        except KeyboardInterrupt:
            click.echo(
                f"\nactor {actor_id} goes on getting ready; `abaco actors show {actor_id}` tells"
                " its status",
                err=True,
            )
            click.get_current_context().exit(INTERRUPTED)
    session.printer.short(actor, _COLUMNS)


@actors.command(
    epilog=examples(
        "abaco actors create abaco/hello --name hello --wait",
        "abaco actors create counter:1 --stateful -e STEP=2 --mem-limit 256m",
        "abaco actors create report:1 --cron 'CRON_TZ=Europe/Berlin 30 6 * * 1-5'",
    )
)
@click.argument("image")
@click.option("--name", help="A name to call it by in these commands.")
@click.option("--stateful", is_flag=True, help="One execution at a time, in order, with a state.")
@_attributes(env_help="Environment variable of every execution; may be repeated.")
@client_options()
def create(session: Session, *, stateful: bool, wait: bool, timeout: float, **options: Any) -> None:
    """Register an actor that runs IMAGE."""
    body = _body(options) | {"stateless": not stateful}
    _warn_of_namesakes(session, options["name"])
    actor = session.client.request("POST", (), body=body)
    _report(session, actor, wait=wait, timeout=timeout)


def _warn_of_namesakes(session: Session, name: str | None) -> None:
    """Say that a name will not do to tell the new actor from others; the server allows that."""
    if name is None:
        return
    others = [str(actor["id"]) for actor in session.client.get() if actor.get("name") == name]
    if others:
        session.printer.say(
            f"warning: the name {name!r} is in use already ({', '.join(others)}); commands will"
            " need the id of the actor they mean"
        )


@actors.command("list")
@client_options()
def list_actors(session: Session) -> None:
    """List your actors, oldest first."""
    session.printer.table(
        session.client.get(),
        _COLUMNS,
        empty="no actors yet; `abaco actors create IMAGE --name NAME` makes one",
    )


@actors.command()
@click.argument("actor")
@client_options()
def show(session: Session, actor: str) -> None:
    """Show one ACTOR (an id, or a unique name)."""
    session.printer.record(session.find_actor(actor))


@actors.command(
    epilog=examples(
        "abaco actors update hello --image abaco/hello:2 --wait",
        "abaco actors update hello --force     same image name, built anew",
    )
)
@click.argument("actor")
@click.option("--image", help="Run this image from now on.")
@click.option("--force", is_flag=True, help="New workers, though the image's name is the same.")
@_attributes(
    env_help="Environment variable of every execution; may be repeated. Those given replace ALL"
    " variables the actor had."
)
@client_options()
def update(
    session: Session, actor: str, *, force: bool, wait: bool, timeout: float, **options: Any
) -> None:
    """Change ACTOR; what is not named stays as it is.

    Variables count as one: with -e, name all the actor shall have.
    """
    changes = _body(options) | ({"force": True} if force else {})
    if not changes:
        raise click.UsageError("nothing to change: name what, or --force for new workers")
    found = session.find_actor(actor)
    body = _kept(found) | changes
    answer = session.client.request("PUT", [found["id"]], body=body)
    _report(session, answer, wait=wait, timeout=timeout)


def _kept(actor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes to send so that a full replacement leaves them as they are."""
    kept = {name: actor[name] for name in _REPLACED if actor.get(name)}
    kept = {name: value for name, value in kept.items() if _DEFAULTS.get(name) != value}
    if not isinstance(kept.get("token"), bool):  # text is the server's default, not a choice
        kept.pop("token", None)
    return kept


@actors.command()
@click.argument("actor")
@client_options()
def delete(session: Session, actor: str) -> None:
    """Delete ACTOR with its workers and logs; a running execution is stopped."""
    actor_id = session.find_actor_id(actor)
    session.client.request("DELETE", [actor_id])
    if session.printer.as_json:
        session.printer.json({"id": actor_id})
    session.printer.say(f"deleted {actor_id}")
