"""The client generator: makes and ends access tokens for whoever asks through its channel.

It alone talks to the provider of tokens, for some at the same time and not for more, so that a
slow authorization server is neither flooded nor waited for by everybody in turn.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from abaco.channels import Call, Channel, Served, answer_calls, ask
from abaco.domain.ids import WorkerId
from abaco.errors import (
    CallFailedError,
    ChannelError,
    TokenError,
    TokenRefusedError,
    TokenUnavailableError,
)
from abaco.metrics import TOKENS
from abaco.operations.services import Services
from abaco.ports.channels import Transport
from abaco.ports.clock import Clock
from abaco.ports.store import WorkerStore
from abaco.ports.token_provider import NO_TOKEN, Token, TokenLife, TokenProvider, TokenRequest
from agents.periodic import Periodic
from agents.supervisor import Supervisor

_log = logging.getLogger(__name__)

#: name of the channel
CLIENTS = "clients"
#: commands carried out at the same time
PARALLEL = 16
#: seconds somebody waits for a token, or for the end of one, before the try counts as failed
PATIENCE_S = 60.0
#: seconds between two sweeps
SWEEP_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """Make a token, or give the worker's."""

    request: TokenRequest
    do: Literal["new"] = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToken:
    """End the token of an execution."""

    token: Token
    do: Literal["end"] = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWorker:
    """End what was made for a worker."""

    worker_id: WorkerId
    do: Literal["retire"] = "retire"


Command = NewToken | EndToken | EndWorker


def clients_channel(transport: Transport) -> Channel[Call[Command, Token]]:
    """Return the channel of the client generator."""
    return Channel(transport, CLIENTS, Call[Command, Token])


class ClientGenerator:
    """The agent at the other end of the channel."""

    def __init__(
        self,
        channel: Channel[Call[Command, Token]],
        provider: TokenProvider,
        workers: WorkerStore,
        clock: Clock,
    ) -> None:
        self._channel = channel
        self._provider = provider
        self._workers = workers
        self._clock = clock

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._channel.open()
        served = Served(answer=self._obey, give_back=self._take_back, parallel=PARALLEL)
        await answer_calls(self._channel, served)

    async def sweep(self) -> None:
        """End what is left of workers that are gone."""
        before = self._clock.now()
        live = {worker.id for worker in await self._workers.list_workers()}
        count = await self._provider.sweep(live, before)
        if count:
            TOKENS.labels("swept").inc(count)
            _log.warning("ended the clients of %d workers that are gone", count)

    async def _obey(self, command: Command) -> Token:
        match command:
            case NewToken(request=request):
                return await self._provider.acquire(request)
            case EndToken(token=token):
                await self._provider.release(token)
            case EndWorker(worker_id=worker_id):
                await self._provider.retire(worker_id)
        return NO_TOKEN

    async def _take_back(self, token: Token) -> None:
        """End a token nobody waits for any more; a worker's is there for its next execution."""
        if not token.value or token.life is not TokenLife.EXECUTION:
            return
        try:
            await self._provider.release(token)
        except TokenError as error:
            _log.warning("a token nobody waits for is left to the sweep: %s", error)


class TokenDesk:
    """Where workers get and give back tokens: this end of the channel."""

    def __init__(self, channel: Channel[Call[Command, Token]]) -> None:
        self._channel = channel
        #: workers of this process that tokens were made for
        self._served: set[WorkerId] = set()

    async def acquire(self, request: TokenRequest) -> Token:
        """Return a token for a run.

        Raises:
            TokenUnavailableError: The same call may work later.
            TokenRefusedError: It will not.

        """
        token = await self._ask(NewToken(request=request))
        if token.life is TokenLife.WORKER:
            self._served.add(request.worker_id)
        return token

    async def release(self, token: Token) -> None:
        """End the token of an execution that has ended. What fails is left to the sweep."""
        if token.value and token.life is TokenLife.EXECUTION:
            await self._end(EndToken(token=token))

    async def retire(self, worker_id: WorkerId) -> None:
        """End what was made for a worker that is gone. What fails is left to the sweep."""
        if worker_id in self._served:
            self._served.discard(worker_id)
            await self._end(EndWorker(worker_id=worker_id))

    async def _end(self, command: Command) -> None:
        try:
            await self._ask(command)
        except TokenError as error:
            _log.warning("a token is left to the sweep: %s", error)

    async def _ask(self, command: Command) -> Token:
        try:
            token = await ask(self._channel, command, Token, PATIENCE_S)
        except CallFailedError as error:
            if error.failure == TokenRefusedError.code:
                raise TokenRefusedError(error.message) from error
            raise TokenUnavailableError(error.message) from error
        except ChannelError as error:
            raise TokenUnavailableError("the client generator does not answer") from error
        return token or NO_TOKEN


def start_clientg(
    supervisor: Supervisor, services: Services, provider: TokenProvider, transport: Transport
) -> TokenDesk:
    """Start the client generator; return where workers reach it."""
    generator = ClientGenerator(
        clients_channel(transport), provider, services.stores.workers, services.clock
    )
    sweeper = Periodic("clientg-sweep", SWEEP_INTERVAL_S, generator.sweep)
    supervisor.start("clientg", generator.run)
    supervisor.start("clientg-sweep", sweeper.run)
    return TokenDesk(clients_channel(transport))
