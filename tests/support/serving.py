"""A server per test over each real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Engine
from tests.support.server import Server, a_server


def settings_for(engine: Engine) -> dict[str, str]:
    """What a server on this engine is told that differs from its defaults."""
    return {
        "engine.driver": engine.kind,
        f"engine.{engine.kind}_socket": engine.endpoint,
        "engine.network": "host",
        "runtime.idle_grace": "2",
        "runtime.stop_grace": "1",
    }


@pytest.fixture
def server(engine: Engine, tmp_path: Path) -> Iterator[Server]:
    """A server on a fresh data directory."""
    with a_server(tmp_path, settings_for(engine)) as server:
        yield server
