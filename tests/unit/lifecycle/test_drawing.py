"""docs/lifecycle.rst shows the machines as they are."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_page_is_drawn_from_the_tables() -> None:
    drawn = runpy.run_path(str(ROOT / "scripts" / "draw_lifecycle.py"))["draw"]()
    assert (ROOT / "docs" / "lifecycle.rst").read_text() == drawn, (
        "run: python scripts/draw_lifecycle.py > docs/lifecycle.rst"
    )
