"""The table of ``docs/security.rst`` and the tests that it names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.attempts import ATTEMPTS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "security.rst").read_text(encoding="utf-8")
_ROW = re.compile(r"^(\d+)\. (.*(?:\n +.*)*)", re.MULTILINE)
_TEST = re.compile(r"``(tests/[\w/]+\.py)::((?:\w+::)*)(\w+)(?:\[(.+)\])?``")
#: modules that hold nothing but rows
WHOLE = ("test_escape", "test_escape_runs", "test_escape_tenants", "test_floods")

Named = tuple[str, str, str, str]
ROWS: dict[int, list[Named]] = {
    int(number): [(path, inner, name, row) for path, inner, name, row in _TEST.findall(text)]
    for number, text in _ROW.findall(DOCUMENT)
}


def names_in(module: Path) -> list[str]:
    """Return the names of a module's test functions."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return [node.name for node in found if node.name.startswith("test_")]


@pytest.fixture(scope="module")
def collected() -> list[str]:
    """Every test of the modules named, as pytest runs it."""
    files = sorted({named[0] for row in ROWS.values() for named in row})
    # apart, because what these modules set up is not for this run
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in found.stdout.splitlines() if "::" in line]


def test_there_are_enough_and_their_numbers_are_in_order() -> None:
    assert list(ROWS) == list(range(1, len(ROWS) + 1))
    assert len(ROWS) >= 25
    assert all(ROWS.values())


def test_every_row_is_proved_over_every_engine(collected: list[str]) -> None:
    for number, (proof, *others) in ROWS.items():
        for path, inner, name, row in (proof, *others):
            prefix = f"{path}::{inner}{name}"
            ids = [i for i in collected if i == prefix or i.startswith(f"{prefix}[")]
            assert ids, (number, prefix)
            if (path, inner, name, row) == proof:
                for engine in ("docker", "podman"):
                    wanted = re.compile(
                        rf"\[(.+-)?{engine}(-.*)?\]" if not row else re.escape(f"[{engine}-{row}]")
                    )
                    assert any(wanted.search(i) for i in ids), (number, engine, row)


def test_every_attempt_is_in_it() -> None:
    named = {(Path(path).stem, name) for row in ROWS.values() for path, _, name, _ in row}
    for module in WHOLE:
        for name in names_in(ROOT / "tests" / "e2e" / f"{module}.py"):
            assert (module, name) in named, name
    rows = {row for named in ROWS.values() for *_, row in named if row}
    assert rows == set(ATTEMPTS)
