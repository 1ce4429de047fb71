"""Names and labels by which containers are found again."""

from __future__ import annotations

from collections.abc import Mapping

from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId
from abaco.ports.driver import ContainerSpec, Context, OwnedContainer

INSTANCE = "abaco.instance"


def container_name(context: Context) -> str:
    """Return the name that is the same for the same attempt of the same execution."""
    return attempt_name(context.execution.id, context.attempt)


def attempt_name(execution_id: str, attempt: int | str) -> str:
    """Return the name of the container of an attempt."""
    return f"abaco_{execution_id}_{attempt}"


def make_labels(instance_id: str, spec: ContainerSpec, context: Context) -> dict[str, str]:
    """Write down whose container it is, and for what."""
    return {
        INSTANCE: instance_id,
        "abaco.tenant": spec.tenant,
        "abaco.actor": spec.actor_id,
        "abaco.worker": spec.worker_id,
        "abaco.execution": context.execution.id,
        "abaco.attempt": str(context.attempt),
        "abaco.revision": str(spec.revision),
    }


def name_of(labels: Mapping[str, str]) -> str | None:
    """Return the name that goes with a container's labels; None when they are off."""
    found = read_labels("", labels, is_running=False)
    return None if found is None else attempt_name(found.execution_id, found.attempt)


def read_labels(
    container_id: str, labels: Mapping[str, str], *, is_running: bool
) -> OwnedContainer | None:
    """Read the labels back; None when a person made the container by hand and they are off."""
    attempt = labels.get("abaco.attempt", "")
    if not attempt.isascii() or not attempt.isdigit() or "abaco.execution" not in labels:
        return None
    return OwnedContainer(
        container_id=container_id,
        tenant=Tenant(labels.get("abaco.tenant", "")),
        actor_id=ActorId(labels.get("abaco.actor", "")),
        execution_id=ExecutionId(labels["abaco.execution"]),
        worker_id=WorkerId(labels.get("abaco.worker", "")),
        attempt=int(attempt),
        is_running=is_running,
    )
