"""Operations over a real store, without a server: one loop per test, run step by step."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from abaco.config import Settings
from abaco.domain.caller import ADMIN_ROLE, EVERYONE_ROLE, PRIVILEGED_ROLE, Caller
from abaco.domain.ids import Tenant
from abaco.operations.services import Services
from agents.notices import LocalNotices
from backends.stores.memory import open_stores
from backends.system import RandomIds, SystemClock
from backends.vault import ephemeral_vault
from tests.support.player import Player

Run = Callable[[Awaitable[Any]], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """Run a coroutine on the test's loop; nothing moves in between."""
    with asyncio.Runner() as runner:

        async def await_it(awaitable: Awaitable[Any]) -> Any:
            return await awaitable

        yield lambda awaitable: runner.run(await_it(awaitable))


@pytest.fixture
def settings() -> Settings:
    return Settings(web={"deveLOP_api_server": "https://api.example.org/"})


@pytest.fixture
def services(run: Run, settings: Settings) -> Iterator[Services]:
    clock = SystemClock()
    stack = AsyncExitStack()
    stores = run(stack.enter_async_context(open_stores(settings, clock)))
    yield Services(
        settings=settings,
        stores=stores,
        notices=LocalNotices(),
        clock=clock,
        ids=RandomIds(settings.web.id_salt),
        vault=ephemeral_vault(),
        engine_endpoint=lambda: "unix:///var/run/docker.sock",
    )
    run(stack.aclose())


@pytest.fixture
def player(services: Services) -> Player:
    return Player(services)


def a_caller(user: str = "jane", *roles: str, tenant: str = "DEV") -> Caller:
    return Caller(
        tenant=Tenant(tenant),
        user=user,
        roles=frozenset(roles or {EVERYONE_ROLE}),
        api_server="https://api.example.org",
    )


@pytest.fixture
def jane() -> Caller:
    return a_caller("jane")


@pytest.fixture
def joe() -> Caller:
    return a_caller("joe")


@pytest.fixture
def admin() -> Caller:
    return a_caller("root", ADMIN_ROLE)


@pytest.fixture
def privileged() -> Caller:
    return a_caller("paula", PRIVILEGED_ROLE)


@pytest.fixture
def stranger() -> Caller:
    """An administrator, but of another tenant."""
    return a_caller("root", ADMIN_ROLE, tenant="OTHER")
