"""One server per spelling, each over another engine, for all rows in their order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import EnginePool
from tests.support.suite import Suite, a_suite


@pytest.fixture(
    scope="package",
    params=[
        pytest.param(("snake", "docker"), marks=pytest.mark.docker, id="snake-docker"),
        pytest.param(("camel", "podman"), marks=pytest.mark.podman, id="camel-podman"),
    ],
)
def suite(
    request: pytest.FixtureRequest,
    engine_pool: EnginePool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Suite]:
    case, kind = request.param
    directory: Path = tmp_path_factory.mktemp(f"suite-{case}")
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(engine_pool.lend(kind, request.session))
        yield stack.enter_context(a_suite(engine, case, directory))
