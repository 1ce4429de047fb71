"""A container calls the API with the token it was given, and nobody does once its run is over."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.site import PUBLIC_KEY, make_token
from tests.support.engines import Engine
from tests.support.server import Server, running
from tests.support.serving import settings_for

SHELL = "abaco_test_shell"
#: what a user's program does: ask the server about its own actor, or something else
ASK = (
    'wget -q -O - --header "Authorization: Bearer $_abaco_access_token"'
    ' "$_abaco_api_server/actors/v2/{}" 2>&1; echo " $?"; '
)
#: hands the token to the test, as an attacker's image might to the attacker
LEAK = 'echo "$_abaco_access_token"; '


class Gate(Server):
    """A server in mode jwt, asked as one user."""

    user = "jane"

    def raw(self, method: str, path: str, body: Any = None, **named: Any) -> Any:
        headers = named.pop("headers", None)
        if headers is None:
            headers = {"X-Jwt-Assertion-DEV": make_token(self.user)}
        return super().raw(method, path, body, headers=headers, **named)

    def with_token(self, token: str, path: str = "/actors") -> tuple[int, str]:
        status, envelope = self.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return status, envelope["message"]

    def token_of(self, actor: str, execution: str) -> str:
        self.until(lambda: "\n" in self.logs(actor, execution), "the token")
        return self.logs(actor, execution).splitlines()[0]


@pytest.fixture
def gate(engine: Engine, tmp_path: Path) -> Iterator[Gate]:
    settings = {
        **settings_for(engine),
        "web.access_control": "jwt",
        "web.apim_public_key": PUBLIC_KEY,
        "web.user_role": "Internal/everyone",
    }
    server = Gate(tmp_path, settings)
    with running(server):
        yield server


def test_a_container_acts_as_its_owner_while_it_runs(gate: Gate) -> None:
    actor = gate.register(SHELL, token=True)
    execution = gate.send(actor, LEAK + ASK.format("$_abaco_actor_id"))
    gate.until_final(actor, execution)
    token, answer, *_ = gate.logs(actor, execution).splitlines()
    seen = json.loads(answer.rpartition(" ")[0])["result"]
    assert (seen["id"], seen["owner"]) == (actor, "jane")
    assert gate.with_token(token) == (400, "invalid bearer token: its execution has ended")


def test_the_actors_of_others_stay_closed(gate: Gate) -> None:
    gate.user = "joe"
    closed = gate.register(SHELL)
    gate.user = "jane"
    actor = gate.register(SHELL, token=True)
    execution = gate.send(actor, ASK.format(closed))
    gate.until_final(actor, execution)
    log = gate.logs(actor, execution)
    assert "400 Bad Request" in log
    assert log.endswith(" 1\n")


def test_no_token_without_being_asked_for_one(gate: Gate) -> None:
    actor = gate.register(SHELL)
    execution = gate.send(actor, 'echo "<$_abaco_access_token>"')
    gate.until_final(actor, execution)
    assert gate.logs(actor, execution) == "<>\n"


def test_a_killed_server_honours_the_living_and_no_other(gate: Gate) -> None:
    actor = gate.register(SHELL, token=True)
    ended = gate.send(actor, LEAK)
    gate.until_final(actor, ended)
    running = gate.send(actor, LEAK + "sleep 600")
    dead, living = gate.token_of(actor, ended), gate.token_of(actor, running)
    gate.kill()
    gate.start()
    assert gate.with_token(dead)[0] == 400
    assert gate.with_token(living)[0] == 200
    gate.call("DELETE", f"/actors/{actor}/executions/{running}")
    gate.until_final(actor, running)
    assert gate.with_token(living)[0] == 400
    gate.kill()
    gate.start()
    assert gate.with_token(living)[0] == 400


def test_the_token_is_nowhere_but_in_its_container(gate: Gate) -> None:
    actor = gate.register(SHELL, token=True)
    execution = gate.send(actor, LEAK + "sleep 600")
    token = gate.token_of(actor, execution)
    gate.with_token(token, f"/actors/{actor}?_abaco_access_token={token}")
    places = {
        path: gate.raw("GET", path).data.decode()
        for path in (
            "/metrics",
            f"/actors/{actor}",
            f"/actors/{actor}/workers",
            f"/actors/{actor}/executions/{execution}",
        )
    }
    gate.call("DELETE", f"/actors/{actor}/executions/{execution}")
    gate.until_final(actor, execution)
    assert gate.with_token(token)[0] == 400
    signature = token.rpartition(".")[2]
    assert "abaco_tokens_total" in places["/metrics"]
    for path, text in places.items():
        assert signature not in text, path
    assert signature not in gate.log()
    gate.stop()
    with sqlite3.connect(gate.directory / "data" / "abaco.db") as database:
        dump = list(database.iterdump())
    # the program printed it, so its own log has it; no record of ours does
    assert len([line for line in dump if signature in line]) == 0
    assert len([line for line in dump if signature.encode().hex() in line.lower()]) == 1
