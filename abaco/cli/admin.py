"""``abaco admin``: the whole instance, for administrators."""

from __future__ import annotations

import click

from abaco.cli.keys import rotate_key


@click.group()
def admin() -> None:
    """Look after the whole instance; for administrators."""


admin.add_command(rotate_key)
