"""Every test of a store runs over every backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from abaco.ports.store import Stores
from tests.support.records import SteppedClock
from tests.support.stores import BACKENDS, check_conservation, opened


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture(params=BACKENDS)
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SteppedClock
) -> AsyncIterator[Stores]:
    async with opened(request.param, tmp_path, clock) as stores:
        yield stores
        await check_conservation(stores)
