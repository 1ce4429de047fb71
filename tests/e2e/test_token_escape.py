"""What somebody tries with the token of a run: later, elsewhere, changed, or instead of it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.e2e.test_run_tokens import LEAK, SHELL, Gate
from tests.http.site import PUBLIC_KEY, make_token
from tests.support.engines import Engine
from tests.support.server import running
from tests.support.serving import settings_for


@pytest.fixture
def settings(engine: Engine) -> dict[str, str]:
    return {
        **settings_for(engine),
        "web.access_control": "jwt",
        "web.apim_public_key": PUBLIC_KEY,
        "web.user_role": "Internal/everyone",
        "web.modern_status": "true",
    }


@pytest.fixture
def gate(settings: dict[str, str], tmp_path: Path) -> Iterator[Gate]:
    server = Gate(tmp_path, settings)
    with running(server):
        yield server


@pytest.fixture
def narrow(settings: dict[str, str], tmp_path: Path) -> Iterator[Gate]:
    """A server whose tokens are for their own actor alone."""
    server = Gate(tmp_path, settings | {"runtime.token_scope": "actor"})
    with running(server):
        yield server


def status(gate: Gate, token: str, path: str = "/actors", method: str = "GET") -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return gate.raw(method, path, headers=headers).status


def a_run(gate: Gate) -> tuple[str, str, str]:
    """Start a run that goes on; return its actor, its execution and the token it has."""
    actor = gate.register(SHELL, token=True)
    execution = gate.send(actor, LEAK + "sleep 600")
    return actor, execution, gate.token_of(actor, execution)


def end(gate: Gate, actor: str, execution: str) -> None:
    gate.call("DELETE", f"/actors/{actor}/executions/{execution}")
    gate.until_final(actor, execution)


def test_it_is_dead_after_the_end_and_says_so(gate: Gate) -> None:
    actor, execution, token = a_run(gate)
    assert status(gate, token) == 200
    end(gate, actor, execution)
    for path, method in (("/actors", "GET"), (f"/actors/{actor}", "DELETE")):
        assert status(gate, token, path, method) == 401
    # nor is it good for the actor's next run
    running = gate.send(actor, LEAK + "sleep 600")
    fresh = gate.token_of(actor, running)
    assert (status(gate, token), status(gate, fresh)) == (401, 200)


def test_on_another_actor(narrow: Gate) -> None:
    other = narrow.register(SHELL)
    actor, _, token = a_run(narrow)
    assert status(narrow, token, f"/actors/{actor}") == 200
    for path, method in (
        (f"/actors/{other}", "GET"),
        (f"/actors/{other}", "DELETE"),
        (f"/actors/{other}/messages", "POST"),
        (f"/actors/{other}/nonces", "POST"),
        ("/actors", "POST"),
        ("/actors", "GET"),
        ("/actors/aliases", "GET"),
        ("/actors/configs", "GET"),
        ("/actors/search/actors", "GET"),
    ):
        assert status(narrow, token, path, method) == 403, (method, path)
    assert narrow.call("GET", f"/actors/{other}")["id"] == other


def rewritten(token: str, header: dict[str, Any], claims: dict[str, Any], signature: str) -> str:
    """Write the parts of a token anew, whatever they are."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, claims)
    ]
    return ".".join([*parts, signature])


def test_changed_in_every_way(gate: Gate) -> None:
    _, _, token = a_run(gate)
    header, claims = (
        jwt.get_unverified_header(token),
        jwt.decode(token, options={"verify_signature": False}),
    )
    signature = token.rpartition(".")[2]
    public = json.loads((gate.directory / "data" / "token-keys.public.json").read_text())
    (key,) = public["keys"]
    stranger = Ed25519PrivateKey.generate()
    later = {**claims, "exp": int(time.time()) + 10**6}
    admin = {**claims, "roles": ["Internal/abaco-admin"]}
    forged = {
        "another's signature": jwt.encode(claims, stranger, "EdDSA", headers=header),
        "a key of its own in the header": jwt.encode(
            claims,
            stranger,
            "EdDSA",
            headers={
                **header,
                "jwk": jwt.algorithms.OKPAlgorithm.to_jwk(stranger.public_key(), as_dict=True),
            },
        ),
        "the public key as a secret": rewritten_with_secret(claims, header, key["x"]),
        "no algorithm": rewritten(token, {**header, "alg": "none"}, claims, ""),
        "no algorithm, in other letters": rewritten(token, {**header, "alg": "nOnE"}, claims, ""),
        "no signature": rewritten(token, header, claims, ""),
        "a longer life": rewritten(token, header, later, signature),
        "more roles": rewritten(token, header, admin, signature),
        "another owner": rewritten(token, header, {**claims, "sub": "joe"}, signature),
        "another tenant": rewritten(token, header, {**claims, "tenant": "OTHER"}, signature),
        "a person's": rewritten(
            token, header, {n: v for n, v in claims.items() if n != "abaco"}, signature
        ),
        "another key's name": rewritten(token, {**header, "kid": "../other"}, claims, signature),
        "another issuer": rewritten(token, header, {**claims, "iss": "https://a"}, signature),
        "cut": token[:-10],
        "twice": f"{token}.{signature}",
    }
    assert status(gate, token) == 200
    assert {what: status(gate, text) for what, text in forged.items()} == dict.fromkeys(forged, 401)


def rewritten_with_secret(claims: dict[str, Any], header: dict[str, Any], secret: str) -> str:
    """Sign with what everybody knows, as a server might verify that takes any algorithm."""
    key = base64.urlsafe_b64decode(secret + "==")
    return jwt.encode(claims, key + b"\0" * 32, "HS256", headers={"kid": header["kid"]})


def test_in_another_tenant(gate: Gate) -> None:
    def there(method: str, path: str, body: Any = None) -> Any:
        headers = {"X-JWT-Assertion-OTHER": make_token("jane")}
        return json.loads(gate.raw(method, path, body, headers=headers).data)["result"]

    actor, _, token = a_run(gate)
    foreign = there("POST", "/actors", {"image": SHELL, "token": True})["id"]
    assert status(gate, token, f"/actors/{foreign}") == 404
    message = {"message": LEAK + "sleep 600"}
    execution = there("POST", f"/actors/{foreign}/messages", message)["execution_id"]
    path = f"/actors/{foreign}/executions/{execution}"
    gate.until(lambda: "\n" in there("GET", f"{path}/logs")["logs"], "the other token")
    other = there("GET", f"{path}/logs")["logs"].splitlines()[0]
    assert status(gate, other, f"/actors/{foreign}") == 200
    # the tenant is in the token; what else is sent does not change it
    headers = {"Authorization": f"Bearer {other}", "Tenant": "DEV", "X-Tenant": "DEV"}
    assert gate.raw("GET", f"/actors/{actor}", headers=headers).status == 404
    for _ in there("GET", "/actors"):
        there("DELETE", path)


def test_the_token_of_a_lost_attempt(gate: Gate, engine: Engine) -> None:
    actor, execution, first = a_run(gate)
    gate.kill()
    engine.remove_all()
    gate.start()

    def other() -> str | None:
        lines = gate.logs(actor, execution).splitlines()
        return lines[0] if lines and lines[0] != first else None

    second = gate.until(other, "the token of the second attempt")
    assert (status(gate, first), status(gate, second)) == (401, 200)
    assert gate.execution(actor, execution)["status"] == "RUNNING"
    end(gate, actor, execution)
    assert (status(gate, first), status(gate, second)) == (401, 401)


def test_one_that_the_sender_or_the_owner_brings(gate: Gate) -> None:
    """What names a token, and the server to send it to, is the server's alone to say."""
    names = ("_abaco_access_token", "_abaco_api_server", "_abaco_username", "_abaco_actor_id")
    script = "".join(f'echo "{name}=${name}"; ' for name in names)
    spoof = dict.fromkeys(names, "spoof")
    actor = gate.register(SHELL, default_environment=spoof)
    query = "&".join(f"{name}=spoof" for name in names)
    answer = gate.call("POST", f"/actors/{actor}/messages?{query}", {"message": script, **spoof})
    gate.until_final(actor, answer["execution_id"])
    assert gate.logs(actor, answer["execution_id"]).splitlines() == [
        "_abaco_access_token=",
        f"_abaco_api_server={gate.url}",
        "_abaco_username=jane",
        f"_abaco_actor_id={actor}",
    ]
