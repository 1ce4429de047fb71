"""All agents of one process, made and started together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from abaco.config import Settings
from abaco.lifecycle.images import PullRule
from abaco.lifecycle.retry import RetryPolicy
from abaco.metrics import QUEUE_PLACES, QUEUE_WAITING, QUEUE_WORKERS
from abaco.operations.services import Services
from abaco.ports.driver import Driver
from abaco.ports.ipc import IpcHost
from abaco.ports.mounts import HostFiles
from abaco.ports.registries import Registries
from abaco.ports.webhooks import WebhookSender
from agents.autoscaler import TICK_S, Autoscaler
from agents.clientg import TokenDesk
from agents.cron import CronAgent
from agents.engine import EngineWatch
from agents.events import EventCourier
from agents.evictor import Evictor
from agents.health import HEALTH_INTERVAL_S, Health, Heartbeat
from agents.images import ImageKeeper
from agents.kit import Kit
from agents.periodic import Periodic
from agents.pulse import Pulse
from agents.reaper import REAPER_INTERVAL_S, Reaper
from agents.reconcile import Reconciler
from agents.remover import Remover
from agents.slots import Slots
from agents.spawner import Spawner
from agents.supervisor import Supervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The agents others must talk to."""

    kit: Kit
    spawner: Spawner
    heartbeat: Heartbeat


def make_kit(
    services: Services,
    driver: Driver,
    *,
    ipc: IpcHost,
    host_files: HostFiles,
    tokens: TokenDesk,
    registries: Registries,
) -> Kit:
    """Build what workers share."""
    runtime = services.settings.runtime
    engine = EngineWatch(driver)
    return Kit(
        settings=services.settings,
        stores=services.stores,
        notices=services.notices,
        clock=services.clock,
        driver=driver,
        engine=engine,
        images=ImageKeeper(
            driver,
            services.stores,
            registries,
            services.clock,
            PullRule(runtime.pull_policy, runtime.pull_max_age),
            timeout_s=runtime.image_pull_timeout,
            max_parallel_pulls=runtime.max_parallel_pulls,
        ),
        ipc=ipc,
        remover=Remover(driver, engine),
        host_files=host_files,
        tokens=tokens,
        retry=RetryPolicy(
            max_start_failures=runtime.max_start_failures,
            start_backoff_s=runtime.start_backoff,
            max_attempts=runtime.max_attempts,
        ),
        slots=_make_slots(services.settings),
        vault=services.vault,
    )


def _make_slots(settings: Settings) -> Slots:
    """Build the host's places, and let /metrics see them."""
    slots = Slots(
        settings.queue_places,
        weight_of=lambda tenant: int(settings.spawner.for_tenant("weight", tenant)),
    )
    for name, queue in slots.queues.items():
        QUEUE_PLACES.labels(name).set(queue.count)
        QUEUE_WORKERS.labels(name).set_function(partial(len, queue))
        QUEUE_WAITING.labels(name).set_function(partial(getattr, queue, "waiting_count"))
    return slots


def start_crew(
    kit: Kit, services: Services, supervisor: Supervisor, epoch: int, webhooks: WebhookSender
) -> Crew:
    """Start every agent under the supervisor. ``epoch`` is the one the process acquired."""
    spawner = Spawner(kit, services, supervisor)
    heartbeat = Heartbeat(kit, epoch)
    agents = {
        "engine": kit.engine.run,
        "reconciler": Reconciler(kit, spawner).run,
        "spawner": spawner.run,
        "remover": kit.remover.run,
        "health": Periodic("health", HEALTH_INTERVAL_S, Health(kit, spawner).round).run,
        "autoscaler": Periodic("autoscaler", TICK_S, Autoscaler(kit, spawner).round).run,
        "heartbeat": heartbeat.run,
        "cron": CronAgent(services).run,
        "reaper": Periodic("reaper", REAPER_INTERVAL_S, Reaper(kit).round).run,
        "evictor": Evictor(kit).run,
        "events": EventCourier(services, supervisor, webhooks).run,
        "pulse": Pulse(services.clock).run,
    }
    for name, agent in agents.items():
        supervisor.start(name, agent)
    return Crew(kit=kit, spawner=spawner, heartbeat=heartbeat)
