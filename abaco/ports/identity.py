"""Whom a container runs as, and with which token."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from abaco.domain.actor import Actor
from abaco.domain.execution import ExecutionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUser:
    """A user on the container host. None means "as the image says"."""

    uid: int | None = None
    gid: int | None = None
    home: str | None = None


class IdentityProvider(Protocol):
    """Resolves the owner of an actor to a host user."""

    @abstractmethod
    async def resolve(self, actor: Actor) -> HostUser:
        """Return the user the actor's containers run as.

        Always resolved for the owner, never for the caller. Raises BackendError when the
        provider cannot answer; running as somebody else instead is not an option.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token for one execution; ``value`` is empty when there is none."""

    value: str
    id: str = ""


class TokenProvider(Protocol):
    """Gives executions access tokens that represent the actor's owner."""

    @abstractmethod
    async def acquire(self, actor: Actor, execution: ExecutionKey) -> Token:
        """Return a token that stays valid for the run. May be called concurrently."""

    @abstractmethod
    async def release(self, token: Token) -> None:
        """End a token. Idempotent; called when the execution is final."""
