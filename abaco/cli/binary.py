"""Send a file as a message, and take the results of an execution."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import click

from abaco.cli.client import ClientError
from abaco.cli.output import examples
from abaco.cli.session import Session, client_options

STDIN = "-"


def send_file(
    session: Session, actor_id: str, name: str, *, query: Mapping[str, str], key: str | None
) -> dict[str, Any]:
    """Send the bytes of a file, or of standard input, as a binary message; return the answer.

    Raises:
        click.UsageError: The file cannot be read.
        ClientError: The server could not be asked, or said no.

    """
    headers = {} if key is None else {"Idempotency-Key": key}
    with _opened(name) as file:
        size = os.fstat(file.fileno()).st_size
        answer = session.client.upload(
            [actor_id, "messages"], file, size, query=query, headers=headers
        )
    return dict(answer)


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    """Open a file whose length is known; what has none is kept in a temporary one first."""
    with ExitStack() as stack:
        file: IO[bytes] = sys.stdin.buffer
        if name != STDIN:
            try:
                file = stack.enter_context(Path(name).open("rb"))
            except OSError as error:
                raise click.UsageError(f"{name} cannot be read: {error.strerror}") from error
        if name == STDIN or not file.seekable():
            copy = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            file = copy
        yield file


@click.command(
    epilog=examples(
        "abaco results double 0Lr7wEKmgbDPy > value",
        "abaco results double 0Lr7wEKmgbDPy --to values/",
    )
)
@click.argument("actor")
@click.argument("execution")
@click.option(
    "--to",
    "directory",
    metavar="DIRECTORY",
    type=click.Path(file_okay=False, path_type=Path),
    help="Take all results, and write each into a file of its own there.",
)
@client_options()
def results(session: Session, actor: str, execution: str, directory: Path | None) -> None:
    """Take the oldest result of an EXECUTION of ACTOR, and write its bytes to standard output.

    A result that is taken is not there any more. The command ends with 1 when there is none.
    """
    actor_id = session.find_actor_id(actor)
    place = (actor_id, "executions", execution, "results")
    result = session.client.take(*place)
    if not result:
        raise ClientError("there is no result (any more)")
    if directory is None:
        sys.stdout.buffer.write(result)
        sys.stdout.buffer.flush()
        return
    directory.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    while result:
        names.append(_write(directory, len(names), result))
        result = session.client.take(*place)
    if session.printer.as_json:
        session.printer.json(names)
    else:
        click.echo("\n".join(names))


def _write(directory: Path, number: int, result: bytes) -> str:
    """Write a result under the first name that is free; none is worth overwriting another."""
    while True:
        path = directory / f"result-{number:06d}"
        try:
            with path.open("xb") as file:
                file.write(result)
        except FileExistsError:
            number += 1
        else:
            return str(path)
