"""Read and write the state of stateful actors."""

from __future__ import annotations

from typing import Any

from abaco.domain.actor import Actor
from abaco.domain.caller import Caller
from abaco.domain.context import check_environment, python_text
from abaco.errors import InvalidInputError, NotFoundError, TooLargeError
from abaco.operations.access import get_actor
from abaco.operations.services import Services


async def get(services: Services, caller: Caller, actor_id: str) -> Any:
    """Return the state; ``{}`` for stateless actors.

    Raises:
        NotFoundError: No such actor.
        ForbiddenError: It belongs to somebody else.

    """
    return (await get_actor(services, caller, actor_id)).state


async def replace(services: Services, caller: Caller, actor_id: str, state: Any) -> Actor:
    """Replace the state; the last write wins.

    Raises:
        NotFoundError: No such actor, or it is stateless.
        ForbiddenError: It belongs to somebody else.
        ConflictError: It is being deleted.
        InvalidInputError: A container could not be given this state.

    """
    actor = await get_actor(services, caller, actor_id)
    if actor.definition.stateless:
        raise NotFoundError("actor is stateless, it has no state to write")
    try:
        check_environment({"_abaco_actor_state": python_text(state)})
    except (InvalidInputError, TooLargeError) as error:
        raise InvalidInputError(error.message, field="state") from error
    return await services.stores.actors.set_state(actor.key, state)
