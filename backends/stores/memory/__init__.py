"""The memory store: for tests and trials. Nothing survives a stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from abaco.config import Settings
from abaco.ports.blobs import BlobStore
from abaco.ports.clock import Clock
from abaco.ports.store import Stores
from backends.blobs import open_passing_blobs
from backends.stores.event_rules import policy_of
from backends.stores.memory.actors import MemoryActors, MemoryWorkers
from backends.stores.memory.audit import MemoryAudit
from backends.stores.memory.configs import MemoryConfigs
from backends.stores.memory.cron import MemoryCron
from backends.stores.memory.images import MemoryImages, MemoryPins
from backends.stores.memory.intake import MemoryIntake
from backends.stores.memory.mailbox import MemoryExecutions, MemoryMailbox
from backends.stores.memory.outbox import MemoryOutbox, MemoryWebhookSecrets
from backends.stores.memory.output import MemoryInstance, MemoryLogs, MemoryResults
from backends.stores.memory.search import MemorySearch
from backends.stores.memory.sharing import MemoryAliases, MemoryNonces, MemoryPermissions
from backends.stores.memory.state import State
from backends.stores.memory.token_clients import MemoryTokenClients
from backends.stores.memory.usage import MemoryUsage


@asynccontextmanager
async def open_stores(settings: Settings, clock: Clock) -> AsyncIterator[Stores]:
    """Open an empty store. Of the settings those about events and searches matter to it."""
    state = State(clock, policy_of(settings))
    async with open_passing_blobs(clock) as blobs:
        yield _make_stores(state, settings, blobs)


def _make_stores(state: State, settings: Settings, blobs: BlobStore) -> Stores:
    mailbox = MemoryMailbox(state)
    return Stores(
        actors=MemoryActors(state),
        mailbox=mailbox,
        intake=MemoryIntake(state),
        executions=MemoryExecutions(state),
        workers=MemoryWorkers(state),
        logs=MemoryLogs(state),
        results=MemoryResults(state),
        blobs=blobs,
        instance=MemoryInstance(state),
        permissions=MemoryPermissions(state),
        aliases=MemoryAliases(state),
        nonces=MemoryNonces(state),
        cron=MemoryCron(state),
        configs=MemoryConfigs(state),
        search=MemorySearch(state, settings.store.search_timeout_s),
        outbox=MemoryOutbox(state),
        webhook_secrets=MemoryWebhookSecrets(state),
        usage=MemoryUsage(state),
        audit=MemoryAudit(state),
        token_clients=MemoryTokenClients(),
        images=MemoryImages(state),
        pins=MemoryPins(state),
    )
