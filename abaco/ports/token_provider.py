"""Access tokens for what runs in containers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId


class TokenLife(StrEnum):
    """What a token is bound to, and so when it is released."""

    #: made for one execution, and of no use after it
    EXECUTION = "execution"
    #: made for a worker, and given to its executions one after the other
    WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """For what a token is wanted.

    Attributes:
        owner: Of the actor; whom the token represents.
        max_run_time_s: Time limit of the run; 0 or less for none.

    """

    tenant: Tenant
    owner: str
    actor_id: ActorId
    execution_id: ExecutionId
    worker_id: WorkerId
    attempt: int
    max_run_time_s: float = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token; ``value`` is empty when there is none.

    Attributes:
        value: The secret. Not part of the text form, so that no log line can have it.
        id: What the provider knows it by.
        expires_at: None when it does not expire, as far as the provider knows.

    """

    value: str = field(repr=False)
    id: str = ""
    expires_at: datetime | None = None
    life: TokenLife = TokenLife.EXECUTION


NO_TOKEN = Token(value="")


class TokenProvider(Protocol):
    """Gives executions access tokens that represent the actor's owner.

    Every method may be called concurrently. They raise TokenUnavailableError when the same call
    may work later, and TokenRefusedError when it will not.
    """

    @abstractmethod
    async def acquire(self, request: TokenRequest) -> Token:
        """Return a token that stays valid for the run.

        Asked again for the same worker, a provider whose tokens live as long as workers returns
        the worker's token, or a fresh one in its place.
        """

    @abstractmethod
    async def ensure(self, token: Token, min_valid_s: float) -> Token:
        """Return this token if it is valid for so many seconds more, or else a fresh one."""

    @abstractmethod
    async def release(self, token: Token) -> None:
        """End a token. Idempotent; called when what it is bound to has ended."""

    @abstractmethod
    async def retire(self, worker_id: WorkerId) -> None:
        """End what was made for a worker. Idempotent; called when the worker is gone."""

    @abstractmethod
    async def sweep(self, live: Collection[WorkerId], before: datetime) -> int:
        """End what was made before a time for workers that are not among these.

        Returns for how many. Makes up for every ``release`` and ``retire`` that was never called.
        """
