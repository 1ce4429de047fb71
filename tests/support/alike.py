"""Taking the same steps on every backend at once, which must look the same from outside."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from abaco.errors import AbacoError
from abaco.ports.store import Stores
from tests.support.records import SteppedClock
from tests.support.stores import BACKENDS, check_conservation, opened

Step = Callable[[Stores], Awaitable[Any]]
NamedStep = tuple[str, Step]


def steps(build: Callable[..., Step], *values: Any) -> st.SearchStrategy[NamedStep]:
    """Draw steps of one kind, named for the values they were built from."""
    name = build.__name__
    return st.builds(lambda *drawn: (f"{name}{drawn}", build(*drawn)), *values)


async def _answer(step: Step, stores: Stores) -> Any:
    try:
        return await step(stores)
    except AbacoError as error:
        return type(error), str(error)


async def compare(
    opening: list[Step],
    script: list[NamedStep],
    see: Callable[[Stores], Awaitable[dict[str, Any]]],
    check: Callable[[dict[str, Any]], None],
) -> None:
    """Take the steps and hold answers and views of all backends against each other.

    Args:
        opening: Steps that come first.
        script: The steps.
        see: Returns everything that can be seen from outside.
        check: Is shown what was seen after each step.

    """
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        every = [
            await stack.enter_async_context(opened(backend, directory, SteppedClock()))
            for backend in BACKENDS
        ]
        for name, step in [*(("opening", step) for step in opening), *script]:
            answers = [await _answer(step, stores) for stores in every]
            assert all(answer == answers[0] for answer in answers), (name, answers)
            views = [await see(stores) for stores in every]
            assert all(view == views[0] for view in views), name
            check(views[0])
        for stores in every:
            await check_conservation(stores)
