"""Counters and timers by name, on prometheus_client's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

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
STAGE_SECONDS = Histogram(
    "abaco_execution_stage_seconds",
    "Seconds spent in each stage of an execution.",
    labelnames=("stage",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
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
MESSAGES = Gauge(
    "abaco_messages",
    "Messages by where they are; accepted is the sum of the others at any moment.",
    labelnames=("state",),
)
EVENTS = Counter(
    "abaco_events",
    "Steps of telling links and webhooks what happened: delivered, retried, given_up, dropped.",
    labelnames=("type", "leg", "outcome"),
)
