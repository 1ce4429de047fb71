"""The environment of a container: names, precedence, encoding, limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abaco.domain.context import (
    MAX_ENVIRONMENT_BYTES,
    MAX_VARIABLE_BYTES,
    build_environment,
    check_environment,
    is_reserved,
    python_text,
)
from abaco.domain.ids import WorkerId
from abaco.domain.message import Blob
from abaco.errors import InvalidInputError, TooLargeError
from tests.support.records import a_message, an_actor, an_execution

WORKER = WorkerId("W1")


def environment(
    body: Any = "hi", *, default: Any = None, query: Any = None, token: str = "", **actor: Any
) -> dict[str, str]:
    record = an_actor(default_environment=default or {}, **actor)
    message = a_message(an_execution(record), body=body, environment=query or {})
    return build_environment(record, message, WORKER, access_token=token)


def test_every_variable_of_the_contract_is_there() -> None:
    actor = an_actor(name="demo", state={"n": 1}, revision=3, image="img:1")
    execution = an_execution(actor, executor="sue")
    message = a_message(
        execution, body="hi", content_type="str", jwt_header="X-Jwt-Assertion-Dev", revision=2
    )
    assert build_environment(actor, message, WORKER, access_token="tok") == {
        "MSG": "hi",
        "_abaco_Content_Type": "str",
        "_abaco_Content-Type": "str",
        "_abaco_execution_id": execution.id,
        "_abaco_actor_id": actor.id,
        "_abaco_actor_dbid": f"DEV_{actor.id}",
        "_abaco_actor_name": "demo",
        "_abaco_actor_revision": "2",
        "_abaco_actor_state": "{'n': 1}",
        "_abaco_container_repo": "img:1",
        "_abaco_worker_id": "W1",
        "_abaco_username": "sue",
        "_abaco_api_server": execution.api_server,
        "_abaco_jwt_header_name": "X-Jwt-Assertion-Dev",
        "_abaco_access_token": "tok",
        "_actor_configs": "{}",
    }


BLOB = Blob(size_bytes=3, sha256="0" * 64)


def blob_environment(content_type: str, query: Any) -> dict[str, str]:
    actor = an_actor(default_environment={"MSG": "default", "_abaco_msg_file": "default"})
    message = a_message(
        an_execution(actor), body="shown", blob=BLOB, content_type=content_type, environment=query
    )
    return build_environment(actor, message, WORKER, access_token="")


def test_a_binary_message_has_no_msg_from_anywhere() -> None:
    found = blob_environment("application/octet-stream", {"MSG": "query", "A": "1"})
    assert "MSG" not in found
    assert "_abaco_msg_file" not in found
    assert found["A"] == "1"
    assert found["_abaco_Content_Type"] == found["_abaco_Content-Type"]
    assert found["_abaco_Content_Type"] == "application/octet-stream"


@pytest.mark.parametrize("content_type", ["str", "application/json"])
def test_a_text_in_a_file_is_named_and_msg_is_empty(content_type: str) -> None:
    found = blob_environment(content_type, {"MSG": "query", "_abaco_msg_file": "query"})
    assert (found["MSG"], found["_abaco_msg_file"]) == ("", "/_abaco_binary_data")
    assert found["_abaco_Content_Type"] == content_type


def test_without_a_jwt_its_header_is_not_named() -> None:
    assert "_abaco_jwt_header_name" not in environment()


def test_an_actor_without_name_says_none() -> None:
    assert environment()["_abaco_actor_name"] == "None"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ({"a": True, "b": None}, "{'a': True, 'b': None}"),
        ([1, 2.5, "x"], "[1, 2.5, 'x']"),
        (7, "7"),
        (False, "False"),
    ],
)
def test_values_are_rendered_the_python_way(value: Any, text: str) -> None:
    assert python_text(value) == text
    assert environment(value)["MSG"] == text


def test_a_state_that_is_text_is_passed_raw() -> None:
    assert environment(state="abc")["_abaco_actor_state"] == "abc"


def test_query_parameters_win_over_the_default_environment() -> None:
    got = environment(default={"A": "1", "B": 2, "C": None}, query={"A": "9", "PATH": "/x"})
    assert (got["A"], got["B"], got["PATH"]) == ("9", "2", "/x")
    assert "C" not in got


@pytest.mark.parametrize("name", ["MSG", "_abaco_actor_id", "_abaco_new", "_actor_configs"])
def test_nobody_sets_a_reserved_name(name: str) -> None:
    assert is_reserved(name)
    got = environment("real", default={name: "spoof"}, query={name: "spoof"})
    assert got.get(name) != "spoof"


@pytest.mark.parametrize("name", ["x-nonce", "_abaco_synchronous"])
def test_what_the_server_passes_on_comes_with_the_message_alone(name: str) -> None:
    assert is_reserved(name)
    assert name not in environment(default={name: "spoof"})
    assert environment(default={name: "spoof"}, query={name: "real"})[name] == "real"


TWINS = {"_abaco_msg_json", "_abaco_actor_state_json", "_actor_configs_json"}


def with_json(body: Any, state: Any = None, configs: Any = None, **message: Any) -> dict[str, str]:
    actor = an_actor(state=state, default_environment=dict.fromkeys(TWINS, "spoof"))
    sent = a_message(an_execution(actor), body=body, **message)
    return build_environment(
        actor, sent, WORKER, access_token="", configs=configs or {}, has_json=True
    )


@pytest.mark.parametrize(
    "body", ["plain", "ünï\ud800", "", {"a": [True, None, 1.5, "\0"]}, 7, None, [], "{'a': 1}"]
)
def test_json_says_what_the_text_form_says(body: Any) -> None:
    if isinstance(body, str) and "\ud800" in body:
        body = {"a": body}  # as text it is refused
    found = with_json(body, state={"n": None}, configs={"secret": "'\""})
    assert json.loads(found["_abaco_msg_json"]) == body
    assert json.loads(found["_abaco_actor_state_json"]) == {"n": None}
    assert json.loads(found["_actor_configs_json"]) == {"secret": "'\""}
    assert found["MSG"] == python_text(body)
    assert not TWINS & set(environment(body, default=dict.fromkeys(TWINS, "spoof")))


def test_a_message_in_a_file_has_no_json() -> None:
    for content_type in ("application/octet-stream", "str"):
        found = with_json("x", blob=BLOB, content_type=content_type)
        assert set(found) & TWINS == TWINS - {"_abaco_msg_json"}


def test_json_that_does_not_fit_is_left_out() -> None:
    name = "_abaco_msg_json="
    fits = "x" * (MAX_VARIABLE_BYTES - len(name) - 2)
    assert set(with_json(fits)) & TWINS == TWINS
    assert set(with_json(fits + "x")) & TWINS == TWINS - {"_abaco_msg_json"}
    many = {f"N{number}": "x" * 120_000 for number in range(15)}
    found = with_json("x" * 80_000, environment=many)
    assert set(found) & TWINS == TWINS - {"_abaco_msg_json"}
    assert check_environment(found) <= MAX_ENVIRONMENT_BYTES


def test_a_sender_may_ask_a_runner_for_errors() -> None:
    name = "_abaco_executor_errors"
    assert not is_reserved(name)
    assert environment(query={name: "1"})[name] == "1"


def test_a_message_may_be_as_long_as_the_kernel_allows() -> None:
    longest = MAX_VARIABLE_BYTES - len("MSG=")
    assert len(environment("x" * longest)["MSG"]) == longest
    with pytest.raises(TooLargeError, match=r"message is too large.*131068.*131067"):
        environment("x" * (longest + 1))


def test_length_is_counted_in_bytes() -> None:
    with pytest.raises(TooLargeError):
        environment("ä" * 70_000)


def test_another_variable_too_long_is_named() -> None:
    with pytest.raises(TooLargeError, match="BIG"):
        environment(query={"BIG": "x" * MAX_VARIABLE_BYTES})


def test_all_variables_together_are_bounded() -> None:
    many = {f"V{number}": "x" * 100_000 for number in range(MAX_ENVIRONMENT_BYTES // 100_000 + 1)}
    with pytest.raises(TooLargeError, match="the environment is too large"):
        check_environment(many)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"": "x"}, "''"),
        ({"A=B": "x"}, "A=B"),
        ({"A": "x\0y"}, "NUL"),
        ({"A\0B": "x"}, "NUL"),
        ({"A": "\ud800"}, "surrogate"),
    ],
)
def test_what_cannot_be_a_variable_is_refused(bad: dict[str, str], word: str) -> None:
    with pytest.raises(InvalidInputError, match=word):
        check_environment(bad)


def test_a_bad_message_is_called_message() -> None:
    with pytest.raises(InvalidInputError, match="'message'") as caught:
        environment("a\0b")
    assert caught.value.field == "message"


class TestBundle:
    """What names the certificates a container is to trust."""

    NAMES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")

    def of(self, *, has_ca_bundle: bool = True, query: Any = None, **default: Any) -> list[Any]:
        actor = an_actor(default_environment=default)
        message = a_message(an_execution(actor), environment=query or {})
        found = build_environment(
            actor, message, WORKER, access_token="", has_ca_bundle=has_ca_bundle
        )
        return [found.get(name) for name in self.NAMES]

    def test_it_is_named_when_there_is_one(self) -> None:
        assert self.of(has_ca_bundle=False) == [None, None]
        assert self.of() == ["/_abaco_ca_bundle.pem"] * 2

    def test_everybody_may_name_another(self) -> None:
        assert self.of(SSL_CERT_FILE="/own.pem") == ["/_abaco_ca_bundle.pem", "/own.pem"]
        assert self.of(SSL_CERT_FILE="/own.pem", query={"SSL_CERT_FILE": "/q.pem"})[1] == "/q.pem"

    def test_or_none(self) -> None:
        assert self.of(REQUESTS_CA_BUNDLE=None, SSL_CERT_FILE=None) == [None, None]
