"""Send the messages of a file, many with each request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from abaco.cli.client import ApiError
from abaco.cli.output import Progress
from abaco.cli.session import INTERRUPTED, Session

#: characters of JSON that one request holds at most, if it holds more than one message
PORTION_LENGTH = 500_000

TOO_MANY_REQUESTS = 429


def read_lines(path: str) -> list[Any]:
    """Decode a file of JSON values, one a line; ``-`` is standard input. Empty lines are none.

    Raises:
        click.UsageError: Names the line that is no JSON, or says why the file cannot be read.

    """
    found: list[Any] = []
    try:
        with click.open_file(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    found.append(_decoded(line, f"{path} line {number}"))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is not UTF-8 text") from error
    if not found:
        raise click.UsageError(f"{path} has no messages")
    return found


def _decoded(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise click.UsageError(
            f"{place} is not JSON: {error} (a text needs quotes of its own)"
        ) from error


def portions(messages: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Cut a list into pieces that one request can hold; the same list always the same way."""
    portion: list[Any] = []
    length = 0
    for message in messages:
        own = len(json.dumps(message))
        if portion and (len(portion) == size or length + own > PORTION_LENGTH):
            yield portion
            portion, length = [], 0
        portion.append(message)
        length += own
    yield portion


def send_batch(
    session: Session,
    actor_id: str,
    path: str,
    *,
    size: int,
    query: Mapping[str, str],
    key: str | None,
) -> None:
    """Send all messages of a file and print the ids of their executions, in order.

    With a key each request gets one of its own made from it, so the whole command can be repeated.
    When a limit is reached it waits as long as the server asks for.
    """
    messages, printer = read_lines(path), session.printer
    ids: list[str] = []
    with printer.progress(f"0 of {len(messages)} messages are accepted") as progress:
        try:
            for number, portion in enumerate(portions(messages, size), start=1):
                headers = {"Idempotency-Key": f"{key}-{number}"} if key else {}
                ids += _send(session, actor_id, portion, query, headers, progress)
                progress.show(f"{len(ids)} of {len(messages)} messages are accepted")
        except (KeyboardInterrupt, ApiError) as error:
            progress.close()
            _print(session, ids)
            click.echo(f"{len(ids)} of {len(messages)} messages are accepted", err=True)
            if isinstance(error, ApiError):
                raise
            click.get_current_context().exit(INTERRUPTED)
    _print(session, ids)


def _send(
    session: Session,
    actor_id: str,
    portion: Sequence[Any],
    query: Mapping[str, str],
    headers: Mapping[str, str],
    progress: Progress,
) -> list[str]:
    while True:
        try:
            answer = session.client.request(
                "POST",
                [actor_id, "messages", "batch"],
                query=query,
                headers=headers,
                body={"messages": portion},
            )
        except ApiError as error:
            if error.status != TOO_MANY_REQUESTS:
                raise
            progress.show(f"the server asks to wait {error.retry_after_s} s: {error.message}")
            time.sleep(error.retry_after_s)
        else:
            return [str(each) for each in answer["execution_ids"]]


def _print(session: Session, ids: Sequence[str]) -> None:
    if session.printer.as_json:
        session.printer.json({"execution_ids": list(ids)})
    else:
        for each in ids:
            click.echo(each)
