"""``abaco admin rotate-key``: replace the key that secrets are encrypted with."""

from __future__ import annotations

from typing import Any

import click

from abaco.cli.client import ClientError
from abaco.cli.follow import Pace
from abaco.cli.session import Session, client_options

_PATH = ("admin", "encryption-key")


@click.command("rotate-key")
@click.option("--no-wait", is_flag=True, help="Begin, and leave it to the server.")
@client_options()
def rotate_key(session: Session, *, no_wait: bool) -> None:
    """Replace the key that secrets are encrypted with, while the server runs.

    A fresh key encrypts from now on; the secrets of all tenants are encrypted anew, then the old
    key is dropped. Every secret can be read all the while, also when the server or this command is
    stopped in between: the server goes on with it by itself.
    """
    rotation = session.client.request("POST", _PATH)
    if not no_wait:
        rotation = _follow(session)
    session.printer.record(rotation)
    if rotation["failure"]:
        raise ClientError(f"the old key is kept: {rotation['failure']}")
    if rotation["unreadable"]:
        session.printer.say(
            f"{rotation['unreadable']} secrets cannot be read with any key; the server's log names"
            " them when they are used. Write them anew, or put their key into the file"
        )


def _follow(session: Session) -> dict[str, Any]:
    rotation: dict[str, Any] = {}
    with session.printer.progress("a new key is in use") as progress:
        for _ in Pace(None).rounds():
            rotation = session.client.get(*_PATH)
            if not rotation["is_running"]:
                break
            progress.show(f"encrypted anew: {rotation['reencrypted']}")
        progress.close()
    return rotation
