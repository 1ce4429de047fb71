"""What a message costs a warm worker in calls: what grows here is paid for by every run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from abaco.ports.store import Stores
from tests.support.house import QUICK, House, a_house

#: a worker that stays for its next message
WARM = QUICK.model_copy(update={"runtime": QUICK.runtime.model_copy(update={"idle_grace": 600})})

#: calls of the stores for one message, and at most how many of each
STORE_CALLS = {
    "intake.submit": 1,
    "mailbox.claim": 3,
    "actors.get": 2,
    "configs.of_actor": 1,
    "mailbox.mark_running": 1,
    "logs.read": 1,
    "logs.append": 1,
    "mailbox.finalize": 1,
    "mailbox.count": 2,
    "workers.list_workers": 2,
    "outbox.with_events": 2,
}
DRIVER_CALLS = ["prepare", "dispatch", "output", "wait", "remove"]


class CountedPort:
    """A port that notes what is called."""

    def __init__(self, port: Any, name: str, calls: Counter[str]) -> None:
        self._port, self._name, self._calls = port, name, calls

    def __getattr__(self, method: str) -> Callable[..., Any]:
        called: Callable[..., Any] = getattr(self._port, method)

        def call(*arguments: Any, **named: Any) -> Any:
            self._calls[f"{self._name}.{method}"] += 1
            return called(*arguments, **named)

        return call


async def removed(house: House) -> None:
    """Wait for the last call of a run, and for what might follow it."""
    async with asyncio.timeout(30):
        while "remove" not in dict(house.engine.calls):  # noqa: ASYNC110 - the pretended engine tells nobody
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)


async def test_a_message_to_a_warm_worker() -> None:
    calls = Counter[str]()

    def count(stores: Stores) -> Stores:
        names = [field.name for field in fields(stores)]
        ports = {name: CountedPort(getattr(stores, name), name, calls) for name in names}
        return replace(stores, **ports)

    async with a_house(None, WARM, wrap_stores=count) as house:
        actor = await house.register()
        await house.final(await house.post(actor))
        await removed(house)
        calls.clear()
        house.engine.calls.clear()
        await house.post(actor)
        await removed(house)
        assert calls["mailbox.finalize"] == 1
        assert calls <= Counter(STORE_CALLS), calls
        assert [name for name, _ in house.engine.calls] == DRIVER_CALLS
