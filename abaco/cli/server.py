"""``abaco serve`` and ``abaco init``: run a server, write its configuration file."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from abaco.cli.output import Columns, Printer, examples
from abaco.config import Configuration, load
from abaco.config_text import render
from abaco.errors import AbacoError, ConfigError
from abaco.logs import set_up_logs

logger = logging.getLogger(__name__)

Command = Callable[..., None]

#: options of ``config_options`` and the keys they set
_FLAGS = {
    "address": ("web", "address"),
    "port": ("web", "port"),
    "data_dir": ("general", "data_dir"),
    "driver": ("engine", "driver"),
}


class ConfigurationFault(click.ClickException):
    """The configuration is wrong; ends the command with exit code 2.

    Args:
        faults: One per line.

    """

    exit_code = 2

    def __init__(self, faults: str) -> None:
        lines = faults.splitlines()
        if len(lines) > 1:
            lines.insert(0, f"{len(lines)} faults in the configuration:")
        super().__init__("\n  ".join(lines))


def config_options(function: Command) -> Command:
    """Add the options that choose a configuration file and override single keys."""
    options: list[Callable[[Command], Command]] = [
        click.option(
            "--config",
            "-c",
            type=click.Path(path_type=Path),
            help="Configuration file; without it the usual places are searched.",
        ),
        click.option("--address", help="Address to listen on."),
        click.option("--port", help="Port to listen on; 0 picks a free one."),
        click.option("--data-dir", help="Directory of everything kept on disk."),
        click.option("--driver", help="Container engine: auto, docker, podman."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def read_configuration(config: Path | None, options: Mapping[str, str | None]) -> Configuration:
    """Load the configuration with these flags on top.

    Raises:
        ConfigError: It is wrong.

    """
    flags = {place: options[name] for name, place in _FLAGS.items()}
    return load(config, flags=flags)


@click.command(
    epilog=examples(
        "abaco serve",
        "abaco serve --port 8080 --data-dir ~/abaco --driver podman",
        "abaco serve --show-config       what is in force, and who set it",
    )
)
@config_options
@click.option("--show-config", is_flag=True, help="Print the settings in force and stop.")
def serve(config: Path | None, *, show_config: bool, **flags: str | None) -> None:
    """Run the server until it is told to stop (Ctrl-C or SIGTERM)."""
    try:
        configuration = read_configuration(config, flags)
        if show_config:
            _show(configuration)
            return
        code = _run(configuration)
    except ConfigError as error:
        raise ConfigurationFault(error.message) from error
    except AbacoError as error:
        raise click.ClickException(error.message) from error
    sys.exit(code)


def _run(configuration: Configuration) -> int:
    # The one import of the composition root: no other command pays for it.
    from abaco import app

    set_up_logs(configuration.settings.logs)
    for line in configuration.notices():
        logger.warning("%s", line)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(app.serve(configuration.settings))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's when it is installed (``abaco[speed]``)."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
        "uvloop"
    ).new_event_loop
    return factory


def _show(configuration: Configuration) -> None:
    printer = Printer(as_json=False)
    printer.say(f"file: {configuration.path or 'none, built-in defaults'}")
    rows = [
        {"key": f"[{value.section}] {value.key}", "value": value.text, "origin": value.origin}
        for value in configuration.effective()
    ]
    columns = Columns({"key": "key", "value": "value", "origin": "set by"})
    printer.table(rows, columns, empty="")


@click.command()
@click.argument("path", default="abaco.conf", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def init(path: Path, *, force: bool) -> None:
    """Write a commented configuration file with every key to PATH (./abaco.conf)."""
    if path.is_dir():
        raise click.ClickException(
            f"{path} is a directory; name a file in it: `abaco init {path / 'abaco.conf'}`"
        )
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(render())
    except FileExistsError as error:
        raise click.ClickException(f"{path} is there already; --force replaces it") from error
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path}; `abaco serve --config {path}` uses it", err=True)
