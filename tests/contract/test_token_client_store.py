"""Clients at an authorization server: there from before their registration until they are gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from abaco.domain.ids import ActorId, WorkerId
from abaco.errors import ConflictError
from abaco.ports.store import Stores
from abaco.ports.token_clients import TokenClient
from abaco.ports.vault import Sealed
from tests.support.records import TENANT, at


def a_client(worker: str = "w1", **fields: Any) -> TokenClient:
    defaults = {
        "worker_id": WorkerId(worker),
        "tenant": TENANT,
        "actor_id": ActorId("a1"),
        "create_time": at(0),
    }
    return TokenClient(**{**defaults, **fields})


async def test_a_client_is_there_until_it_is_deleted(stores: Stores) -> None:
    clients = stores.token_clients
    await clients.insert(a_client())
    assert await clients.find(WorkerId("w1")) == a_client()
    assert await clients.complete(WorkerId("w1"), "sealed")
    assert await clients.find(WorkerId("w1")) == a_client(sealed="sealed")
    for _ in range(2):
        await clients.delete(WorkerId("w1"))
        assert await clients.find(WorkerId("w1")) is None
    assert not await clients.complete(WorkerId("w1"), "sealed")
    assert await clients.find(WorkerId("w1")) is None


async def test_a_worker_has_one_client(stores: Stores) -> None:
    results = await asyncio.gather(
        *[stores.token_clients.insert(a_client(sealed=str(n))) for n in range(8)],
        return_exceptions=True,
    )
    assert results.count(None) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 7


async def test_clients_are_paged_by_worker_and_age(stores: Stores) -> None:
    clients = stores.token_clients
    for number in (3, 1, 4, 2):
        await clients.insert(a_client(f"w{number}", create_time=at(number)))

    async def page(**options: Any) -> list[str]:
        return [client.worker_id for client in await clients.list_clients(at(4), **options)]

    assert await page() == ["w1", "w2", "w3"]
    assert await page(limit=2) == ["w1", "w2"]
    assert await page(after=WorkerId("w2")) == ["w3"]
    assert await page(after=WorkerId("w4")) == []


async def test_ciphertexts_are_found_by_a_rotation(stores: Stores) -> None:
    clients = stores.token_clients
    assert clients in stores.sealed
    for number in (2, 1, 3):
        await clients.insert(a_client(f"w{number}", sealed=f"s{number}"))
    await clients.insert(a_client("w0"))
    found = await clients.list_sealed(limit=2)
    assert found == [Sealed("w1", "s1"), Sealed("w2", "s2")]
    assert await clients.list_sealed(after="w2") == [Sealed("w3", "s3")]
    assert await clients.reseal(found[0], "anew")
    assert not await clients.reseal(found[0], "again")
    assert not await clients.reseal(Sealed("w9", "s9"), "again")
    assert (await clients.find(WorkerId("w1"))) == a_client(sealed="anew")


@pytest.mark.parametrize("worker", ["w'1", "ü"])
async def test_any_name_will_do(stores: Stores, worker: str) -> None:
    await stores.token_clients.insert(a_client(worker))
    assert (await stores.token_clients.find(WorkerId(worker))) == a_client(worker)
