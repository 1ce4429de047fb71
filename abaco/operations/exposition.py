"""Everything the process tells of itself in Prometheus' text form.

What is kept in the records is read when somebody asks, at a cost that depends on how much is
shown and not on how much there is. Asking changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from abaco.domain.actor import ActorKey
from abaco.domain.health import AgentReport
from abaco.domain.ids import Tenant
from abaco.domain.usage import WorkerCounts, backlog
from abaco.domain.worker import WorkerStatus
from abaco.operations.services import Services
from abaco.ports.store import Counters

#: actors and tenants that have series of their own: those with the longest queues
SHOWN = 20

CONTENT_TYPE = CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the records say at one moment."""

    counters: Counters
    actors: int
    workers: WorkerCounts
    queue_names: tuple[str, ...]
    tenants: dict[Tenant, int]
    queues: dict[ActorKey, int]
    pools: dict[ActorKey, int]
    agents: list[AgentReport]


async def expose(services: Services, agents: Callable[[], list[AgentReport]]) -> bytes:
    """Return all metrics, those of the records as they are now.

    Raises:
        StoreError: The store does not answer.

    """
    stores = services.stores
    queues = dict(await stores.usage.deepest(SHOWN))
    reading = Reading(
        counters=await stores.executions.counters(),
        actors=(await stores.usage.totals()).existing.actors,
        workers=await stores.usage.count_workers(),
        queue_names=services.settings.web.all_queues,
        tenants=dict(await stores.usage.deepest_tenants(SHOWN)),
        queues=queues,
        pools={key: len(await stores.workers.list_workers(key)) for key in queues},
        agents=agents(),
    )
    # A registry of its own: what is shown of the records leaves nothing behind.
    registry = CollectorRegistry()
    registry.register(_Once(reading))
    # Many series take tens of milliseconds to write, in which others are to be answered.
    kept = await asyncio.to_thread(generate_latest, REGISTRY)
    return kept + generate_latest(registry)


class _Once(Collector):
    """Gives the metrics of one reading."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand, so that registering collects nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield from _queue_metrics(self._reading)
        yield from _worker_metrics(self._reading)
        yield from _agent_metrics(self._reading.agents)


def _queue_metrics(reading: Reading) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "abaco_messages",
        "Messages by where they are; accepted is the sum of the others at any moment.",
        labels=("state",),
    )
    for state, count in asdict(reading.counters).items():
        messages.add_metric((state,), count)
    yield messages
    waiting = GaugeMetricFamily(
        "abaco_mailbox_messages",
        f"Queued messages of the {SHOWN} tenants that have most.",
        labels=("tenant",),
    )
    for tenant, count in reading.tenants.items():
        waiting.add_metric((tenant,), count)
    yield waiting
    for name, text, values in (
        ("abaco_actor_messages", "Queued messages", reading.queues),
        ("abaco_actor_workers", "Workers", reading.pools),
    ):
        family = GaugeMetricFamily(
            name,
            f"{text} of the {SHOWN} actors with the longest queues.",
            labels=("tenant", "actor"),
        )
        for key, count in values.items():
            family.add_metric((key.tenant, key.id), count)
        yield family


def _worker_metrics(reading: Reading) -> Iterator[Metric]:
    yield GaugeMetricFamily("abaco_actors", "Actors that exist.", value=reading.actors)
    workers = GaugeMetricFamily(
        "abaco_workers", "Workers by status and queue.", labels=("status", "queue")
    )
    for queue in reading.queue_names:
        for status in WorkerStatus:
            workers.add_metric((status, queue), reading.workers.get((queue, status), 0))
    yield workers
    text = "Workers that were asked for and nobody has begun to start."
    # The second is what dashboards of the older Abaco know.
    for name, label in (
        ("abaco_command_backlog", "queue"),
        ("message_count_for_command_channel", "name"),
    ):
        waiting = GaugeMetricFamily(name, text, labels=(label,))
        for queue in reading.queue_names:
            waiting.add_metric((queue,), backlog(reading.workers, queue))
        yield waiting


def _agent_metrics(agents: Iterable[AgentReport]) -> Iterator[Metric]:
    up = GaugeMetricFamily("abaco_agent_up", "Whether the agent runs.", labels=("agent",))
    restarts = CounterMetricFamily(
        "abaco_agent_restarts", "Restarts after a crash.", labels=("agent",)
    )
    # One for each worker or run comes and goes all day: they are counted, not named.
    passing: Counter[str] = Counter()
    for report in agents:
        if report.is_lasting:
            up.add_metric((report.name,), report.is_running)
            restarts.add_metric((report.name,), report.restart_count)
        else:
            passing[report.name.partition("-")[0]] += 1
    kinds = GaugeMetricFamily(
        "abaco_passing_agents", "Agents that end by themselves, by kind.", labels=("kind",)
    )
    for kind, count in passing.items():
        kinds.add_metric((kind,), count)
    yield from (up, restarts, kinds)
