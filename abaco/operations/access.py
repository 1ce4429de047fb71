"""Who may do what: every operation looks its object up through here."""

from __future__ import annotations

from abaco.domain.actor import Actor, ActorKey
from abaco.domain.caller import Caller
from abaco.domain.execution import Execution, ExecutionKey
from abaco.domain.ids import ActorId, ExecutionId, WorkerId
from abaco.domain.worker import Worker, WorkerKey
from abaco.errors import ForbiddenError, NotFoundError
from abaco.operations.services import Services

#: 63 bits need at most 13 characters; what is much longer is not worth a look into the store
MAX_ID_LENGTH = 32


def _check_length(what: str, name: str) -> None:
    if len(name) > MAX_ID_LENGTH:
        raise NotFoundError(f"there is no {what} {name[:MAX_ID_LENGTH]!r}...")


async def get_actor(services: Services, caller: Caller, actor_id: str) -> Actor:
    """Return an actor of the caller's tenant that the caller may use.

    Raises:
        NotFoundError: No such actor in this tenant.
        ForbiddenError: It belongs to somebody else.

    """
    _check_length("actor", actor_id)
    actor = await services.stores.actors.get(ActorKey(caller.tenant, ActorId(actor_id)))
    if not caller.is_admin and actor.owner != caller.user:
        raise ForbiddenError("you do not have access to this actor")
    return actor


async def get_execution(
    services: Services, caller: Caller, actor_id: str, execution_id: str
) -> tuple[Actor, Execution]:
    """Return an execution of an actor the caller may use, with the actor.

    Raises:
        NotFoundError: No such actor or execution.
        ForbiddenError: The actor belongs to somebody else.

    """
    actor = await get_actor(services, caller, actor_id)
    _check_length("execution", execution_id)
    key = ExecutionKey(actor.tenant, actor.id, ExecutionId(execution_id))
    return actor, await services.stores.executions.get(key)


async def get_worker(
    services: Services, caller: Caller, actor_id: str, worker_id: str
) -> tuple[Actor, Worker]:
    """Return a worker of an actor the caller may use, with the actor.

    Raises:
        NotFoundError: No such actor or worker.
        ForbiddenError: The actor belongs to somebody else.

    """
    actor = await get_actor(services, caller, actor_id)
    _check_length("worker", worker_id)
    key = WorkerKey(actor.tenant, actor.id, WorkerId(worker_id))
    return actor, await services.stores.workers.get(key)
