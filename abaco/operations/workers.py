"""List, request and retire workers."""

from __future__ import annotations

from abaco.domain.actor import RUNNABLE, Actor
from abaco.domain.caller import Caller
from abaco.domain.ids import WorkerId
from abaco.domain.worker import Worker, WorkerKey, WorkerStatus
from abaco.errors import ConflictError, ForbiddenError, InvalidInputError
from abaco.operations.access import check_length
from abaco.operations.services import Services
from abaco.ports.notices import Topic

#: most workers one request may ask for
MAX_WORKERS = 100

#: one that retires by itself may be told too, so that no message calls it back
_MAY_BE_TOLD = frozenset(WorkerStatus) - {WorkerStatus.SHUTTING_DOWN}


async def list_workers(services: Services, actor: Actor) -> list[Worker]:
    """Return an actor's workers, oldest first."""
    return await services.stores.workers.list_workers(actor.key)


async def get(services: Services, actor: Actor, worker_id: str) -> Worker:
    """Return one worker.

    Raises:
        NotFoundError: The actor has no such worker.

    """
    check_length("worker", worker_id)
    key = WorkerKey(actor.tenant, actor.id, WorkerId(worker_id))
    return await services.stores.workers.get(key)


async def ensure_for(services: Services, caller: Caller, actor: Actor, num: int) -> int:
    """Ask for workers as ``ensure`` does, within what the caller may ask for.

    Others than administrators may have as many as the messages of the actor would bring it by
    themselves: its ``max_workers``, or ``[spawner] max_workers_per_actor``; one if it is stateful.

    Raises:
        ForbiddenError: It is more.
        InvalidInputError, ConflictError: As ``ensure``.

    """
    most = _most(services, actor)
    if num > most and not caller.is_admin:
        raise ForbiddenError(
            f"num: this actor may have {most} workers, only administrators may ask for more"
        )
    return await ensure(services, actor, num)


async def ensure(services: Services, actor: Actor, num: int) -> int:
    """Ask for workers until the actor has at least ``num``; never makes fewer.

    Stateful actors too may get several this way; nothing automatic does that. Their messages
    still run one at a time and in order, since the next is claimed when the last has ended.

    Returns:
        How many were asked for now.

    Raises:
        InvalidInputError: ``num`` is out of range.
        ConflictError: The actor is in ERROR or being deleted and can have no workers, or this
            host serves another queue than its own.

    """
    if not 1 <= num <= MAX_WORKERS:
        raise InvalidInputError(f"must be from 1 to {MAX_WORKERS}", field="num")
    if actor.status not in RUNNABLE:
        raise ConflictError(f"an actor in status {actor.status} can have no new workers")
    if actor.definition.queue not in services.settings.spawner.host_queues:
        raise ConflictError(f"this host does not serve queue {actor.definition.queue!r}")
    requested = 0
    while requested < num and await request_worker(services, actor, limit=num):
        requested += 1
    services.notices.publish(Topic.POOL, actor.key)
    return requested


def _most(services: Services, actor: Actor) -> int:
    if not actor.definition.stateless:
        return 1
    return actor.definition.max_workers or services.settings.spawner.max_workers_per_actor


async def drain(services: Services, actor: Actor, worker_id: str) -> None:
    """Ask a worker to finish its message, if it has one, and go. Idempotent.

    Raises:
        NotFoundError: The actor has no such worker.

    """
    worker = await get(services, actor, worker_id)
    await services.stores.workers.set_status(
        worker.key, WorkerStatus.SHUTDOWN_REQUESTED, expect=_MAY_BE_TOLD
    )
    services.notices.publish(Topic.POOL, actor.key)


async def request_worker(services: Services, actor: Actor, *, limit: int) -> Worker | None:
    """Record the wish for one more worker of the actor's present revision.

    Returns:
        None when the pool has ``limit`` already, or the actor can have no workers now.

    """
    worker = Worker(
        tenant=actor.tenant,
        actor_id=actor.id,
        id=WorkerId(services.ids.new_id()),
        image=actor.definition.image,
        revision=actor.revision,
        host_id=services.settings.spawner.host_id,
        host_ip=services.settings.spawner.host_ip,
        location=services.engine_endpoint(),
        create_time=services.clock.now(),
        queue=actor.definition.queue,
    )
    is_recorded = await services.stores.workers.request(worker, limit=limit)
    return worker if is_recorded else None
