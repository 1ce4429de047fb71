"""Numbers about the whole instance."""

from __future__ import annotations

from dataclasses import asdict

from abaco.metrics import MESSAGES
from abaco.operations.services import Services


async def measure(services: Services) -> None:
    """Bring the gauges that are read from the store up to date."""
    counters = await services.stores.executions.counters()
    for state, count in asdict(counters).items():
        MESSAGES.labels(state).set(count)
