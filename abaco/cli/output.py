"""What commands print: tables and records for people, JSON for programs.

Results go to standard output, progress to standard error. Without a terminal, tables are lines
with tabs between the columns and progress is one line per change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text


class Progress:
    """The present state of something that is waited for; this one shows nothing."""

    def show(self, text: str) -> None:
        """Show the text instead of the one before."""

    def close(self) -> None:
        """Show nothing any more: results are about to be printed."""


class _Spinner(Progress):
    """Progress on a terminal: one line that changes."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def show(self, text: str) -> None:
        self._status.update(Text(text))

    def close(self) -> None:
        self._status.stop()


class _ChangedLines(Progress):
    """Progress without a terminal: a line whenever the text changes."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, text: str) -> None:
        if text != self._last:
            click.echo(text, err=True)
        self._last = text


#: narrower terminals do without the columns that are only nice to have
WIDE = 100


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table.

    Attributes:
        headings: Heading by key, in order.
        spare: Keys left out on a terminal that is not wide. Programs get all of them.

    """

    headings: Mapping[str, str]
    spare: frozenset[str] = frozenset()

    def fitting(self, width: int) -> list[str]:
        """Return the keys to show on a terminal this wide."""
        return [key for key in self.headings if width >= WIDE or key not in self.spare]


class Printer:
    """Prints results.

    Args:
        as_json: Print JSON only, nothing for people.

    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(highlight=False, markup=False)
        self._err = Console(stderr=True, highlight=False, markup=False)

    def json(self, value: Any) -> None:
        """Print a JSON value."""
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))

    def say(self, text: str) -> None:
        """Print a line for people, not among the results."""
        if not self.as_json:
            click.echo(text, err=True)

    def table(self, items: Sequence[Mapping[str, Any]], columns: Columns, *, empty: str) -> None:
        """Print one row per object."""
        if self.as_json:
            self.json(items)
        elif not items:
            self.say(empty)
        elif self._out.is_terminal:
            keys = columns.fitting(self._out.width)
            table = Table(box=None, padding=(0, 2, 0, 0))
            for key in keys:
                table.add_column(columns.headings[key].upper(), **_layout(key))
            for item in items:
                table.add_row(*(_styled(brief(key, item.get(key))) for key in keys))
            self._out.print(table)
        else:
            _print_tabs(columns.headings.values())
            for item in items:
                _print_tabs(cell(item.get(key)) for key in columns.headings)

    def short(self, item: Mapping[str, Any], columns: Columns) -> None:
        """Print one object: a row of a table for people, everything for programs."""
        if self.as_json:
            self.json(item)
        else:
            self.table([item], columns, empty="")

    def record(self, item: Mapping[str, Any], *, omit: Sequence[str] = ("_links",)) -> None:
        """Print one object, a line per key that has a value."""
        if self.as_json:
            self.json(item)
        else:
            shown = [
                (key, cell(value))
                for key, value in item.items()
                if key not in omit and value is not None
            ]
            if not self._out.is_terminal:
                for row in shown:
                    _print_tabs(row)
                return
            table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
            table.add_column(no_wrap=True)
            table.add_column(overflow="fold")
            for key, text in shown:
                table.add_row(Text(key), _styled(text))
            self._out.print(table)

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        """Show what is waited for until the context ends."""
        if self.as_json:
            yield Progress()
        elif self._err.is_terminal:
            with self._err.status(Text(text)) as status:
                yield _Spinner(status)
        else:
            lines = _ChangedLines()
            lines.show(text)
            yield lines


_STYLES = {
    "READY": "green",
    "COMPLETE": "green",
    "RUNNING": "cyan",
    "BUSY": "cyan",
    "ERROR": "bold red",
    "error": "bold red",
    "warning": "yellow",
    "ok": "green",
}


#: an id of a container is long; this much of it is what engines show
_CONTAINER_ID_LENGTH = 12

#: columns whose content is useless in pieces
_WHOLE = ("id", "cid", "status", "level", "check")


def _layout(key: str) -> dict[str, Any]:
    if key in _WHOLE or key.endswith("_time"):
        return {"no_wrap": True}
    return {"overflow": "fold"}


def _styled(text: str) -> Text:
    return Text(text, style=_STYLES.get(text, ""))


def _print_tabs(row: Iterable[str]) -> None:
    click.echo("\t".join(row))


def examples(*lines: str) -> str:
    """Lay out the epilog of a command's help; click keeps the lines as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def brief(key: str, value: Any) -> str:
    """Spell a value for a terminal: times in UTC to the second, container ids cut."""
    text = cell(value)
    if key == "cid":
        return text[:_CONTAINER_ID_LENGTH]
    if key.endswith("_time") and text != "-":
        try:
            return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"
        except ValueError:  # another server's spelling is better than none
            return text
    return text


def cell(value: Any) -> str:
    """Spell a value for a table; control characters are made visible, not obeyed."""
    if value is None or value == "None":
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
