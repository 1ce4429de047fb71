"""What an execution is given when tokens can be had, and when they cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from abaco.config import Settings
from abaco.domain.execution import ExecutionStatus
from abaco.domain.ids import WorkerId
from abaco.errors import TokenRefusedError, TokenUnavailableError
from abaco.operations import actors
from abaco.ports.driver import Context, Slot
from abaco.ports.token_provider import Token, TokenLife, TokenProvider, TokenRequest
from abaco.settings import RuntimeSettings, WorkersSettings
from agents.clientg import PARALLEL, ClientGenerator, EndToken, TokenDesk, clients_channel
from backends.channels.local import LocalTransport
from backends.drivers.scripted import Act, Script, ScriptedEngine
from backends.system import SystemClock
from tests.support.house import QUICK, a_house, an_engine
from tests.support.records import an_actor, an_execution


class CountedTokens(TokenProvider):
    """Gives ``token-1``, ``token-2`` ..., unless told to fail for some time."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.requests: list[TokenRequest] = []
        self.given = 0
        self.released: list[str] = []
        self.retired: list[WorkerId] = []
        self.sweeps: list[tuple[set[WorkerId], datetime]] = []

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

    async def retire(self, worker_id: WorkerId) -> None:
        self.retired.append(worker_id)

    async def sweep(self, live: Collection[WorkerId], before: datetime) -> int:
        self.sweeps.append((set(live), before))
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
    assert (request.tenant, request.actor_id) == (actor.tenant, actor.id)
    assert (request.owner, request.execution_id) == (actor.owner, done.id)
    assert request.worker_id == done.worker_id
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


class WorkerTokens(CountedTokens):
    """Gives each worker one token for all its executions."""

    async def acquire(self, request: TokenRequest) -> Token:
        self.requests.append(request)
        return Token(value=f"of-{request.worker_id}", life=TokenLife.WORKER)


async def test_a_workers_token_ends_with_the_worker():
    recorder, provider = Recorder(), WorkerTokens()
    async with a_house(recorder.engine, tokens=provider) as house:
        actor = await house.register(token=True)
        for number in range(3):
            await house.final(await house.post(actor, number))
        (worker_id,) = {request.worker_id for request in provider.requests}
        assert recorder.given == [f"of-{worker_id}"] * 3
        assert provider.retired == []

        async def is_retired() -> bool:
            return provider.retired == [worker_id]

        await house.until(is_retired)
    assert provider.released == []


async def test_a_sweep_is_told_who_lives(monkeypatch):
    monkeypatch.setattr("agents.clientg.SWEEP_INTERVAL_S", 0.05)
    engine, provider = an_engine(Act(until_stopped=True)), CountedTokens()
    async with a_house(engine, tokens=provider) as house:
        done = await house.running(await house.post(await house.register(token=True)))

        async def has_swept() -> bool:
            return bool(provider.sweeps) and provider.sweeps[-1][0] == {done.worker_id}

        await house.until(has_swept)
        assert provider.sweeps[-1][1] <= datetime.now(UTC)


class TestTheDesk:
    """The two ends of the channel of clients, without anything around them."""

    @pytest.fixture
    async def desk(self):
        """Make a desk and the generator behind it."""
        transport = LocalTransport()
        tasks: list[asyncio.Task[None]] = []

        def make(provider: TokenProvider) -> TokenDesk:
            generator = ClientGenerator(clients_channel(transport), provider, None, SystemClock())
            tasks.append(asyncio.create_task(generator.run()))
            return TokenDesk(clients_channel(transport))

        yield make
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def request(self) -> TokenRequest:
        execution = an_execution(an_actor(), worker_id=WorkerId("w"))
        return TokenRequest(
            tenant=execution.tenant,
            owner="jane",
            actor_id=execution.actor_id,
            execution_id=execution.id,
            worker_id=WorkerId("w"),
            attempt=1,
        )

    async def test_what_is_asked_for_arrives_whole(self, desk):
        provider = CountedTokens()
        asked = self.request()
        token = await desk(provider).acquire(asked)
        assert provider.requests == [asked]
        assert token == Token(value="token-1", id="1")

    async def test_a_refusal_and_an_outage_stay_what_they_are(self, desk):
        provider = CountedTokens(TokenRefusedError("no"), TokenUnavailableError("away"))
        made = desk(provider)
        with pytest.raises(TokenRefusedError, match="no"):
            await made.acquire(self.request())
        with pytest.raises(TokenUnavailableError, match="away"):
            await made.acquire(self.request())

    async def test_a_generator_that_is_stuck_is_an_outage(self, desk, monkeypatch):
        monkeypatch.setattr("agents.clientg.PATIENCE_S", 0.05)

        is_released = asyncio.Event()

        class StuckTokens(CountedTokens):
            async def acquire(self, request: TokenRequest) -> Token:
                await asyncio.sleep(0.15)
                return await super().acquire(request)

            async def release(self, token: Token) -> None:
                await super().release(token)
                is_released.set()

        provider = StuckTokens()
        with pytest.raises(TokenUnavailableError, match="does not answer"):
            await desk(provider).acquire(self.request())
        async with asyncio.timeout(5):
            await is_released.wait()  # the token came when nobody waited any more
        assert provider.released == ["1"]

    async def test_only_so_many_are_made_at_once(self, desk):
        class SlowTokens(CountedTokens):
            at_once = most = 0

            async def acquire(self, request: TokenRequest) -> Token:
                self.at_once += 1
                self.most = max(self.most, self.at_once)
                await asyncio.sleep(0.01)
                self.at_once -= 1
                return await super().acquire(request)

        provider = SlowTokens()
        made = desk(provider)
        await asyncio.gather(*[made.acquire(self.request()) for _ in range(4 * PARALLEL)])
        assert provider.most == PARALLEL
        assert provider.given == 4 * PARALLEL

    async def test_no_token_is_in_the_text_of_a_command(self):
        command = EndToken(token=Token(value="s3cret"))
        assert "s3cret" not in repr(command)
