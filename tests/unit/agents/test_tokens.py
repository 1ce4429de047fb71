"""What an execution is given when tokens can be had, and when they cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from abaco.config import Settings
from abaco.domain.execution import ExecutionStatus
from abaco.domain.ids import WorkerId
from abaco.errors import TokenRefusedError, TokenUnavailableError
from abaco.operations import actors
from abaco.ports.driver import Context, Slot
from abaco.ports.token_provider import Token, TokenProvider, TokenRequest
from abaco.settings import RuntimeSettings, WorkersSettings
from backends.drivers.scripted import Act, Script, ScriptedEngine
from tests.support.house import QUICK, a_house, an_engine


class CountedTokens(TokenProvider):
    """Gives ``token-1``, ``token-2`` ..., unless told to fail for some time."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.requests: list[TokenRequest] = []
        self.given = 0
        self.released: list[str] = []

    async def acquire(self, request: TokenRequest) -> Token:
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop(0)
        self.given += 1
        return Token(value=f"token-{self.given}", id=str(self.given))

    async def ensure(self, token: Token, min_valid_s: float) -> Token:
        return token

    async def release(self, token: Token) -> None:
        self.released.append(token.id)

    async def sweep(self, live: Collection[WorkerId]) -> int:
        return 0


class AwayTokens(CountedTokens):
    """Never has a token."""

    async def acquire(self, request: TokenRequest) -> Token:
        self.requests.append(request)
        raise TokenUnavailableError("the issuer is away")


class ReleaseFailsTokens(CountedTokens):
    """Gives tokens and cannot end them."""

    async def release(self, token: Token) -> None:
        raise TokenUnavailableError("the issuer is away")


def settings(workers: dict | None = None, **runtime) -> Settings:
    kept = QUICK.runtime.model_dump() | runtime
    return QUICK.model_copy(
        update={
            "runtime": RuntimeSettings(**kept),
            "workers": WorkersSettings(**{"init_count": 0, **(workers or {})}),
        }
    )


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("agents.tokens.FIRST_PAUSE_S", 0.01)


class Recorder:
    """An engine that remembers which token each container was given."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.engine = ScriptedEngine(Script(otherwise=self._play))

    def _play(self, slot: Slot, context: Context) -> Act:
        self.given.append(context.environment["_abaco_access_token"])
        return Act(output=[b"hello\n"])


async def test_a_token_is_given_for_the_run_and_released_after_it():
    recorder, provider = Recorder(), CountedTokens()
    async with a_house(recorder.engine, tokens=provider) as house:
        actor = await house.register(token=True)
        done = await house.final(await house.post(actor))
        await house.no_containers()
    (request,) = provider.requests
    assert request.actor.key == actor.key
    assert (request.execution, request.worker_id) == (done.key, done.worker_id)
    assert (request.attempt, request.max_run_time_s) == (1, -1)
    assert recorder.given == ["token-1"]
    assert provider.released == ["1"]


@pytest.mark.parametrize(
    ("token", "workers"),
    [
        (None, {}),
        (False, {}),
        (True, {"generate_clients": False}),
        (True, {"dev_generate_clients": False}),
    ],
    ids=str,
)
async def test_none_is_asked_for_when_none_is_wanted(token, workers):
    recorder, provider = Recorder(), CountedTokens()
    async with a_house(recorder.engine, settings(workers), tokens=provider) as house:
        actor = await house.register(token=token)
        assert (await house.final(await house.post(actor))).status is ExecutionStatus.COMPLETE
    assert provider.requests == []
    assert provider.released == []
    assert recorder.given == [""]


async def test_a_tenant_may_have_what_others_have_not():
    provider = CountedTokens()
    workers = {"generate_clients": False, "DEV_generate_clients": True}
    async with a_house(None, settings(workers), tokens=provider) as house:
        await house.final(await house.post(await house.register(token=True)))
    assert provider.given == 1


async def test_a_message_waits_for_its_token():
    recorder = Recorder()
    provider = CountedTokens(*[TokenUnavailableError("away") for _ in range(4)])
    async with a_house(recorder.engine, tokens=provider) as house:
        done = await house.final(await house.post(await house.register(token=True)))
    assert (done.status, done.attempt) == (ExecutionStatus.COMPLETE, 1)
    assert len(provider.requests) == 5
    assert recorder.given == ["token-1"]


async def test_it_waits_only_so_long():
    recorder, provider = Recorder(), AwayTokens()
    async with a_house(recorder.engine, settings(token_max_wait=0), tokens=provider) as house:
        done = await house.final(await house.post(await house.register(token=True)))
    assert done.status is ExecutionStatus.ERROR
    assert "the issuer is away" in done.outcome.error
    assert recorder.given == []


@pytest.mark.parametrize("policy", ["wait", "error"])
async def test_a_refusal_ends_the_execution_and_not_the_actor(policy):
    recorder, provider = Recorder(), CountedTokens(TokenRefusedError("jane is unknown there"))
    async with a_house(recorder.engine, settings(token_failure=policy), tokens=provider) as house:
        actor = await house.register(token=True)
        first = await house.final(await house.post(actor))
        second = await house.final(await house.post(actor))
    assert first.status is ExecutionStatus.ERROR
    assert "jane is unknown there" in first.outcome.error
    assert second.status is ExecutionStatus.COMPLETE
    assert recorder.given == ["token-1"]


async def test_error_does_not_wait():
    provider = CountedTokens(TokenUnavailableError("the issuer is away"))
    async with a_house(None, settings(token_failure="error"), tokens=provider) as house:
        done = await house.final(await house.post(await house.register(token=True)))
    assert done.status is ExecutionStatus.ERROR
    assert len(provider.requests) == 1


@pytest.mark.parametrize("failure", [TokenUnavailableError("away"), TokenRefusedError("no")])
async def test_run_runs_without(failure):
    recorder, provider = Recorder(), CountedTokens(failure)
    async with a_house(recorder.engine, settings(token_failure="run"), tokens=provider) as house:
        done = await house.final(await house.post(await house.register(token=True)))
    assert done.status is ExecutionStatus.COMPLETE
    assert recorder.given == [""]
    assert provider.released == []


async def test_a_deleted_actor_waits_for_no_token(monkeypatch):
    monkeypatch.setattr("agents.tokens.FIRST_PAUSE_S", 30.0)
    provider = AwayTokens()
    async with a_house(tokens=provider) as house:
        actor = await house.register(token=True)
        key = await house.post(actor)

        async def has_asked() -> bool:
            return bool(provider.requests)

        await house.until(has_asked)
        await actors.delete(house.services, actor)
        done = await house.final(key)
    assert done.status is ExecutionStatus.ERROR


async def test_a_message_that_waits_survives_a_crash():
    recorder, provider = Recorder(), AwayTokens()
    async with a_house(recorder.engine, tokens=provider) as house:
        key = await house.post(await house.register(token=True))

        async def has_asked() -> bool:
            return bool(provider.requests)

        await house.until(has_asked)
        await house.crash()
        house.tokens = CountedTokens()
        await house.start()
        done = await house.final(key)
        await house.check_conservation()
    assert done.status is ExecutionStatus.COMPLETE
    assert recorder.given == ["token-1"]


async def test_a_token_that_cannot_be_released_holds_nothing_up():
    async with a_house(tokens=ReleaseFailsTokens()) as house:
        actor = await house.register(token=True)
        for _ in range(2):
            done = await house.final(await house.post(actor))
            assert done.status is ExecutionStatus.COMPLETE


async def test_a_token_outlives_a_stop_that_leaves_its_container():
    engine, provider = an_engine(Act(until_stopped=True)), CountedTokens()
    async with a_house(engine, tokens=provider) as house:
        await house.running(await house.post(await house.register(token=True)))
        await house.crash()
        await asyncio.sleep(0)
        assert provider.released == []
        await house.start()
