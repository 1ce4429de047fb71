"""``abaco doctor``: look at this machine and say what would keep the server from working."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from abaco.cli.findings import Finding, Level
from abaco.cli.output import Columns, Printer, examples
from abaco.cli.server import config_options, read_configuration
from abaco.errors import ConfigError

_COLUMNS = Columns({"level": "level", "check": "check", "what": "found", "remedy": "what to do"})


@click.command(
    epilog=examples("abaco doctor", "abaco doctor --driver podman --data-dir ~/abaco"),
)
@config_options
@click.option("--json", "as_json", is_flag=True, help="Print nothing but JSON.")
def doctor(config: Path | None, *, as_json: bool, **flags: str | None) -> None:
    """Check store, engine, port and host limits; each finding comes with its remedy.

    Returns 0 when the server can work here, 1 when something must be repaired first.
    """
    # The checks reach into drivers; the other commands need none of that.
    from abaco.cli.checks import examine

    try:
        findings: Sequence[Finding] = examine(read_configuration(config, flags).settings)
    except ConfigError as error:
        findings = [
            Finding(
                check="configuration",
                level=Level.ERROR,
                what=fault,
                remedy="`abaco init PATH` writes a file with every key and what it takes",
            )
            for fault in error.message.splitlines()
        ]
    printer = Printer(as_json=as_json)
    printer.table([asdict(finding) for finding in findings], _COLUMNS, empty="")
    if any(finding.level is Level.ERROR for finding in findings):
        click.get_current_context().exit(1)
    printer.say("the server can work here")
