"""The embedded store: one SQLite file, durable, no service to run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from abaco.config import Settings
from abaco.ports.blobs import BlobStore
from abaco.ports.clock import Clock
from abaco.ports.store import Stores
from backends.blobs import open_blobs
from backends.stores.event_rules import policy_of
from backends.stores.sqlite.actors import SqliteActors
from backends.stores.sqlite.aliases import SqliteAliases
from backends.stores.sqlite.audit import SqliteAudit
from backends.stores.sqlite.configs import SqliteConfigs
from backends.stores.sqlite.cron import SqliteCron
from backends.stores.sqlite.database import Database, open_database
from backends.stores.sqlite.events import EventWriter
from backends.stores.sqlite.executions import SqliteExecutions
from backends.stores.sqlite.images import SqliteImages, SqlitePins
from backends.stores.sqlite.instance import SqliteInstance
from backends.stores.sqlite.intake import SqliteIntake
from backends.stores.sqlite.logs import SqliteLogs, SqliteResults
from backends.stores.sqlite.mailbox import SqliteMailbox
from backends.stores.sqlite.nonces import SqliteNonces
from backends.stores.sqlite.outbox import SqliteOutbox
from backends.stores.sqlite.permissions import SqlitePermissions
from backends.stores.sqlite.search import SqliteSearch
from backends.stores.sqlite.token_clients import SqliteTokenClients
from backends.stores.sqlite.usage import SqliteUsage
from backends.stores.sqlite.webhook_secrets import SqliteWebhookSecrets
from backends.stores.sqlite.workers import SqliteWorkers


@asynccontextmanager
async def open_stores(settings: Settings, clock: Clock) -> AsyncIterator[Stores]:
    """Open the database file, making or upgrading it as needed.

    On leaving, what was accepted is committed first.

    Raises:
        ConfigError: The file cannot be used; says which key to change and how.

    """
    async with (
        open_database(
            settings.database_path,
            settings.store.timeout_s,
            search_timeout_s=settings.store.search_timeout_s,
        ) as database,
        open_blobs(settings.general.data_dir / "blobs", clock) as blobs,
    ):
        yield make_stores(database, blobs, settings, clock)


def make_stores(database: Database, blobs: BlobStore, settings: Settings, clock: Clock) -> Stores:
    """Build every store over one database."""
    events = EventWriter(policy_of(settings), clock)
    return Stores(
        actors=SqliteActors(database, clock, events),
        mailbox=SqliteMailbox(database, clock, events),
        intake=SqliteIntake(database),
        executions=SqliteExecutions(database),
        workers=SqliteWorkers(database),
        logs=SqliteLogs(database, clock),
        results=SqliteResults(database),
        blobs=blobs,
        instance=SqliteInstance(database),
        permissions=SqlitePermissions(database),
        aliases=SqliteAliases(database),
        nonces=SqliteNonces(database),
        cron=SqliteCron(database),
        configs=SqliteConfigs(database),
        search=SqliteSearch(database, clock, settings.store.search_timeout_s),
        outbox=SqliteOutbox(database),
        webhook_secrets=SqliteWebhookSecrets(database),
        usage=SqliteUsage(database),
        audit=SqliteAudit(database),
        token_clients=SqliteTokenClients(database),
        images=SqliteImages(database),
        pins=SqlitePins(database),
    )
