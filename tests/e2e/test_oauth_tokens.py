"""Tokens of a real authorization server in real containers: refreshed, waited for, swept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_run_tokens import LEAK, SHELL, Gate
from tests.http.site import PUBLIC_KEY
from tests.support.authority import INITIAL_TOKEN, Authority, an_authority
from tests.support.engines import Engine
from tests.support.server import running
from tests.support.serving import settings_for

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    # Authlib wants TLS; this server is on this machine
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    with an_authority(tmp_path / "data" / "token-keys.public.json") as made:
        yield made


@pytest.fixture
def gate(engine: Engine, tmp_path: Path, authority: Authority) -> Iterator[Gate]:
    initial = tmp_path / "initial"
    initial.write_text(f"{INITIAL_TOKEN}\n")
    initial.chmod(0o600)
    settings = {
        **settings_for(engine),
        "web.access_control": "jwt",
        "web.apim_public_key": PUBLIC_KEY,
        "web.user_role": "Internal/everyone",
        "runtime.token_provider": "oauth2",
        "runtime.idle_grace": "600",
        "oauth.issuer": authority.url,
        "oauth.registration_token_file": str(initial),
        "oauth.timeout": "5",
    }
    server = Gate(tmp_path, settings)
    server.program = "tests.support.hurried"
    with running(server):
        yield server


def given(gate: Gate, actor: str) -> str:
    """Run a message to its end; return the token its container had."""
    execution = gate.send(actor, LEAK)
    assert gate.until_final(actor, execution)["exit_code"] == 0
    return gate.token_of(actor, execution)


def worker_of(gate: Gate, actor: str) -> str:
    (worker,) = gate.call("GET", f"/actors/{actor}/workers")
    return str(worker["id"])


def until_gone(gate: Gate, authority: Authority) -> None:
    gate.until(lambda: not authority.clients, "every client to be gone")


def test_a_worker_keeps_its_client_and_refreshes_its_token(
    gate: Gate, authority: Authority
) -> None:
    authority.expires_in = 303  # a token must be good for 300 s when a run begins
    actor = gate.register(SHELL, token=True, stateless=False)
    first = given(gate, actor)
    assert authority.user_of(first) == "jane"
    assert authority.asked.count("POST /token") == 2  # for the client, and for the owner
    time.sleep(3.1)
    second = given(gate, actor)
    assert second != first
    assert authority.user_of(second) == "jane"
    assert authority.asked.count("POST /token") == 3
    assert authority.asked.count("POST /clients") == 1
    assert authority.names == [worker_of(gate, actor)]
    # who has the first one may go on with it: its run may not have ended
    assert authority.user_of(first) == "jane"
    gate.call("DELETE", f"/actors/{actor}")
    until_gone(gate, authority)
    for token in (first, second):
        assert token not in gate.log()


def test_tokens_that_last_are_used_again(gate: Gate, authority: Authority) -> None:
    actor = gate.register(SHELL, token=True, stateless=False)
    tokens = {given(gate, actor) for _ in range(3)}
    assert len(tokens) == 1
    assert authority.asked.count("POST /token") == 2


def test_a_message_waits_while_the_server_is_away(
    gate: Gate, authority: Authority, engine: Engine
) -> None:
    authority.is_away = True
    actor = gate.register(SHELL, token=True)
    execution = gate.send(actor, LEAK)
    gate.until(lambda: len(authority.asked) > 2, "the server to be asked again")
    assert gate.execution(actor, execution)["status"] == "SUBMITTED"
    assert engine.containers() == []
    authority.is_away = False
    assert gate.until_final(actor, execution)["status"] == "COMPLETE"
    assert authority.user_of(gate.token_of(actor, execution)) == "jane"
    assert gate.actor(actor)["status"] == "READY"


def test_so_does_one_whose_server_goes_away_between_two_runs(
    gate: Gate, authority: Authority
) -> None:
    authority.expires_in = 301
    actor = gate.register(SHELL, token=True, stateless=False)
    first = given(gate, actor)
    time.sleep(1.1)
    authority.is_away = True
    asked = len(authority.asked)
    execution = gate.send(actor, LEAK)
    gate.until(lambda: len(authority.asked) > asked + 1, "the server to be asked again")
    # neither without a token nor with one that may end before the run does
    assert gate.execution(actor, execution)["status"] == "SUBMITTED"
    authority.is_away = False
    gate.until_final(actor, execution)
    assert gate.token_of(actor, execution) != first


def test_a_client_nobody_could_delete_is_swept(gate: Gate, authority: Authority) -> None:
    actor = gate.register(SHELL, token=True)
    given(gate, actor)
    assert authority.names == [worker_of(gate, actor)]
    authority.is_away = True
    asked = len(authority.asked)
    gate.call("DELETE", f"/actors/{actor}")
    gate.until(lambda: len(authority.asked) > asked + 1, "the server to be asked again")
    assert len(authority.clients) == 1
    authority.is_away = False
    until_gone(gate, authority)
    assert "left to the sweep" in gate.log()


def test_a_killed_server_forgets_no_client(gate: Gate, authority: Authority) -> None:
    busy = gate.register(SHELL, token=True, stateless=False)
    idle = gate.register(SHELL, token=True, stateless=False)
    running = gate.send(busy, LEAK + "sleep 600")
    token = gate.token_of(busy, running)
    dead = given(gate, idle)
    assert len(authority.clients) == 2
    gate.kill()
    gate.start()
    # a worker without a run is not taken over, and its client goes
    gate.until(lambda: len(authority.clients) == 1, "the idle worker's client to be gone")
    assert authority.names == [worker_of(gate, busy)]
    assert authority.user_of(token) == "jane"
    gate.call("DELETE", f"/actors/{busy}/executions/{running}")
    gate.until_final(busy, running)
    assert authority.user_of(given(gate, busy)) == "jane"
    assert authority.user_of(given(gate, idle)) == "jane"
    for actor in (busy, idle):
        gate.call("DELETE", f"/actors/{actor}")
    until_gone(gate, authority)
    for secret in (token, dead):
        assert secret not in gate.log()
