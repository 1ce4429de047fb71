"""A command line with a stub for a server behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from abaco.cli import follow
from abaco.cli.main import cli
from tests.support.stub_api import StubApi, serve_stub

Run = Callable[..., Result]


@pytest.fixture
def stub() -> Iterator[StubApi]:
    with serve_stub() as api:
        yield api


@pytest.fixture
def run(stub: StubApi) -> Run:
    """Run a command against the stub."""

    def run_command(
        *arguments: str, stdin: str | bytes | None = None, **environment: str
    ) -> Result:
        variables = {"ABACO_URL": stub.url, "ABACO_JWT_HEADER": None, "ABACO_TOKEN_FILE": None}
        return CliRunner(env=variables | environment).invoke(cli, arguments, input=stdin)

    return run_command


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let followers pause without waiting; return the pauses they asked for."""
    pauses: list[float] = []
    monkeypatch.setattr(follow.time, "sleep", pauses.append)
    return pauses


def an_actor(**changes: object) -> dict[str, object]:
    return {
        "id": "a1",
        "name": "hello",
        "image": "abaco/hello",
        "status": "READY",
        "status_message": " ",
        "stateless": True,
        "revision": 1,
        "description": "",
        "hints": [],
        "queue": "default",
        "type": "none",
        "token": "false",
        "default_environment": {},
        "max_workers": None,
        "create_time": "2024-05-01T14:45:41.591Z",
        "_links": {"self": "x"},
    } | changes


def an_execution(**changes: object) -> dict[str, object]:
    return {
        "id": "e1",
        "status": "COMPLETE",
        "exit_code": 0,
        "runtime": 1,
        "final_state": {"ExitCode": 0},
    } | changes
