"""The ``abaco`` command and its groups."""

from __future__ import annotations

import os
import sys

import click

import abaco
from abaco.cli.actors import actors
from abaco.cli.admin import admin
from abaco.cli.binary import results
from abaco.cli.configs import configs
from abaco.cli.doctor import doctor
from abaco.cli.messages import executions, halt, logs, send
from abaco.cli.search import search
from abaco.cli.server import init, serve
from abaco.cli.session import target_options
from abaco.cli.sharing import aliases, nonces
from abaco.cli.state import state
from abaco.cli.token import token
from abaco.cli.workers import workers

_HELP = """\
Containers that answer messages.

An actor is a container image plus settings. Each message sent to it runs in a fresh container;
the run is called an execution and has a log and an exit code.

\b
One minute:
  abaco doctor                                   is this machine ready?
  abaco serve                                    start one; Ctrl-C stops it
  abaco actors create IMAGE --name hello --wait  in a second terminal
  abaco send hello "How are you?" --wait         watch the answer

The options below say where the client commands find the server; they may stand before the command
or after it.
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(abaco.__version__, prog_name="abaco")
@target_options
def cli() -> None:
    """Hold the commands; the text for people is in ``_HELP``."""


def _keep_examples(command: click.Command) -> click.Command:
    """Let examples stand as they are written.

    Click wants a backspace before them. Docstrings spell it with backslash and b, being raw.
    """
    command.help = (command.help or "").replace(r"\b", "\b")
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _keep_examples(below)
    return command


for _command in (
    serve,
    doctor,
    init,
    actors,
    send,
    executions,
    halt,
    logs,
    results,
    search,
    state,
    workers,
    aliases,
    nonces,
    configs,
    admin,
    token,
):
    cli.add_command(_keep_examples(_command))


def main() -> None:
    """Run the command line; ends the process.

    Exit codes: 0 fine, 1 the server, the engine or the execution failed, 2 wrong usage or
    configuration, 130 Ctrl-C ended the waiting.
    """
    try:
        cli(prog_name="abaco")
    except OSError as error:
        if not _give_up_stdout():
            raise
        click.echo(f"Error: standard output cannot be written: {error.strerror}", err=True)
        sys.exit(1)


def _give_up_stdout() -> bool:
    """Tell whether standard output is what failed; if so, drop what it still holds.

    What failed fails again: here, where one more newline does no harm, and when the interpreter
    writes what is left as it ends, hence the null device. Source: the note on SIGPIPE in the
    documentation of Python's signal module.
    """
    try:
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
