"""What workers share: ports, policies, and the helpers that outlive a single worker."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from abaco.config import Settings
from abaco.domain.actor import RUNNABLE, ActorKey, ActorStatus
from abaco.domain.context import CA_BUNDLE
from abaco.errors import NotFoundError
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
from agents.persist import persist
from agents.remover import Remover
from agents.slots import Slots

_log = logging.getLogger(__name__)


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
    #: held by whoever has a large result in memory
    large_results: asyncio.Lock = field(default_factory=asyncio.Lock)

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
            said = f": {message}" if message.strip() else ""
            _log.info("actor %s is %s%s", key.id, status.value, said)
            self.notices.publish(Topic.ACTOR, key)
        return is_set
