"""What a hostile image gets over every real engine: nothing it was not given.

The rows are in ``tests.support.attempts``. What uses the machine up is in ``test_floods``, what
needs the host's side in ``test_escape_runs``, what aims at others in ``test_escape_tenants``.
"""

from __future__ import annotations

import os

import pytest

from tests.support.attempts import ATTEMPTS
from tests.support.engines import Engine
from tests.support.prison import program
from tests.support.server import Server


@pytest.mark.parametrize("name", ATTEMPTS)
def test_refused(prison: tuple[Engine, Server], name: str) -> None:
    engine, server = prison
    row = ATTEMPTS[name]
    done, log = program(
        server,
        row.program,
        HOST_PID=str(os.getpid()),
        ENGINE_SOCKET=str(engine.socket_path),
        SERVER_PORT=str(server.port),
        **row.fields,
    )
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 0), log
    row.check(log)
