"""Write the state of stateful actors."""

from __future__ import annotations

from typing import Any

from abaco.domain.actor import Actor
from abaco.domain.context import check_environment, python_text
from abaco.errors import InvalidInputError, NotFoundError, TooLargeError
from abaco.operations.services import Services


async def replace(services: Services, actor: Actor, state: Any) -> Actor:
    """Replace the state; the last write wins.

    Raises:
        NotFoundError: The actor is stateless, or gone.
        ConflictError: It is being deleted.
        InvalidInputError: A container could not be given this state.

    """
    if actor.definition.stateless:
        raise NotFoundError(
            "actor is stateless, it has no state to write; register it with stateless: false"
        )
    try:
        check_environment({"_abaco_actor_state": python_text(state)})
    except (InvalidInputError, TooLargeError) as error:
        raise InvalidInputError(error.message, field="state") from error
    return await services.stores.actors.set_state(actor.key, state)
