"""Tokens as the older Abaco got them, from the client service of the platform."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from abaco.config import Settings
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId
from abaco.errors import ConfigError, TokenRefusedError, TokenUnavailableError
from abaco.ports.store import Stores
from abaco.ports.token_provider import TokenProvider, TokenRequest
from backends.registry import find_token_provider
from backends.vault import ephemeral_vault
from tests.support.client_service import SERVICE, ClientServiceStub, a_client_service
from tests.support.records import SteppedClock

USER, _, PASSWORD = SERVICE.partition(":")


@pytest.fixture
def service() -> Iterator[ClientServiceStub]:
    with a_client_service() as stub:
        yield stub


@pytest.fixture
async def opening(stores: Stores, service: ClientServiceStub, tmp_path: Path) -> AsyncIterator[Any]:
    accounts = tmp_path / "accounts"
    accounts.write_text(f"# service accounts\ndev-one: {SERVICE}\n")
    accounts.chmod(0o600)
    clock = SteppedClock()
    async with AsyncExitStack() as stack:

        async def open_it(**oauth: Any) -> TokenProvider:
            chosen = {"server": f"{service.url}/", "accounts_file": accounts, **oauth}
            settings = Settings(
                general={"data_dir": tmp_path},
                runtime={"token_provider": "oauth_clients"},
                oauth=chosen,
                web={"default_api_server": service.url},
            )
            find = find_token_provider("oauth_clients")
            return await stack.enter_async_context(find(settings, clock, stores, ephemeral_vault()))

        open_it.clock = clock  # type: ignore[attr-defined]
        yield open_it


def a_request(worker: str = "w1", tenant: str = "DEV-ONE") -> TokenRequest:
    return TokenRequest(
        tenant=Tenant(tenant),
        owner="jane",
        actor_id=ActorId("a1"),
        execution_id=ExecutionId("e1"),
        worker_id=WorkerId(worker),
        attempt=1,
    )


async def test_the_whole_way(opening, service):
    provider = await opening()
    token = await provider.acquire(a_request())
    assert service.owners[token.value] == "jane"
    assert service.asked == [
        ("POST", "/clients/v2", {"clientName": "w1"}),
        (
            "POST",
            "/token",
            {
                "grant_type": "admin_password",
                "username": USER,
                "password": PASSWORD,
                "token_username": "jane",
                "scope": "PRODUCTION",
            },
        ),
    ]
    await provider.retire(WorkerId("w1"))
    assert service.asked[-1] == ("DELETE", "/clients/v2/w1", {})
    assert service.clients == {}


@pytest.mark.parametrize("expires_in", [14_400, "14400"])
async def test_a_refresh_only_when_it_is_needed(opening, service, expires_in):
    service.expires_in = expires_in
    provider = await opening()
    first = await provider.acquire(a_request())
    opening.clock.advance(14_000)
    assert await provider.acquire(a_request()) == first
    opening.clock.advance(200)
    second = await provider.acquire(a_request())
    assert second != first
    method, path, form = service.asked[-1]
    assert (method, path, form["grant_type"]) == ("POST", "/token", "refresh_token")
    assert form["scope"] == "PRODUCTION"
    assert service.owners[second.value] == "jane"


async def test_a_user_store_before_the_owner(opening, service):
    await (await opening(userstore="TACC")).acquire(a_request())
    assert service.asked[-1][2]["token_username"] == "TACC/jane"


async def test_the_api_server_unless_another_is_named(opening, service):
    assert (await (await opening(server=None)).acquire(a_request())).value
    named = await opening(server="http://127.0.0.1:9", **{"dev-one_server": service.url})
    assert (await named.acquire(a_request("w2"))).value


async def test_half_a_client_is_deleted_and_made_again_later(opening, service):
    service.half_made = 1
    provider = await opening()
    with pytest.raises(TokenUnavailableError):
        await provider.acquire(a_request())
    assert service.clients == {}
    assert (await provider.acquire(a_request())).value


async def test_half_a_client_that_stays_is_no_outage(opening, service):
    service.half_made, service.refuses_deletion = 1, True
    with pytest.raises(TokenRefusedError, match="half a client"):
        await (await opening()).acquire(a_request())
    # five at once, and one because the token was refused
    assert [method for method, _, _ in service.asked].count("DELETE") == 6


async def test_a_sweep_deletes_by_name_what_a_crash_left(opening, service):
    await (await opening()).acquire(a_request())
    # another vault: what belongs to the client cannot be read any more
    provider = await opening()
    assert await provider.sweep(set(), opening.clock.advance(1)) == 1
    assert service.clients == {}
    assert await provider.sweep(set(), opening.clock.advance(1)) == 0


async def test_a_tenant_without_an_account_is_refused(opening):
    with pytest.raises(TokenRefusedError, match="OTHER"):
        await (await opening()).acquire(a_request(tenant="OTHER"))


async def test_a_service_that_is_away(opening):
    with pytest.raises(TokenUnavailableError):
        await (await opening(server="http://127.0.0.1:9")).acquire(a_request())


async def test_without_accounts_there_is_no_start(opening):
    with pytest.raises(ConfigError, match="accounts_file"):
        await opening(accounts_file=None)


@pytest.mark.parametrize(
    ("keys", "tenant"),
    [
        # in the place of the file, for one tenant or for all
        ({"dev-one_username": USER, "dev-one_password": PASSWORD}, "DEV-ONE"),
        ({"username": USER, "password": PASSWORD}, "ANY"),
        # the tenant's own wins
        (
            {
                "username": "nobody",
                "password": "x",
                "dev_one_username": USER,
                "dev_one_password": PASSWORD,
            },
            "dev-one",
        ),
    ],
)
async def test_accounts_without_a_file(opening, service, keys, tenant):
    token = await (await opening(accounts_file=None, **keys)).acquire(a_request(tenant=tenant))
    assert service.owners[token.value] == "jane"


async def test_keys_win_over_lines_of_the_file(opening):
    wrong = {"dev-one_username": "nobody", "dev-one_password": "x"}
    with pytest.raises(TokenRefusedError, match="401"):
        await (await opening(**wrong)).acquire(a_request())


async def test_an_account_beside_the_file_is_for_the_others(opening, service):
    provider = await opening(other_username=USER, other_password=PASSWORD)
    for worker, tenant in (("w1", "DEV-ONE"), ("w2", "OTHER")):
        assert service.owners[(await provider.acquire(a_request(worker, tenant))).value] == "jane"
    with pytest.raises(TokenRefusedError, match="THIRD"):
        await provider.acquire(a_request("w3", "THIRD"))


async def test_no_secret_is_logged(opening, service, caplog):
    caplog.set_level("DEBUG")
    provider = await opening()
    token = await provider.acquire(a_request())
    service.refuses_deletion = True
    later = opening.clock.advance(1)
    assert await provider.sweep(set(), later) == 0
    (key, secret), *_ = service.clients.values()
    for text in (token.value, secret, key, PASSWORD):
        assert text not in caplog.text
