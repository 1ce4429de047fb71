"""Tokens signed here, tokens from a file, and none."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from abaco.config import Settings
from abaco.domain.caller import ADMIN_ROLE
from abaco.domain.ids import WorkerId
from abaco.errors import ConfigError, TokenRefusedError, TokenUnavailableError
from abaco.ports.token_provider import NO_TOKEN, Token, TokenRequest
from backends.registry import find_stores, find_token_provider
from backends.system import SystemClock
from backends.tokens.select import key_file, own_tokens
from backends.vault import ephemeral_vault
from tests.support.records import an_actor, an_execution

WORKER = WorkerId("w1")


def settings_in(directory, **runtime) -> Settings:
    return Settings(
        general={"data_dir": directory},
        store={"backend": "memory"},
        web={"user_role": "base", "default_api_server": "https://api.example.org"},
        runtime=runtime,
    )


@pytest.fixture
async def open_provider(tmp_path):
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:

        async def open_it(**runtime):
            settings = settings_in(tmp_path, **runtime)
            clock = SystemClock()
            stores = await stack.enter_async_context(find_stores("memory")(settings, clock))
            find = find_token_provider(settings.runtime.token_provider)
            return await stack.enter_async_context(find(settings, clock, stores, ephemeral_vault()))

        yield open_it


def a_request(max_run_time_s=-1.0, **actor) -> TokenRequest:
    made = an_actor(**actor)
    execution = an_execution(made)
    return TokenRequest(
        tenant=made.tenant,
        owner=made.owner,
        actor_id=made.id,
        execution_id=execution.id,
        worker_id=WORKER,
        attempt=3,
        max_run_time_s=max_run_time_s,
    )


class TestLocalJwt:
    async def test_is_the_default_and_says_what_the_token_is_for(self, open_provider, tmp_path):
        request = a_request(owner="jane")
        token = await (await open_provider()).acquire(request)
        claims = jwt.decode(token.value, options={"verify_signature": False})
        assert claims["abaco"] == {
            "actor": request.actor_id,
            "worker": WORKER,
            "execution": request.execution_id,
            "attempt": 3,
            "scope": "owner",
        }
        assert (claims["sub"], claims["tenant"]) == ("jane", request.tenant)
        assert (claims["iss"], claims["aud"]) == ("abaco", "https://api.example.org")
        assert claims["roles"] == ["base"]
        assert claims["nbf"] == claims["iat"]

    async def test_the_same_installation_knows_it_again(self, open_provider, tmp_path):
        request = a_request(owner="jane")
        token = await (await open_provider(token_scope="actor")).acquire(request)
        identity = await own_tokens(settings_in(tmp_path), SystemClock()).identify(token.value)
        assert (identity.user, identity.is_for_actor) == ("jane", True)
        assert identity.run.key(request.tenant) == (
            request.tenant,
            request.actor_id,
            request.execution_id,
        )
        assert (identity.run.worker_id, identity.run.attempt) == (WORKER, 3)

    @pytest.mark.parametrize(
        ("max_run_time_s", "valid_s"), [(60.0, 360), (-1.0, 900), (5000.0, 1300)]
    )
    async def test_the_life_of_a_token(self, open_provider, max_run_time_s, valid_s):
        provider = await open_provider(token_ttl=600, token_max_ttl=1000)
        token = await provider.acquire(a_request(max_run_time_s))
        claims = jwt.decode(token.value, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == valid_s
        ahead = token.expires_at - datetime.now(UTC)
        assert abs(ahead - timedelta(seconds=valid_s)) < timedelta(seconds=5)

    async def test_no_two_are_alike_and_none_is_in_its_text_form(self, open_provider):
        provider, request = await open_provider(), a_request()
        first, second = await provider.acquire(request), await provider.acquire(request)
        assert first.value != second.value
        assert first.value not in repr(first)
        assert await provider.ensure(first, 1e9) is first
        await provider.release(first)
        await provider.retire(WORKER)
        assert await provider.sweep([], datetime.now(UTC)) == 0

    async def test_keys_that_were_broken_meanwhile_are_an_outage(self, open_provider, tmp_path):
        provider = await open_provider()
        path = key_file(settings_in(tmp_path))
        path.write_text("{}")
        os.utime(path, (1, 1))
        with pytest.raises(TokenUnavailableError, match="signed"):
            await provider.acquire(a_request())

    async def test_keys_that_cannot_be_used_stop_the_start(self, open_provider, tmp_path):
        key_file(settings_in(tmp_path)).write_text("{}")
        with pytest.raises(ConfigError, match=r"chmod|no set"):
            await open_provider()


class TestStatic:
    @pytest.fixture
    def file(self, tmp_path):
        def write(text: str | bytes, mode=0o600):
            path = tmp_path / "tokens"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            path.chmod(mode)
            return path

        return write

    async def test_gives_the_token_of_the_tenant(self, open_provider, file):
        path = file("# tokens\n\ndev-one: s3cret:with:colons\nOTHER:x\n")
        provider = await open_provider(token_provider="static", token_file=path)
        token = await provider.acquire(a_request(tenant="DEV_ONE"))
        assert token == Token(value="s3cret:with:colons")
        assert token.expires_at is None
        with pytest.raises(TokenRefusedError, match="DEV"):
            await provider.acquire(a_request(tenant="DEV"))

    @pytest.mark.parametrize("text", ["dev", "dev:", ": x", "dev: s3cret\nDEV: y", b"\xff: s3cret"])
    async def test_a_broken_file_stops_the_start_and_is_not_repeated(
        self, open_provider, file, text
    ):
        with pytest.raises(ConfigError, match="token_file") as caught:
            await open_provider(token_provider="static", token_file=file(text))
        assert "s3cret" not in str(caught.value)

    async def test_so_does_one_that_others_may_read(self, open_provider, file):
        with pytest.raises(ConfigError, match="chmod 600"):
            await open_provider(token_provider="static", token_file=file("a: b", 0o640))

    @pytest.mark.parametrize("path", [None, "/no/such/file"])
    async def test_and_one_that_is_not_there(self, open_provider, path):
        with pytest.raises(ConfigError, match="token_file"):
            await open_provider(token_provider="static", token_file=path)


async def test_none_gives_the_empty_token(open_provider):
    provider = await open_provider(token_provider="none")
    token = await provider.acquire(a_request())
    assert token is NO_TOKEN
    assert await provider.ensure(token, 60) is token
    await provider.release(token)
    await provider.retire(WORKER)
    assert await provider.sweep([], datetime.now(UTC)) == 0


async def test_the_role_of_administrators_is_never_in_a_token(open_provider):
    token = await (await open_provider()).acquire(a_request(owner="root"))
    claims = jwt.decode(token.value, options={"verify_signature": False})
    assert ADMIN_ROLE not in claims["roles"]
