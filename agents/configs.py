"""The configs an execution is given."""

from __future__ import annotations

import logging

from abaco.domain.actor import ActorKey
from abaco.domain.context import MAX_VARIABLE_BYTES
from abaco.errors import VaultError
from agents.kit import Kit
from agents.persist import persist

_log = logging.getLogger(__name__)

#: Most bytes of an actor's configs that are looked at, because ciphertexts are longer than what
#: they hide: short ones many times.
MAX_STORED_BYTES = 16 * MAX_VARIABLE_BYTES


async def read_configs(kit: Kit, actor: ActorKey) -> dict[str, str]:
    """Return names and values of an actor's configs, as things are now, secrets in the clear.

    A secret that no key opens is left out and named in the log.

    Raises:
        TooLargeError: They cannot fit.

    """
    found = await persist(lambda: kit.stores.configs.of_actor(actor, max_bytes=MAX_STORED_BYTES))
    values = {}
    for config in found:
        try:
            values[config.name] = (
                kit.vault.decrypt(config.value) if config.is_secret else config.value
            )
        except VaultError as error:
            _log.warning("config %s is kept from actor %s: %s", config.name, actor.id, error)
    return values
