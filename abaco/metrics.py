"""Counters and timers by name, on prometheus_client's default registry.

What is read from the records when somebody asks (queues, workers, agents) is not here but in
``abaco.operations.exposition``. No label takes a value a client may choose.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from time import perf_counter

from prometheus_client import Counter, Gauge, Histogram, Summary

from abaco.domain.execution import Outcome
from abaco.errors import ConflictError, StoreError

#: seconds that matter to a person or a program that waits
_WAITS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)

#: without a label it would say 1970 where there is no certificate
CERTIFICATE_EXPIRY = Gauge(
    "abaco_certificate_expiry_timestamp_seconds",
    "When a certificate ends, in seconds since 1970.",
    labelnames=("key",),
)
LOOP_LAG_SECONDS = Histogram(
    "abaco_loop_lag_seconds",
    "How late the event loop was at its regular tick.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
EXECUTIONS = Counter(
    "abaco_executions", "Executions that became final.", labelnames=("status", "reason")
)
REDELIVERIES = Counter(
    "abaco_redeliveries", "Messages put back into their mailbox.", labelnames=("kind",)
)
START_FAILURES = Counter(
    "abaco_start_failures", "Containers that could not be started.", labelnames=("kind",)
)
ORPHANS = Counter(
    "abaco_orphans", "Containers of no live attempt that were removed.", labelnames=("kind",)
)
RESULT_BYTES = Counter("abaco_results_bytes", "Bytes of results that containers handed back.")
RESULTS_REFUSED = Counter("abaco_results_dropped", "Results that were too large to be taken.")
STAGE_SECONDS = Histogram(
    "abaco_execution_stage_seconds",
    "Seconds spent in each stage of an execution.",
    labelnames=("stage",),
    buckets=_WAITS,
)
CPU_SECONDS = Counter("abaco_execution_cpu_seconds", "CPU time executions used.")
IO_BYTES = Counter(
    "abaco_execution_io_bytes",
    "Bytes executions moved: net_rx, net_tx, blk_read, blk_write.",
    labelnames=("kind",),
)
MEMORY_PEAK_BYTES = Histogram(
    "abaco_execution_memory_peak_bytes",
    "Most memory an execution had at one time, of those where it is known.",
    buckets=tuple(2**power for power in range(22, 37, 2)),
)
CRON_LAG_SECONDS = Histogram(
    "abaco_cron_lag_seconds",
    "How late a slot of a cron schedule was served.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600, 3600, 86400),
)
QUEUE_PLACES = Gauge(
    "abaco_queue_places", "Workers a queue may have at once on this host.", labelnames=("queue",)
)
QUEUE_WORKERS = Gauge(
    "abaco_queue_workers", "Workers that live on this host.", labelnames=("queue",)
)
QUEUE_WAITING = Gauge(
    "abaco_queue_waiting",
    "Actors that wait for a worker's place on this host.",
    labelnames=("queue",),
)
DISK_FREE = Gauge(
    "abaco_disk_free_bytes", "Bytes that can still be written where records are kept."
)
LOG_BYTES = Counter("abaco_log_bytes", "Bytes of output read from containers.")
LOGS_TRUNCATED = Counter("abaco_logs_truncated", "Logs that reached their limit.")
IMAGE_PULL_SECONDS = Histogram(
    "abaco_image_pull_seconds",
    "Seconds pulls of images took.",
    labelnames=("outcome",),
    buckets=(0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800),
)
IMAGE_EVICTIONS = Counter(
    "abaco_image_evictions",
    "Images to be removed for the disk budget: removed, or kept because something has them.",
    labelnames=("outcome",),
)
IMAGE_BYTES = Gauge("abaco_image_bytes", "Size of the images on the host that were pulled here.")
EVENTS = Counter(
    "abaco_events",
    "Steps of telling links and webhooks what happened: delivered, retried, given_up, dropped.",
    labelnames=("type", "leg", "outcome"),
)
TOKENS = Counter(
    "abaco_tokens",
    "Access tokens for executions: given, retried, failed.",
    labelnames=("outcome",),
)
ENGINE_SECONDS = Histogram(
    "abaco_engine_call_seconds",
    "Seconds until the container engine answered a call.",
    labelnames=("call",),
    buckets=_SHORT,
)
ENGINE_ERRORS = Counter(
    "abaco_engine_errors",
    "Calls the container engine did not answer, or answered with a fault of its own.",
    labelnames=("call",),
)
STORE_SECONDS = Histogram(
    "abaco_store_op_seconds",
    "Seconds a call to the store took, waiting and commit included.",
    labelnames=("store", "op"),
    buckets=_SHORT,
)
STORE_CONFLICTS = Counter(
    "abaco_store_conflicts", "Calls that lost a compare-and-set.", labelnames=("store", "op")
)
STORE_ERRORS = Counter("abaco_store_errors", "Calls the store failed.", labelnames=("store", "op"))
AUDIT_FAILURES = Counter(
    "abaco_audit_failures", "Records of the audit log that could not be written."
)
REQUEST_SECONDS = Histogram(
    "abaco_http_request_seconds",
    "Seconds from a request's arrival to the end of its answer.",
    labelnames=("route", "method", "code"),
    buckets=_WAITS,
)
#: the name dashboards of the older Abaco know
OLD_REQUEST_SECONDS = Summary("request_processing_seconds", "Seconds spent on HTTP requests.")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


def observe_request(route: str, method: str, code: int, seconds: float) -> None:
    """Measure a request that is over; ``route`` is the pattern, never the path."""
    known = method if method in _METHODS else "other"
    REQUEST_SECONDS.labels(route, known, code).observe(seconds)
    OLD_REQUEST_SECONDS.observe(seconds)


@contextmanager
def store_call(store: str, op: str) -> Iterator[None]:
    """Measure a call to a store, and count how it failed."""
    began_s = perf_counter()
    try:
        yield
    except ConflictError:
        STORE_CONFLICTS.labels(store, op).inc()
        raise
    except StoreError:
        STORE_ERRORS.labels(store, op).inc()
        raise
    finally:
        STORE_SECONDS.labels(store, op).observe(perf_counter() - began_s)


def observe_use(outcome: Outcome) -> None:
    """Measure what an execution used."""
    CPU_SECONDS.inc(outcome.cpu_ns / 1e9)
    for kind, count in asdict(outcome.io_detail).items():
        IO_BYTES.labels(kind).inc(count)
    if outcome.memory_peak_bytes:
        MEMORY_PEAK_BYTES.observe(outcome.memory_peak_bytes)


@contextmanager
def image_pull() -> Iterator[None]:
    """Measure a pull and how it ended."""
    began_s, outcome = perf_counter(), "failed"
    try:
        yield
        outcome = "pulled"
    finally:
        IMAGE_PULL_SECONDS.labels(outcome).observe(perf_counter() - began_s)
