"""Every backend finds the same, and what it finds is what the rules say."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaco.domain.search import SearchKind, SearchScope, parse_query
from abaco.errors import InvalidInputError
from abaco.ports.store import Stores
from tests.support.records import TENANT, SteppedClock
from tests.support.searching import (
    READER,
    Population,
    as_seen,
    every_condition,
    populate,
    populations,
    questions,
    rich_population,
)
from tests.support.stores import BACKENDS, opened


@asynccontextmanager
async def populated(population: Population) -> AsyncIterator[list[Stores]]:
    """Open a store of every backend with the same things in each."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        every = [
            await stack.enter_async_context(opened(backend, directory, SteppedClock()))
            for backend in BACKENDS
        ]
        for stores in every:
            await populate(stores, population)
        yield every


async def ask(every, kind, parameters, actor_id=None):
    """Ask all stores; return how many items there are, or None when it cannot be asked."""
    scope = SearchScope(kind=kind, tenant=TENANT, user=READER, actor_id=actor_id)
    try:
        query = parse_query(parameters)
    except InvalidInputError as error:
        assert any(key in error.message for key in parameters)  # noqa: PT017 - others pass
        return None
    pages = [await stores.search.search(scope, query) for stores in every]
    first, *others = [(as_seen(page.items), page.total) for page in pages]
    for other in others:
        assert other == first, (kind, parameters)
    assert len(pages[0].items) == min(query.limit, max(0, pages[0].total - query.skip))
    return pages[0].total


@settings(deadline=None, max_examples=60)
@given(population=populations(), asked=st.lists(questions(), min_size=20, max_size=40))
def test_backends_agree(population, asked):
    async def compare():
        async with populated(population) as every:
            for kind, parameters, actor_id in asked:
                await ask(every, kind, parameters, actor_id)

    asyncio.run(compare())


@pytest.mark.parametrize("kind", SearchKind)
async def test_backends_agree_about_every_condition(kind):
    answers: Counter[str] = Counter()
    async with populated(rich_population()) as every:
        all_there_are = await ask(every, kind, {})
        for parameters in every_condition(kind):
            total = await ask(every, kind, parameters)
            answers["none" if total == 0 else "all" if total == all_there_are else str(total)] += 1
    # the questions tell records apart
    assert set(answers) >= {"none", "all", "1", "2", "3"}, answers
    assert answers["none"] < 0.7 * answers.total(), answers
