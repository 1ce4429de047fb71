"""A server per module and engine for what hostile images try; it answers all the while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.attempts import PRELUDE
from tests.support.beside import asked_meanwhile
from tests.support.engines import ENGINE_PARAMS, Engine, EnginePool
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

PYTHON = "abaco_test_python"
SHELL = "abaco_test_shell"

#: processes a container may have
PIDS = 64
#: bytes of a /tmp in memory
TMP = 48 * 1024**2
#: bytes of a log that are stored
LOG = 1_000_000


@pytest.fixture(scope="module", params=ENGINE_PARAMS)
def prison(
    request: pytest.FixtureRequest,
    engine_pool: EnginePool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Engine, Server]]:
    """One server per engine for all rows: whatever a row does, the next one finds it well."""
    directory: Path = tmp_path_factory.mktemp(f"prison-{request.param}")
    with ExitStack() as stack:
        engine = stack.enter_context(engine_pool.lend(request.param, request.session))
        settings = settings_for(engine) | {
            "engine.network": "none",
            "engine.pids_limit": str(PIDS),
            "engine.tmp_size": str(TMP),
            "runtime.idle_grace": "0",
            "runtime.large_results": "true",
        }
        server = stack.enter_context(a_server(directory, settings))
        waits = stack.enter_context(asked_meanwhile(server))
        yield engine, server
    waits.check()
    print(f"{engine.kind}, all rows of {request.module.__name__}: {waits}")  # noqa: T201


def run(server: Server, image: str, message: str, **fields: Any) -> tuple[dict[str, Any], str]:
    """Run one message to its end; return the execution and its log."""
    actor = server.register(image, **fields)
    execution = server.send(actor, message)
    done = server.until_final(actor, execution)
    log = server.logs(actor, execution)
    server.call("DELETE", f"/actors/{actor}")
    return done, log


def program(server: Server, script: str, /, **fields: Any) -> tuple[dict[str, Any], str]:
    """Run a Python program that may use what attempts use; in capitals, its variables."""
    environment = {name: fields.pop(name) for name in list(fields) if name.isupper()}
    environment["SCRIPT"] = PRELUDE + script
    return run(server, PYTHON, "x", default_environment=environment, **fields)
