"""What commands print: tables and records for people, JSON for programs.

Results go to standard output, progress to standard error. Without a terminal, tables are lines
with tabs between the columns and progress is one line per change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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

    def table(
        self, items: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str
    ) -> None:
        """Print one row per object; ``columns`` maps keys to headings."""
        if self.as_json:
            self.json(items)
        elif not items:
            self.say(empty)
        else:
            rows = [[cell(item.get(key)) for key in columns] for item in items]
            self._rows(list(columns.values()), rows)

    def short(self, item: Mapping[str, Any], columns: Mapping[str, str]) -> None:
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
                [key, cell(value)]
                for key, value in item.items()
                if key not in omit and value is not None
            ]
            self._rows([], shown)

    def _rows(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if not self._out.is_terminal:
            for row in ([headings] if headings else []) + list(rows):
                click.echo("\t".join(row))
            return
        table = Table(box=None, show_header=bool(headings), padding=(0, 2, 0, 0))
        width = len(headings or rows[0])
        for heading in headings or [""] * width:
            table.add_column(heading.upper(), overflow="fold")
        for row in rows:
            table.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in row))
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


def cell(value: Any) -> str:
    """Spell a value for a table; control characters are made visible, not obeyed."""
    if value is None or value == "None":
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
