"""A server per test over each real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Engine
from tests.support.server import Server, a_server


@pytest.fixture
def settings(engine: Engine) -> dict[str, str]:
    """What the server is told that differs from its defaults; tests may add to it."""
    return {
        "engine.driver": engine.kind,
        f"engine.{engine.kind}_socket": engine.endpoint,
        "engine.network": "host",
        "runtime.idle_grace": "2",
        "runtime.stop_grace": "1",
    }


@pytest.fixture
def server(engine: Engine, settings: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """A server on a fresh data directory; afterwards no container of its may be left."""
    with a_server(tmp_path, settings) as server:
        yield server
