"""Tables and progress on a terminal, and without one."""

import io
import json

import pytest
from rich.console import Console

from abaco.cli.output import Printer, cell


@pytest.fixture
def terminal():
    """Return a printer for a terminal, and what it has written to each stream."""
    printer = Printer(as_json=False)
    out, err = io.StringIO(), io.StringIO()
    printer._out = Console(file=out, force_terminal=True, width=60, color_system="standard")
    printer._err = Console(file=err, force_terminal=True, width=60)
    return printer, out, err


COLUMNS = {"id": "id", "status": "status"}


def test_a_terminal_gets_aligned_columns_and_colours(terminal):
    printer, out, _ = terminal
    printer.table(
        [{"id": "a", "status": "READY"}, {"id": "bbbb", "status": "ERROR"}], COLUMNS, empty=""
    )
    lines = out.getvalue().splitlines()
    assert "ID" in lines[0]
    assert "STATUS" in lines[0]
    assert "\x1b[32mREADY" in lines[1]
    assert "\x1b[1;31mERROR" in lines[2]


def test_text_of_users_is_no_markup(terminal):
    printer, out, _ = terminal
    printer.table([{"id": "[red]x[/red]", "status": ":smile:"}], COLUMNS, empty="")
    assert "[red]x[/red]" in out.getvalue()
    assert ":smile:" in out.getvalue()


def test_a_record_on_a_terminal_has_no_heading(terminal):
    printer, out, _ = terminal
    printer.record({"id": "a", "max_workers": None, "_links": {}})
    assert out.getvalue().split() == ["id", "a"]


def test_progress_on_a_terminal_is_wiped_before_results(terminal):
    printer, _, err = terminal
    with printer.progress("waiting [x]") as progress:
        progress.show("pulling [y]")
        progress.close()
        closed = len(err.getvalue())
    assert "pulling [y]" in err.getvalue()
    assert "\x1b[2K" in err.getvalue()[:closed]


def test_progress_without_a_terminal_is_a_line_per_change(capsys):
    with Printer(as_json=False).progress("one") as progress:
        progress.show("one")
        progress.show("two")
        progress.show("two")
    assert capsys.readouterr().err == "one\ntwo\n"


def test_json_output_is_silent_otherwise(capsys):
    printer = Printer(as_json=True)
    with printer.progress("one") as progress:
        progress.show("two")
        progress.close()
    printer.say("three")
    printer.table([{"id": "é"}], COLUMNS, empty="four")
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out) == [{"id": "é"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("None", "-"),
        (True, "true"),
        ({"a": 1}, '{"a": 1}'),
        ("tab\there", "tab\\there"),
        ("\x9b2J", "\\x9b2J"),
        ("schön 漢字", "schön 漢字"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text
