"""Tables and progress on a terminal, and without one."""

import io
import json

import pytest
from rich.console import Console

from abaco.cli import actors, messages, workers
from abaco.cli.output import Columns, Printer, brief, cell


@pytest.fixture
def terminal():
    """Return a printer for a terminal, and what it has written to each stream."""
    printer = Printer(as_json=False)
    out, err = io.StringIO(), io.StringIO()
    printer._out = Console(file=out, force_terminal=True, width=60, color_system="standard")
    printer._err = Console(file=err, force_terminal=True, width=60)
    return printer, out, err


COLUMNS = Columns({"id": "id", "status": "status"})


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


def on_a_terminal(width, items, columns):
    printer = Printer(as_json=False)
    out = io.StringIO()
    printer._out = Console(file=out, force_terminal=True, width=width, color_system=None)
    printer.table(items, columns, empty="")
    return out.getvalue().splitlines()


LONG_AGO = "2024-05-01T14:45:41.591Z"
WORKER = {
    "id": "N1oJr8JQGRoEQ",
    "status": "SHUTDOWN_REQUESTED",
    "image": "registry.example.org/some/where/deep/image:1.2.3",
    "cid": "e4385f2417e5" + "0" * 52,
    "create_time": LONG_AGO,
    "last_execution_time": LONG_AGO,
}
ACTOR = {
    "id": "N1oJr8JQGRoEQ",
    "name": "a-name-of-some-length",
    "status": "SUBMITTED",
    "image": "registry.example.org/some/where/deep/image:1.2.3",
    "stateless": True,
    "revision": 12,
    "create_time": LONG_AGO,
}
EXECUTION = {
    "id": "N1oJr8JQGRoEQ",
    "status": "SUBMITTED",
    "message_received_time": LONG_AGO,
    "start_time": LONG_AGO,
    "finish_time": LONG_AGO,
}


@pytest.mark.parametrize(
    ("item", "columns", "whole"),
    [
        (WORKER, workers._COLUMNS, ["id", "status"]),
        (ACTOR, actors._COLUMNS, ["id", "status"]),
        (EXECUTION, messages._COLUMNS, ["id", "status"]),
    ],
    ids=["worker", "actor", "execution"],
)
def test_tables_fit_80_columns_and_ids_stay_whole(item, columns, whole):
    heading, first, *_ = on_a_terminal(80, [item], columns)
    assert len(heading) <= 80
    for key in whole:
        assert item[key] in first
    assert "2024-05-01 14:45:41" in first


def test_a_container_is_known_by_the_beginning_of_its_id():
    lines = on_a_terminal(80, [WORKER], workers._COLUMNS)
    assert "e4385f2417e5 " in lines[1]
    assert "000" not in "".join(lines)


def test_a_wide_terminal_shows_every_column():
    assert "STARTED" in on_a_terminal(120, [EXECUTION], messages._COLUMNS)[0]
    assert "STARTED" not in on_a_terminal(80, [EXECUTION], messages._COLUMNS)[0]


def test_programs_get_everything_unshortened(capsys):
    Printer(as_json=False).table([WORKER], workers._COLUMNS, empty="")
    heading, row = capsys.readouterr().out.splitlines()
    assert len(heading.split("\t")) == 6
    assert row.split("\t") == list(WORKER.values())


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("create_time", LONG_AGO, "2024-05-01 14:45:41"),
        ("create_time", None, "-"),
        ("create_time", "yesterday", "yesterday"),
        ("cid", "0123456789abcdef", "0123456789ab"),
        ("name", LONG_AGO, LONG_AGO),
    ],
)
def test_brief_values(key, value, text):
    assert brief(key, value) == text


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
