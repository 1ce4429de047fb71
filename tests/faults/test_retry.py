"""A client that never got its answer sends the request again, to a server that was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.server import Server, a_server

KEY = {"Idempotency-Key": "order-1"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with a_server(tmp_path, {"engine.driver": "scripted"}) as server:
        yield server


def lose_an_answer(server: Server, path: str, body: Any) -> None:
    """Let the server die between the commit and the answer, and start it again."""
    server.stop()
    server.program = "tests.support.dying"
    server.start()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        server.raw("POST", path, body, headers=KEY)
    server.until(lambda: not server.is_running, "the server to be dead")
    server.program = "abaco"
    server.start()


def repeat(server: Server, path: str, body: Any) -> Any:
    answer = server.raw("POST", path, body, headers=KEY)
    assert (answer.status, answer.headers["Idempotency-Replayed"]) == (200, "true")
    return json.loads(answer.data)["result"]


def ids(server: Server, actor: str) -> list[str]:
    return [one["id"] for one in server.executions(actor)]


def test_a_message(server: Server) -> None:
    actor = server.register("abaco_test")
    path, body = f"/actors/{actor}/messages", {"message": "once"}
    lose_an_answer(server, path, body)
    execution = repeat(server, path, body)["execution_id"]
    assert ids(server, actor) == [execution]
    assert server.until_final(actor, execution)["status"] == "COMPLETE"
    assert repeat(server, path, body)["execution_id"] == execution
    assert ids(server, actor) == [execution]


def test_a_batch(server: Server) -> None:
    actor = server.register("abaco_test")
    path, body = f"/actors/{actor}/messages/batch", {"messages": list(range(20))}
    lose_an_answer(server, path, body)
    executions = repeat(server, path, body)["execution_ids"]
    assert sorted(ids(server, actor)) == sorted(executions)
    for execution in executions:
        assert server.until_final(actor, execution)["status"] == "COMPLETE"
    assert len(set(executions)) == len(ids(server, actor)) == 20


def test_one_that_waits_for_the_end(server: Server) -> None:
    actor = server.register("abaco_test")
    path = f"/actors/{actor}/messages?_abaco_synchronous=true"
    lose_an_answer(server, path, {"message": "once"})
    answer = server.raw("POST", path, {"message": "once"}, headers=KEY)
    assert (answer.status, answer.headers["Idempotency-Replayed"]) == (200, "true")
    assert len(ids(server, actor)) == 1
