"""Every variable inside real containers, for each kind of message; and nothing is spoofed."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_run_tokens import Gate
from tests.http.site import PUBLIC_KEY, make_token
from tests.support.engines import ENGINE_PARAMS, EnginePool
from tests.support.images import INHERITED
from tests.support.server import running
from tests.support.serving import settings_for

IMAGE = "abaco_test_inherit"
SHELL = "abaco_test_shell"
#: what engines and shells add by themselves
OTHERS = {"PATH", "HOME", "HOSTNAME", "TERM", "container", "PWD", "SHLVL"}
#: names that only the server may set, whichever way somebody tries
RESERVED = (
    "MSG", "x-nonce", "_abaco_synchronous", "_abaco_Content_Type", "_abaco_Content-Type",
    "_abaco_execution_id", "_abaco_actor_id", "_abaco_actor_dbid", "_abaco_actor_name",
    "_abaco_actor_revision", "_abaco_actor_state", "_abaco_container_repo", "_abaco_worker_id",
    "_abaco_username", "_abaco_api_server", "_abaco_jwt_header_name", "_abaco_access_token",
    "_actor_configs", "_abaco_msg_json", "_abaco_actor_state_json", "_actor_configs_json",
    "_abaco_msg_file", "_abaco_anything_else",
)  # fmt: skip
SPOOFS = dict.fromkeys(RESERVED, "spoof")
#: all of them that a query may say; the others mean something there
QUERY = "&".join(
    f"{name}=spoof" for name in RESERVED if name not in ("x-nonce", "_abaco_synchronous")
)
DRAFT: dict[str, Any] = {
    "image": IMAGE,
    "name": "everything",
    "stateless": False,
    "token": True,
    "default_environment": {
        **SPOOFS,
        "DEFAULT": "default",
        "IMAGE_DEFAULT": "default",
        "BOTH": "default",
        "TRUE": True,
        "LEFT_OUT": None,
    },
}
STATE = {"n": [1, None], "text": 'it\'s "ü"'}
CONFIGS = {"PATH": "/nowhere", "MSG": "no message", "_abaco_actor_id": "no id", "secret": "hünter2"}
#: all but a hundred thousand bytes of what an environment can hold
FILL = {f"FILL{number}": "x" * 120_000 for number in range(15)}
#: bytes of the longest message a variable can hold
LONGEST = 131_067


@pytest.fixture(scope="module", params=ENGINE_PARAMS)
def gate(
    engine_pool: EnginePool,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gate]:
    """One server for each engine."""
    with engine_pool.lend(request.param, request.session) as engine:
        settings = {
            **settings_for(engine),
            "web.access_control": "jwt",
            "web.apim_public_key": PUBLIC_KEY,
            "web.user_role": "Internal/everyone",
            "web.accept_nonce": "true",
            "web.max_body_length": "4000000",
            "runtime.inject_nonce": "true",
            "runtime.json_variables": "true",
        }
        server = Gate(tmp_path_factory.mktemp("environment"), settings)
        with running(server):
            yield server


@pytest.fixture(scope="module")
def actor(gate: Gate) -> str:
    """An actor with everything an actor can have, that prints its variables."""
    actor = gate.register(**DRAFT)
    gate.call("POST", f"/actors/{actor}/state", STATE)
    for name, value in CONFIGS.items():
        config = {"name": name, "value": value, "actors": actor, "is_secret": name == "secret"}
        gate.call("POST", "/actors/configs", config)
    return actor


def given(gate: Gate, actor: str, execution: str) -> dict[str, str]:
    """Wait for a run, and return what its program was given, without what is everybody's."""
    done = gate.until_final(actor, execution)
    assert done["exit_code"] == 0, done
    lines = gate.logs(actor, execution).partition("Environment:\n")[2].splitlines()
    pairs = [line.partition("=") for line in lines]
    found = {name: value for name, _, value in pairs}
    assert len(found) == len(pairs)  # each is there once
    return {name: value for name, value in found.items() if name not in OTHERS}


def check(gate: Gate, actor: str, execution: str, **special: str | None) -> None:
    """Compare everything; ``special`` differs between kinds of messages, None is not there."""
    found = given(gate, actor, execution)
    token = found.pop("_abaco_access_token")
    assert token.count(".") == 2
    assert (found.pop("_abaco_actor_state"), found.pop("_actor_configs")) == (
        repr(STATE),
        found_text(CONFIGS, found["_actor_configs_json"]),
    )
    assert json.loads(found.pop("_abaco_actor_state_json")) == STATE
    assert json.loads(found.pop("_actor_configs_json")) == CONFIGS
    expected = {
        **INHERITED,
        "DEFAULT": "default",
        "IMAGE_DEFAULT": "default",
        "BOTH": "default",
        "TRUE": "True",
        "_abaco_execution_id": execution,
        "_abaco_actor_id": actor,
        "_abaco_actor_dbid": f"DEV_{actor}",
        "_abaco_actor_name": "everything",
        "_abaco_actor_revision": str(gate.actor(actor)["revision"]),
        "_abaco_container_repo": IMAGE,
        "_abaco_worker_id": gate.execution(actor, execution)["worker_id"],
        "_abaco_api_server": gate.url,
        "_abaco_username": "jane",
        "_abaco_jwt_header_name": "X-Jwt-Assertion-Dev",
        **special,
    }
    expected["_abaco_Content-Type"] = expected["_abaco_Content_Type"]
    assert found == {name: value for name, value in expected.items() if value is not None}


def found_text(configs: dict[str, str], as_json: str) -> str:
    """Return Python's text of the configs in the order they came in."""
    order = list(json.loads(as_json))
    assert sorted(order) == sorted(configs)
    return repr({name: configs[name] for name in order})


def post(gate: Gate, actor: str, body: Any, query: str = "", **named: Any) -> str:
    path = f"/actors/{actor}/messages{query}"
    return str(gate.call("POST", path, body, **named)["execution_id"])


def test_text(gate: Gate, actor: str) -> None:
    body = {
        "message": "it's ünïcödé",
        "environment": SPOOFS,
        **{name: "spoof" for name in RESERVED},
    }
    execution = post(gate, actor, body, f"?BOTH=query&QUERY=1&QUERY=2&IMAGE_QUERY=query&{QUERY}")
    check(
        gate, actor, execution,
        MSG="it's ünïcödé", _abaco_Content_Type="str", BOTH="query", QUERY="1",
        IMAGE_QUERY="query", _abaco_msg_json=json.dumps("it's ünïcödé"),
    )  # fmt: skip


def test_json(gate: Gate, actor: str) -> None:
    body = {"a": True, "b": [None, 1.5], "MSG": "spoof", "_abaco_actor_id": "spoof"}
    execution = post(gate, actor, body, f"?{QUERY}")
    check(
        gate, actor, execution,
        MSG=repr(body), _abaco_Content_Type="application/json", _abaco_msg_json=json.dumps(body),
    )  # fmt: skip
    assert ast.literal_eval(repr(body)) == body


def test_json_in_the_field_of_a_text(gate: Gate, actor: str) -> None:
    execution = post(gate, actor, {"message": {"n": None}})
    check(
        gate, actor, execution,
        MSG="{'n': None}", _abaco_Content_Type="str", _abaco_msg_json='{"n": null}',
    )  # fmt: skip


def test_binary(gate: Gate, actor: str) -> None:
    token = {"X-Jwt-Assertion-DEV": make_token("jane")}
    execution = gate.upload(actor, os.urandom(10), f"?BOTH=query&{QUERY}", **token)["execution_id"]
    check(gate, actor, execution, _abaco_Content_Type="application/octet-stream", BOTH="query")


def test_nonce(gate: Gate, actor: str) -> None:
    nonce = gate.call("POST", f"/actors/{actor}/nonces", {"level": "EXECUTE"})["id"]
    query = f"?x-nonce={nonce}&x-nonce=spoof&{QUERY}"
    execution = post(gate, actor, {"message": "by nonce"}, query, headers={})
    check(
        gate, actor, execution,
        MSG="by nonce", _abaco_Content_Type="str", _abaco_msg_json='"by nonce"',
        _abaco_jwt_header_name=None, **{"x-nonce": nonce},
    )  # fmt: skip
    execution = post(gate, actor, {"message": "beside a token"}, "?x-nonce=spoof")
    assert "x-nonce" not in given(gate, actor, execution)


def caused(gate: Gate, actor: str, executor: str) -> str:
    """Wait for an execution that nobody of us has asked for."""

    def first() -> str | None:
        ids = [each["id"] for each in gate.executions(actor)]
        found = [each for each in ids if gate.execution(actor, each)["executor"] == executor]
        return found[-1] if found else None

    return str(gate.until(first, f"an execution of {executor}"))


def test_event(gate: Gate, actor: str) -> None:
    source = gate.register(SHELL, link=actor)
    execution = caused(gate, actor, "Abaco Event")
    found = given(gate, actor, execution)
    event = ast.literal_eval(found["MSG"])
    assert (event["event_type"], event["actor_id"]) == ("ACTOR_READY", source)
    assert json.loads(found["_abaco_msg_json"]) == event
    check(
        gate, actor, execution,
        MSG=found["MSG"], _abaco_msg_json=found["_abaco_msg_json"],
        _abaco_Content_Type="application/json", _abaco_username="Abaco Event",
        _abaco_jwt_header_name=None,
    )  # fmt: skip


def test_cron(gate: Gate, actor: str) -> None:
    gate.call("PUT", f"/actors/{actor}", {**DRAFT, "cron_schedule": "now + 1 day"})
    execution = caused(gate, actor, "cron")
    text = "This is your cron execution"
    check(
        gate, actor, execution,
        MSG=text, _abaco_msg_json=json.dumps(text), _abaco_Content_Type="str",
        _abaco_username="cron", _abaco_jwt_header_name=None,
    )  # fmt: skip


def test_a_bare_actor(gate: Gate) -> None:
    actor = gate.register("abaco_test_echo")
    path = f"/actors/{actor}/messages?_abaco_synchronous=true"
    reply = gate.raw("POST", path, {"message": ""})
    found = dict(line.partition("=")[::2] for line in reply.data.decode().splitlines()[2:])
    expected = {
        "_abaco_actor_name": "None",
        "_abaco_actor_state": "{}",
        "_actor_configs": "{}",
        "_abaco_access_token": "",
        "_abaco_synchronous": "true",
        "_abaco_Content_Type": "application/json",
        "MSG": "{'message': ''}",
    }
    assert {name: found[name] for name in expected} == expected
    assert not {"x-nonce", "_abaco_msg_file"} & set(found)


def script(length: int) -> str:
    """Return a script of so many bytes that tells its length."""
    begin = 'echo "${#MSG} $(tr "\\0" "\\n" < /proc/$$/environ | wc -c)"; true '
    return begin + "#" * (length - len(begin))


def sizes(gate: Gate, actor: str, execution: str) -> tuple[int, int]:
    """Return the bytes of MSG and of all variables, as the program has them."""
    done = gate.until_final(actor, execution)
    assert done["exit_code"] == 0, (done, gate.logs(actor, execution))
    message, everything = gate.logs(actor, execution).split()
    return int(message), int(everything)


def test_the_longest_message(gate: Gate) -> None:
    actor = gate.register(SHELL)
    path = f"/actors/{actor}/messages"
    assert sizes(gate, actor, gate.send(actor, script(LONGEST)))[0] == LONGEST
    status, envelope = gate.request("POST", path, {"message": script(LONGEST + 1)})
    assert (status, "131068 bytes, the limit is 131067" in envelope["message"]) == (400, True)
    assert len(gate.executions(actor)) == 1


def test_the_largest_environment(gate: Gate) -> None:
    actor = gate.register(SHELL, default_environment=FILL)

    def offer(length: int) -> tuple[int, list[int]]:
        """Send a message; returns the status, and total and limit if it was refused."""
        status, envelope = gate.request(
            "POST", f"/actors/{actor}/messages", {"message": script(length)}
        )
        return status, [*map(int, re.findall(r"(\d+)(?: bytes|;)", envelope["message"]))]

    # the execution's id is part of it, and ids are not all of one length
    refused = [offer(LONGEST) for _ in range(20)]
    assert {status for status, _ in refused} == {400}
    total, limit = max(numbers for _, numbers in refused)
    fits = LONGEST - (total - limit)
    assert gate.executions(actor) == []
    length, everything = sizes(gate, actor, gate.send(actor, script(fits)))
    assert length == fits
    assert everything > limit - 100  # what the server cannot know before may be shorter
    one_over = [offer(fits + 1) for _ in range(20)]
    assert (400, [limit + 1, limit]) in one_over
    assert {status for status, _ in one_over} <= {200, 400}
    accepted = [status for status, _ in one_over].count(200)  # by a shorter id
    assert len(gate.executions(actor)) == 1 + accepted


def until_refused(gate: Gate, actor: str, execution: str) -> str:
    """Wait for the end of what cannot be started; return the log's server's word on it."""
    done = gate.until_final(actor, execution)
    assert (done["status"], done["exit_code"]) == ("ERROR", "undetermined"), done
    assert gate.actor(actor)["status"] == "READY"

    def lines(words: str) -> list[str]:
        said = gate.log().splitlines()
        return [line for line in said if execution in line and words in line]

    told = gate.until(lambda: lines("is ERROR"), "the server's word on it")
    assert not lines("goes back")  # not tried again
    return str(told[0])


def test_a_state_that_grew_meanwhile(gate: Gate) -> None:
    actor = gate.register(SHELL, stateless=False, default_environment=FILL)
    first = gate.send(actor, "sleep 600")
    second = gate.send(actor, "echo never")
    gate.until_status(actor, first, "RUNNING")
    gate.call("POST", f"/actors/{actor}/state", "x" * 130_000)
    gate.call("DELETE", f"/actors/{actor}/executions/{first}")
    assert "the environment is too large" in until_refused(gate, actor, second)
    path = f"/actors/{actor}/messages"
    assert gate.request("POST", path, {"message": "echo refused"})[0] == 400
    gate.call("POST", f"/actors/{actor}/state", {})
    assert gate.until_final(actor, gate.send(actor, "echo again"))["exit_code"] == 0


def test_configs_that_grew_meanwhile(gate: Gate) -> None:
    actor = gate.register(SHELL, stateless=False)
    first = gate.send(actor, "sleep 600")
    second = gate.send(actor, "echo never")
    gate.until_status(actor, first, "RUNNING")
    for name in ("one", "two"):
        config = {"name": name, "value": "x" * 70_000, "actors": actor, "is_secret": True}
        gate.call("POST", "/actors/configs", config)
    gate.call("DELETE", f"/actors/{actor}/executions/{first}")
    told = until_refused(gate, actor, second)
    assert "_actor_configs is too large" in told
    assert "xxxx" not in gate.log()
    gate.call("DELETE", "/actors/configs/one")
    assert gate.until_final(actor, gate.send(actor, "echo again"))["exit_code"] == 0
