"""The ``abaco`` command and its groups."""

from __future__ import annotations

import click

import abaco
from abaco.cli.actors import actors, workers
from abaco.cli.doctor import doctor
from abaco.cli.messages import executions, halt, logs, send
from abaco.cli.server import init, serve
from abaco.cli.state import state

_HELP = """\
Containers that answer messages.

An actor is a container image plus settings. Each message sent to it runs in a fresh container;
the run is called an execution and has a log and an exit code.

\b
One minute:
  abaco doctor                                   is this machine ready?
  abaco serve                                    start the server (stop it with Ctrl-C)
  abaco actors create IMAGE --name hello --wait  in a second terminal
  abaco send hello "How are you?" --wait         send a message and watch the answer

\b
Where the client commands find the server (options or environment variables):
  --url         ABACO_URL         base URL, http://127.0.0.1:8000 without it
  --jwt-header  ABACO_JWT_HEADER  header that carries the proof, e.g. X-JWT-Assertion-DEV
  --token-file  ABACO_TOKEN_FILE  file with the token for that header
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(abaco.__version__, prog_name="abaco")
def cli() -> None:
    """Hold the commands; the text for people is in ``_HELP``."""


for _command in (
    serve,
    doctor,
    init,
    actors,
    send,
    executions,
    halt,
    logs,
    state,
    workers,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; ends the process.

    Exit codes: 0 fine, 1 the server, the engine or the execution failed, 2 wrong usage or
    configuration.
    """
    cli(prog_name="abaco")
