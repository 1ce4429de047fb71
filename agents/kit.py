"""What workers share: ports, policies, and the helpers that outlive a single worker."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from abaco.config import Settings
from abaco.domain.actor import RUNNABLE, ActorKey, ActorStatus
from abaco.domain.context import CA_BUNDLE
from abaco.errors import NotFoundError, StoreUnavailableError
from abaco.lifecycle.retry import RetryPolicy
from abaco.ports.clock import Clock
from abaco.ports.driver import Bind, Driver
from abaco.ports.ipc import IpcHost
from abaco.ports.mounts import HostFiles
from abaco.ports.notices import Notices, Topic
from abaco.ports.store import Stores
from abaco.ports.vault import Vault
from agents.clientg import TokenDesk
from agents.engine import EngineWatch
from agents.images import ImageKeeper
from agents.remover import Remover
from agents.slots import Slots

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """Everything a worker works with; built once."""

    settings: Settings
    stores: Stores
    notices: Notices
    clock: Clock
    driver: Driver
    engine: EngineWatch
    images: ImageKeeper
    ipc: IpcHost
    remover: Remover
    host_files: HostFiles
    tokens: TokenDesk
    retry: RetryPolicy
    slots: Slots
    vault: Vault

    @property
    def ca_bundle(self) -> Bind | None:
        """The certificates containers are to trust; None without any, or an engine elsewhere."""
        path, info = self.settings.runtime.actor_ca_bundle, self.engine.info
        if path is None or (info is not None and not info.sees_our_files):
            return None
        return Bind(host_path=str(path), container_path=CA_BUNDLE)

    async def set_actor_status(
        self,
        key: ActorKey,
        revision: int,
        status: ActorStatus,
        message: str,
        *,
        expect: frozenset[ActorStatus] = RUNNABLE,
    ) -> bool:
        """Compare-and-set an actor's status for a revision and tell whoever listens.

        False when the actor is gone, stopped or has another revision.
        """
        try:
            is_set = await persist(
                lambda: self.stores.actors.set_status(
                    key, status, message, expect=expect, revision=revision
                )
            )
        except NotFoundError:
            return False
        if is_set:
            _log.info("actor %s is %s %s", key.id, status.value, message)
            self.notices.publish(Topic.ACTOR, key)
        return is_set


def _warn(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("the store does not answer, try %d: %s", state.attempt_number, error)


async def persist(write: Callable[[], Awaitable[T]]) -> T:
    """Make a write that must happen, however long the store is away.

    For the facts of a run: what happened in a container cannot be asked for again. The write
    must be fenced or idempotent, because one that timed out may have been applied.
    """
    try:
        return await write()  # as nearly always; what follows costs more than many writes
    except StoreUnavailableError as error:
        _log.warning("the store does not answer: %s", error)
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(StoreUnavailableError),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=5.0),
        before_sleep=_warn,
    )
    async for attempt in retrying:
        with attempt:
            return await write()
    raise AssertionError("tenacity ends only with a result or an error")
