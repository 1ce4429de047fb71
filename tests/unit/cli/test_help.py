"""The pages of ``--help``."""

import pytest
from click.testing import CliRunner

from abaco.cli.main import cli
from abaco.cli.output import examples

PATHS = [
    (),
    *((name,) for name in cli.commands),
    *(
        (group, name)
        for group in ("actors", "state", "admin")
        for name in cli.commands[group].commands
    ),
]


def page(*path):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_no_page_shows_marks_meant_for_click(path):
    text = page(*path)
    assert "\\" not in text
    assert "\b" not in text


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_page_fits_80_columns(path):
    assert [line for line in page(*path).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("path", "example"),
    [
        (("serve",), "  abaco serve --show-config       what is in force, and who set it"),
        (("doctor",), "  abaco doctor --driver podman --data-dir ~/abaco"),
        (("actors", "create"), "  abaco actors create abaco/hello --name hello --wait"),
        (("actors", "update"), "  abaco actors update hello --image abaco/hello:2 --wait"),
        (("send",), "  date | abaco send hello"),
        (("state", "set"), "  abaco state set counter @state.json"),
    ],
)
def test_examples_keep_their_lines(path, example):
    assert example in page(*path).split("Examples:")[1]


def test_examples_are_a_block_that_click_leaves_alone():
    assert examples("one", "two") == "\b\nExamples:\n  one\n  two"


def test_send_tells_what_complete_means():
    text = " ".join(page("send").split())
    assert "the container ran and ended, not that its program was happy" in text
    assert "--exit-code returns the program's exit code" in text
    assert "as it does when --timeout is over" in text


def test_update_tells_that_variables_are_replaced_together():
    assert "replace ALL variables" in " ".join(page("actors", "update").split())
    assert "replace" not in page("actors", "create")


def test_options_that_reach_a_server_name_their_variables():
    for path in (("send",), ("actors", "list")):
        text = " ".join(page(*path).split())
        for name in ("$ABACO_URL", "$ABACO_JWT_HEADER", "$ABACO_TOKEN_FILE"):
            assert name in text
