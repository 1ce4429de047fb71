"""A whole Abaco without its HTTP edge: stores, scripted engine and all agents, in process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from abaco.config import Settings
from abaco.domain.actor import Actor, ActorStatus
from abaco.domain.caller import ALL_ROLE, Caller
from abaco.domain.execution import FINAL, Execution, ExecutionKey
from abaco.operations import actors, messages
from abaco.operations.definition import ActorDraft
from abaco.operations.events import webhook_policy
from abaco.operations.services import Services
from abaco.ports.driver import Driver
from abaco.ports.notices import Topic
from abaco.ports.store import Stores
from abaco.ports.token_provider import TokenProvider
from abaco.settings import RuntimeSettings, WorkersSettings
from agents.clientg import start_clientg
from agents.crew import Crew, make_kit, start_crew
from agents.notices import LocalNotices
from agents.supervisor import Supervisor
from backends.channels.local import LocalTransport
from backends.drivers.scripted import Act, Script, ScriptedDriver, ScriptedEngine
from backends.host_files import Guard, LocalFiles
from backends.ipc import open_ipc
from backends.registries import ConfiguredRegistries
from backends.stores.memory import open_stores
from backends.system import RandomIds, SystemClock
from backends.tokens.fixed import NoTokens
from backends.vault import ephemeral_vault
from backends.webhooks import HttpWebhookSender
from tests.support.records import API_SERVER, OWNER, TENANT

#: longest a story may take before it counts as stuck
PATIENCE_S = 60.0

QUICK = Settings(
    runtime=RuntimeSettings(start_backoff=0.01, idle_grace=0.2, stop_grace=0),
    workers=WorkersSettings(init_count=0),
)

CALLER = Caller(tenant=TENANT, user=OWNER, roles=frozenset({ALL_ROLE}), api_server=API_SERVER)


class House:
    """Agents over given stores and engine. ``crash`` and ``start`` again play a new process."""

    def __init__(
        self,
        stores: Stores,
        engine: ScriptedEngine,
        settings: Settings = QUICK,
        wrap_driver: Callable[[Driver], Driver] = lambda driver: driver,
        tokens: TokenProvider | None = None,
    ) -> None:
        self.stores = stores
        self.tokens = tokens or NoTokens()
        self.engine = engine
        self.settings = settings
        self._wrap_driver = wrap_driver
        self._epoch = 0
        self._scratch = tempfile.TemporaryDirectory(prefix="abaco-house-")
        self.ipc_root = Path(self._scratch.name)
        self._stack: AsyncExitStack
        self.services: Services
        self.supervisor: Supervisor
        self.crew: Crew

    async def start(self) -> None:
        clock = SystemClock()
        self._stack = AsyncExitStack()
        self.services = Services(
            settings=self.settings,
            stores=self.stores,
            notices=LocalNotices(),
            clock=clock,
            ids=RandomIds(self.settings.web.id_salt),
            vault=ephemeral_vault(),
        )
        self._epoch = await self.stores.instance.acquire("house", clock.now(), 20)
        self.supervisor = Supervisor(clock)
        timeout_s = self.settings.runtime.webhook_timeout
        self._webhooks = HttpWebhookSender(webhook_policy(self.services), timeout_s)
        driver = self._wrap_driver(ScriptedDriver(self.engine))
        desk = start_clientg(self.supervisor, self.services, self.tokens, LocalTransport())
        host_files = LocalFiles(
            Guard.of(self.settings), skips_missing=self.settings.workers.mount_missing == "skip"
        )
        ipc = await self._stack.enter_async_context(open_ipc(self.ipc_root))
        kit = make_kit(
            self.services,
            driver,
            ipc=ipc,
            host_files=host_files,
            tokens=desk,
            registries=ConfiguredRegistries(self.services.settings),
        )
        self.crew = start_crew(kit, self.services, self.supervisor, self._epoch, self._webhooks)

    async def crash(self) -> None:
        """End every agent between two of its steps, as a killed process would."""
        await self.supervisor.stop()
        await self._webhooks.close()
        await self._stack.aclose()

    def close(self) -> None:
        """Remove what is on disk."""
        self._scratch.cleanup()

    async def register(self, image: str = "abaco_test", **fields: Any) -> Actor:
        return await actors.register(self.services, CALLER, ActorDraft(image=image, **fields))

    async def post(self, actor: Actor, body: Any = "hi") -> ExecutionKey:
        post = messages.Post(body=body, content_type="str", environment={})
        posted = await messages.post(self.services, CALLER, actor, post)
        return posted.execution.key

    async def until(self, is_true: Callable[[], Any], *topics: Topic) -> None:
        """Wait until an async predicate holds, looking again at each notice."""
        topics = topics or tuple(Topic)
        async with asyncio.timeout(PATIENCE_S):
            with self.services.notices.subscribe(*topics) as notices:
                while not await is_true():
                    await notices.wait(0.05)

    async def final(self, key: ExecutionKey) -> Execution:
        """Wait for the execution to end and return it."""

        async def is_final() -> bool:
            return (await self.stores.executions.get(key)).status in FINAL

        await self.until(is_final)
        return await self.stores.executions.get(key)

    async def running(self, key: ExecutionKey) -> Execution:
        """Wait for the execution to be RUNNING (or over) and return it."""

        async def is_running() -> bool:
            return (await self.stores.executions.get(key)).start_time is not None

        await self.until(is_running)
        return await self.stores.executions.get(key)

    async def actor_status(self, actor: Actor, status: ActorStatus) -> Actor:
        """Wait for the actor to have this status and return it."""

        async def has_status() -> bool:
            return (await self.stores.actors.get(actor.key)).status is status

        await self.until(has_status)
        return await self.stores.actors.get(actor.key)

    async def no_containers(self) -> None:
        """Wait until the engine has no container left."""

        async def is_empty() -> bool:
            return not self.engine.containers

        await self.until(is_empty)

    async def log(self, key: ExecutionKey) -> bytes:
        return (await self.stores.logs.read(key)).data

    async def check_conservation(self) -> None:
        counters = await self.stores.executions.counters()
        assert counters.accepted == counters.queued + counters.leased + counters.final


def an_engine(act: Act | None = None, **plays: Act) -> ScriptedEngine:
    """Build an engine whose images act as named, or all the same way."""
    return ScriptedEngine(Script(plays=plays, otherwise=act or Act(output=[b"hello\n"])))


@asynccontextmanager
async def a_house(
    engine: ScriptedEngine | None = None,
    settings: Settings = QUICK,
    *,
    wrap_stores: Callable[[Stores], Stores] = lambda stores: stores,
    wrap_driver: Callable[[Driver], Driver] = lambda driver: driver,
    tokens: TokenProvider | None = None,
) -> AsyncIterator[House]:
    """Run a house on the memory store for the length of a test."""
    async with open_stores(settings, SystemClock()) as stores:
        house = House(wrap_stores(stores), engine or an_engine(), settings, wrap_driver, tokens)
        await house.start()
        try:
            yield house
        finally:
            await house.crash()
            house.close()
