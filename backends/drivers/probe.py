"""Look whether an engine is there."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from abaco.errors import DriverError
from abaco.ports.driver import EngineInfo
from backends.drivers.engine_http import EngineHttp

log = logging.getLogger(__name__)

#: seconds an engine has to answer
PROBE_S = 5.0


async def answers(
    name: str, endpoint: str, ask_info: Callable[[EngineHttp], Awaitable[EngineInfo]]
) -> bool:
    """Tell whether an engine of this kind answers at the endpoint; the log says why not."""
    http = EngineHttp(endpoint, timeout_s=PROBE_S)
    try:
        await ask_info(http)
    except DriverError as error:
        level = logging.WARNING if http.is_there() else logging.INFO
        log.log(level, "no %s at %s: %s", name, http.endpoint, error.message)
        return False
    finally:
        http.close()
    return True
