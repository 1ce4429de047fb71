"""Tokens from a real authorization server: made, used again, refreshed, and gone in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from abaco.config import Settings
from abaco.domain.execution import ExecutionStatus
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId
from abaco.errors import ConfigError, TokenRefusedError, TokenUnavailableError
from abaco.ports.store import Stores
from abaco.ports.token_provider import TokenLife, TokenProvider, TokenRequest
from backends.registry import find_token_provider
from backends.tokens.oauth2 import metadata_url
from backends.vault import ephemeral_vault
from tests.support.authority import INITIAL_TOKEN, Authority, an_authority
from tests.support.house import QUICK, a_house
from tests.support.records import SteppedClock

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")


@pytest.fixture(autouse=True)
def over_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authlib wants TLS; this server is on this machine."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    with an_authority(tmp_path / "token-keys.public.json") as made:
        yield made


def settings_for(authority: Authority, directory: Path, **oauth: Any) -> Settings:
    secret = directory / "initial"
    secret.write_text(f"{INITIAL_TOKEN}\n")
    secret.chmod(0o600)
    chosen = {"issuer": authority.url, "registration_token_file": secret, "timeout": 5, **oauth}
    return Settings(
        general={"data_dir": directory},
        runtime={**QUICK.runtime.model_dump(), "token_provider": "oauth2"},
        workers=QUICK.workers.model_dump(),
        oauth=chosen,
    )


class Opened:
    """A provider over each store, which may be opened again, as after a crash."""

    def __init__(self, stores: Stores, authority: Authority, directory: Path) -> None:
        self.stores, self.authority, self.directory = stores, authority, directory
        #: the time it is: statements are verified by somebody with a clock of their own
        self.clock = SteppedClock(datetime.now(UTC))
        self.vault = ephemeral_vault()
        self.stack = AsyncExitStack()

    async def open(self, **oauth: Any) -> TokenProvider:
        settings = settings_for(self.authority, self.directory, **oauth)
        opening = find_token_provider("oauth2")(settings, self.clock, self.stores, self.vault)
        return await self.stack.enter_async_context(opening)


@pytest.fixture
async def opened(stores: Stores, authority: Authority, tmp_path: Path) -> AsyncIterator[Opened]:
    made = Opened(stores, authority, tmp_path)
    yield made
    await made.stack.aclose()


def a_request(worker: str = "w1", owner: str = "jane", **fields: Any) -> TokenRequest:
    defaults = {
        "tenant": Tenant("DEV"),
        "owner": owner,
        "actor_id": ActorId("a1"),
        "execution_id": ExecutionId("e1"),
        "worker_id": WorkerId(worker),
        "attempt": 1,
    }
    return TokenRequest(**{**defaults, **fields})


class TestClients:
    async def test_a_token_represents_the_owner(self, opened, authority):
        token = await (await opened.open()).acquire(a_request())
        assert authority.user_of(token.value) == "jane"
        assert (token.life, token.id) == (TokenLife.WORKER, "w1")
        assert authority.names == ["w1"]

    async def test_or_the_client(self, opened, authority):
        token = await (await opened.open(on_behalf="client")).acquire(a_request())
        assert authority.user_of(token.value) is None

    async def test_each_worker_has_one(self, opened, authority):
        provider = await opened.open()
        workers = [f"w{number % 3}" for number in range(12)]
        tokens = await asyncio.gather(*[provider.acquire(a_request(name)) for name in workers])
        assert authority.names == ["w0", "w1", "w2"]
        assert len({token.value for token in tokens}) == 3
        assert provider._locks == {}

    async def test_is_gone_with_its_worker(self, opened, authority, stores):
        provider = await opened.open()
        token = await provider.acquire(a_request())
        await provider.release(token)
        assert authority.names == ["w1"]
        for _ in range(2):
            await provider.retire(WorkerId("w1"))
            assert authority.names == []
        assert await stores.token_clients.find(WorkerId("w1")) is None

    async def test_what_is_stored_is_sealed(self, opened, authority, stores):
        await (await opened.open()).acquire(a_request())
        (client,) = authority.clients.values()
        kept = await stores.token_clients.find(WorkerId("w1"))
        for secret in (client.client_secret, client.registration_token, client.client_id):
            assert secret not in kept.sealed
            assert secret in opened.vault.decrypt(kept.sealed)

    async def test_is_used_again_by_a_new_process(self, opened, authority):
        await (await opened.open()).acquire(a_request())
        token = await (await opened.open()).acquire(a_request())
        assert authority.names == ["w1"]
        assert authority.user_of(token.value) == "jane"

    async def test_that_the_server_forgot_is_made_anew(self, opened, authority):
        provider = await opened.open()
        await provider.acquire(a_request())
        authority.clients.clear()
        opened.clock.advance(3500)
        token = await provider.acquire(a_request())
        assert authority.names == ["w1"]
        assert authority.user_of(token.value) == "jane"


class TestTokens:
    async def test_last_for_many_executions(self, opened, authority):
        provider = await opened.open()
        first = await provider.acquire(a_request())
        opened.clock.advance(3600 - 301)
        asked = len(authority.asked)
        assert await provider.acquire(a_request()) == first
        assert await provider.ensure(first, 300) == first
        assert len(authority.asked) == asked

    async def test_are_refreshed_when_they_would_not_last(self, opened, authority):
        provider = await opened.open()
        first = await provider.acquire(a_request())
        opened.clock.advance(3600 - 299)
        second = await provider.acquire(a_request())
        assert second.value != first.value
        assert authority.asked[-1] == "POST /token"
        assert authority.user_of(second.value) == "jane"
        # the run that has the first one may go on with it
        assert authority.user_of(first.value) == "jane"
        assert authority.names == ["w1"]

    async def test_a_long_run_needs_one_that_lasts_longer(self, opened):
        provider = await opened.open()
        first = await provider.acquire(a_request())
        assert await provider.acquire(a_request(max_run_time_s=3000)) == first
        opened.clock.advance(1000)
        assert await provider.acquire(a_request(max_run_time_s=3000)) != first

    async def test_in_the_middle_of_a_run(self, opened, authority):
        provider = await opened.open()
        first = await provider.acquire(a_request())
        opened.clock.advance(1800)
        fresh = await provider.ensure(first, 3000)
        assert fresh != first
        assert await provider.ensure(first, 3000) == fresh
        assert authority.user_of(fresh.value) == "jane"

    async def test_without_refresh_tokens_they_are_made_anew(self, opened, authority):
        authority.gives_refresh_tokens = False
        provider = await opened.open()
        first = await provider.acquire(a_request())
        opened.clock.advance(3500)
        second = await provider.acquire(a_request())
        assert second != first
        assert authority.user_of(second.value) == "jane"

    async def test_a_refresh_token_that_was_spent_is_no_end(self, opened, authority):
        provider = await opened.open()
        await provider.acquire(a_request())
        for issued in authority.issued:
            issued.value.pop("refresh_token", None)
        opened.clock.advance(3500)
        token = await provider.acquire(a_request())
        assert authority.user_of(token.value) == "jane"
        assert authority.names == ["w1"]


class TestFailures:
    async def test_a_server_that_is_away(self, opened, authority):
        provider = await opened.open()
        authority.is_away = True
        with pytest.raises(TokenUnavailableError):
            await provider.acquire(a_request())
        authority.is_away = False
        assert (await provider.acquire(a_request())).value
        assert authority.names == ["w1"]

    async def test_a_server_that_is_not_there(self, opened, stores):
        provider = await opened.open(issuer="http://127.0.0.1:9")
        with pytest.raises(TokenUnavailableError):
            await provider.acquire(a_request())

    async def test_an_owner_nobody_knows(self, opened, authority):
        authority.unknown_owners = {"joe"}
        provider = await opened.open()
        with pytest.raises(TokenRefusedError, match="invalid_grant"):
            await provider.acquire(a_request(owner="joe"))
        assert authority.names == []
        assert authority.user_of((await provider.acquire(a_request())).value) == "jane"

    async def test_an_initial_token_that_is_wrong(self, opened, authority, tmp_path):
        provider = await opened.open()
        (tmp_path / "initial").write_text("wrong")
        with pytest.raises(TokenRefusedError, match="refused") as caught:
            await provider.acquire(a_request())
        assert "wrong" not in str(caught.value)

    async def test_metadata_of_another_server(self, opened, authority):
        provider = await opened.open(issuer=f"{authority.url}/")
        with pytest.raises(TokenUnavailableError, match="another"):
            await provider.acquire(a_request())

    async def test_a_tenant_without_a_server(self, opened, authority):
        provider = await opened.open(issuer=None, other_issuer=authority.url)
        with pytest.raises(TokenRefusedError, match="DEV"):
            await provider.acquire(a_request())
        assert (await provider.acquire(a_request(tenant=Tenant("OTHER")))).value

    async def test_no_server_at_all_stops_the_start(self, opened):
        with pytest.raises(ConfigError, match=r"oauth\.issuer"):
            await opened.open(issuer=None)

    async def test_so_does_a_file_that_others_may_read(self, opened, tmp_path):
        provider = opened.open()
        await provider
        (tmp_path / "other").write_text("x")
        with pytest.raises(ConfigError, match="chmod"):
            await opened.open(registration_token_file=tmp_path / "other")


class TestSweep:
    async def test_ends_what_nobody_lives_for(self, opened, authority, stores):
        provider = await opened.open()
        for name in ("w1", "w2", "w3"):
            await provider.acquire(a_request(name))
        later = opened.clock.advance(1)
        await provider.acquire(a_request("w4"))
        assert await provider.sweep({WorkerId("w2")}, later) == 2
        assert authority.names == ["w2", "w4"]
        assert await stores.token_clients.find(WorkerId("w1")) is None

    async def test_also_after_a_crash(self, opened, authority):
        await (await opened.open()).acquire(a_request())
        provider = await opened.open()
        assert await provider.sweep(set(), opened.clock.advance(1)) == 1
        assert authority.names == []

    async def test_of_one_that_was_never_registered(self, opened, authority, stores):
        provider = await opened.open()
        authority.is_away = True
        with pytest.raises(TokenUnavailableError):
            await provider.acquire(a_request())
        assert await stores.token_clients.find(WorkerId("w1")) is not None
        assert await provider.sweep(set(), opened.clock.advance(1)) == 1
        assert await stores.token_clients.find(WorkerId("w1")) is None

    async def test_is_tried_again_when_the_server_is_away(self, opened, authority):
        provider = await opened.open()
        await provider.acquire(a_request())
        authority.is_away = True
        later = opened.clock.advance(1)
        assert await provider.sweep(set(), later) == 0
        authority.is_away = False
        assert await provider.sweep(set(), later) == 1
        assert authority.names == []

    async def test_of_what_the_server_has_forgotten(self, opened, authority):
        provider = await opened.open()
        await provider.acquire(a_request())
        authority.clients.clear()
        assert await provider.sweep(set(), opened.clock.advance(1)) == 1


async def test_a_message_waits_for_the_server_and_is_not_lost(opened, authority, monkeypatch):
    monkeypatch.setattr("agents.tokens.FIRST_PAUSE_S", 0.02)
    authority.is_away = True
    settings = settings_for(authority, opened.directory)
    provider = await opened.open()
    async with a_house(settings=settings, tokens=provider) as house:
        key = await house.post(await house.register(token=True))

        async def has_asked() -> bool:
            return len(authority.asked) > 2

        await house.until(has_asked)
        assert (await house.stores.executions.get(key)).status is ExecutionStatus.SUBMITTED
        authority.is_away = False
        assert (await house.final(key)).status is ExecutionStatus.COMPLETE

        async def is_clean() -> bool:
            return authority.names == []

        await house.until(is_clean)


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://a.org", "https://a.org/.well-known/oauth-authorization-server"),
        ("https://a.org/b/", "https://a.org/.well-known/oauth-authorization-server/b"),
    ],
)
def test_where_metadata_are(issuer, url):
    assert metadata_url(issuer) == url
