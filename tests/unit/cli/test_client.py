"""The HTTP client: what it sends, and what it says when things go wrong."""

import socket
import threading

import pytest

from abaco.cli.client import AbacoClient, ApiError, ClientError, UnreachableError, snake_keys
from handlers import auth


@pytest.fixture
def client(stub):
    return AbacoClient(stub.url)


def test_it_returns_the_result(stub, client):
    stub.answer("GET", "/actors", [{"id": "a1"}])
    assert client.get() == [{"id": "a1"}]


def test_a_slash_at_the_end_of_the_url_does_no_harm(stub):
    stub.answer("GET", "/actors", [])
    assert AbacoClient(stub.url + "/").get() == []


def test_parts_of_the_path_are_quoted(stub, client):
    stub.answer("GET", "/actors/a%2F..%20%3Fx", {"id": "a1"})
    assert client.get("a/.. ?x") == {"id": "a1"}


def test_a_body_is_json_and_says_so(stub, client):
    stub.answer("POST", "/actors/a1/messages?k=a%26b", {"execution_id": "e1"})
    client.request("POST", ["a1", "messages"], query={"k": "a&b"}, body={"message": "é"})
    (asked,) = stub.asked
    assert asked.json == {"message": "é"}
    assert asked.headers["Content-Type"] == "application/json"


def test_null_is_a_body_and_no_body_is_none(stub, client):
    stub.answer("POST", "/actors/a1/state", None)
    client.request("POST", ["a1", "state"], body=None)
    client.request("POST", ["a1", "state"])
    assert [asked.body for asked in stub.asked] == [b"null", b""]


def test_headers_go_with_every_request(stub):
    stub.answer("GET", "/actors", [])
    AbacoClient(stub.url, {"X-JWT-Assertion-DEV": "secret"}).get()
    assert stub.asked[0].headers["X-Jwt-Assertion-Dev"] == "secret"


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_carries_status_and_message(stub, client, status):
    stub.answer("GET", "/actors", "no such thing", status=status)
    with pytest.raises(ApiError, match=f"no such thing \\(HTTP {status}\\)") as caught:
        client.get()
    assert caught.value.status == status


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"result": 1}', b"\xff"])
def test_something_else_at_the_url_is_told_apart(stub, client, body):
    stub.answer_raw("GET", "/actors", body, status=502)
    with pytest.raises(ApiError, match="does not answer like an Abaco server"):
        client.get()


def test_nobody_at_the_url_says_how_to_start_a_server():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UnreachableError) as caught:
            AbacoClient(url).get()
    text = caught.value.message
    assert f"no answer from {url}: connection refused" in text
    assert "abaco serve" in text
    assert "ABACO_URL" in text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://host.invalid", "name of the host"),
        ("http://[", "no URL"),
        ("ftp://127.0.0.1", "no URL"),
    ],
)
def test_a_bad_url_ends_in_a_plain_sentence(url, words):
    with pytest.raises(ClientError, match=words) as caught:
        AbacoClient(url).get()
    assert "object at 0x" not in caught.value.message


def test_a_server_that_hangs_up_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = AbacoClient(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(UnreachableError):
            client.get()
        thread.join()


class TestSpelling:
    def test_camel_keys_of_objects_become_snake(self):
        assert snake_keys({"maxWorkers": 1, "cpu": 2}) == {"max_workers": 1, "cpu": 2}

    def test_objects_of_lists_and_summaries_too(self):
        assert snake_keys([{"hostId": 1}]) == [{"host_id": 1}]
        assert snake_keys({"executions": [{"startTime": 1}]}) == {"executions": [{"start_time": 1}]}

    @pytest.mark.parametrize("key", ["state", "default_environment", "final_state", "_links"])
    def test_what_belongs_to_users_stays(self, key):
        inner = {"camelCase": {"OOMKilled": 1}}
        assert snake_keys({key: inner}) == {key: inner}

    @pytest.mark.parametrize("value", [None, "aB", 3, [], {}])
    def test_other_values_stay(self, value):
        assert snake_keys(value) == value

    def test_snake_keys_stay(self):
        item = {"max_workers": 1, "_abaco_x": 2, "log_ex": 3}
        assert snake_keys(item) == item


class TestNoProof:
    def test_the_command_line_says_how_to_give_one(self, run, stub):
        stub.answer(
            "GET", "/actors", f"{auth._NO_CREDENTIALS}, or Authorization: Bearer", status=400
        )
        result = run("actors", "list", ABACO_URL=stub.url)
        assert result.exit_code == 1
        assert "--token-file or ABACO_TOKEN_FILE" in result.stderr

    def test_programs_are_not_told_of_options(self, stub, client):
        stub.answer("GET", "/actors", auth._NO_CREDENTIALS, status=401)
        with pytest.raises(ApiError) as caught:
            client.get()
        assert caught.value.message == f"{auth._NO_CREDENTIALS} (HTTP 401)"

    def test_other_refusals_are_left_alone(self, run, stub):
        stub.answer("GET", "/actors", "the token has expired", status=400)
        assert "--token-file" not in run("actors", "list", ABACO_URL=stub.url).stderr
