"""``abaco/actors.py``: what a Python program in a container uses, run as a program of its own."""

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from abaco import actors
from abaco.actors import ActorError, ApiError, ResultTooLargeError, UnreachableError
from abaco.domain import context
from tests.support.stub_api import serve_stub

ROOT = Path(__file__).parents[2]
COPIED = ("abaco/actors.py", "abaco/calls.py")

#: modules of Python 3.6's standard library that the copied files may use
OLD_LIBRARY = {
    "ast", "base64", "contextlib", "io", "json", "os", "pathlib", "pickle", "socket", "stat",
    "struct", "sys", "traceback", "typing", "urllib",
}  # fmt: skip


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Put what the container has at the root somewhere else."""
    monkeypatch.setattr(actors, "BINARY_DATA", tmp_path / "data")
    monkeypatch.setattr(actors, "RESULTS_SOCKET", tmp_path / "results.sock")
    monkeypatch.setattr(actors, "RESULTS_DIRECTORY", tmp_path / "results.d")
    for name in list(os.environ):
        if name.startswith(("_abaco", "_actor", "MSG")):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def given(monkeypatch):
    """Set variables; the names are those of the contract."""

    def give(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return give


@pytest.fixture
def results(places):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(places / "results.sock"))
        receiver.settimeout(5)
        yield receiver


@pytest.fixture
def stub(given):
    with serve_stub() as api:
        given(_abaco_api_server=api.url, _abaco_actor_id="a1", _abaco_access_token="t.o.k")
        yield api


class TestTheFiles:
    @pytest.mark.parametrize("name", COPIED)
    def test_they_are_python_3_6(self, name):
        ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 6))

    @pytest.mark.parametrize("name", COPIED)
    def test_they_import_what_python_3_6_has(self, name):
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        imported = {
            (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        # cloudpickle inside a function, when Python values are sent
        assert imported - {"cloudpickle"} <= OLD_LIBRARY

    @pytest.mark.parametrize("name", COPIED)
    def test_a_copy_alone_can_be_imported_and_does_nothing(self, name, tmp_path):
        shutil.copy(ROOT / name, tmp_path / "copied.py")
        watch = (
            "import sys; seen = []; "
            "sys.addaudithook(lambda event, args: seen.append(event));"
            "import copied; "
            "print([e for e in seen if e.startswith(('socket.', 'subprocess', 'urllib'))])"
        )
        done = subprocess.run(
            [sys.executable, "-S", "-c", watch],
            cwd=tmp_path, capture_output=True, text=True, check=True, env={},
        )  # fmt: skip
        assert done.stdout == "[]\n"

    def test_the_places_are_those_of_the_contract(self):
        # read from the text: the fixture has moved them
        text = (ROOT / "abaco/actors.py").read_text(encoding="utf-8")
        assert f'BINARY_DATA = Path("{context.BINARY_DATA}")' in text
        assert f'RESULTS_SOCKET = Path("{context.RESULTS_SOCKET}")' in text


class TestContext:
    def test_it_has_what_the_server_says(self, given):
        given(
            MSG="hello",
            _abaco_Content_Type="str",
            _abaco_execution_id="e1",
            _abaco_username="jane",
            _abaco_actor_state="{'n': 1}",
            _abaco_actor_id="a1",
            _abaco_actor_dbid="DEV_a1",
            _abaco_actor_name="hello",
            _abaco_container_repo="abaco/hello",
            _abaco_worker_id="w1",
        )
        found = actors.get_context()
        assert found.raw_message == found["raw_message"] == "hello"
        assert (found.content_type, found.execution_id) == ("str", "e1")
        assert (found.username, found.state) == ("jane", "{'n': 1}")
        assert (found.actor_id, found.actor_dbid) == ("a1", "DEV_a1")
        assert (found.actor_name, found.actor_repo, found.worker_id) == (
            "hello",
            "abaco/hello",
            "w1",
        )
        assert found.MSG == "hello"
        assert os.environ["PATH"] == found.PATH

    def test_the_spelling_with_a_hyphen_is_read_too(self, monkeypatch):
        monkeypatch.setenv("_abaco_Content-Type", "application/json")
        assert actors.get_context().content_type == "application/json"

    @pytest.mark.parametrize("name", ["username", "state", "execution_id", "message_dict"])
    def test_a_sender_cannot_put_a_variable_in_its_place(self, given, name):
        given(**{name: "spoof"})
        assert actors.get_context()[name] != "spoof"

    def test_what_is_not_there_is_no_attribute(self):
        with pytest.raises(AttributeError, match="no_such"):
            _ = actors.get_context().no_such

    @pytest.mark.parametrize(
        "message", ["{'a': True, 'b': [None, 1.5]}", '{"a": true, "b": [null, 1.5]}']
    )
    def test_an_object_is_parsed_in_either_form(self, given, message):
        given(MSG=message)
        found = actors.get_context()
        assert found.message_dict == {"a": True, "b": [None, 1.5]}
        assert found.raw_message_parse_log == ""

    @pytest.mark.parametrize(
        ("message", "why"),
        [("hello", "no object"), ("[1]", "type list"), ("", "no object"), ("(" * 999, "no object")],
    )
    def test_what_is_no_object_says_why(self, given, message, why):
        given(MSG=message)
        found = actors.get_context()
        assert found.message_dict == {}
        assert why in found.raw_message_parse_log

    def test_a_json_twin_wins(self, given):
        given(MSG="{'a': 1}", _abaco_msg_json='{"a": 2}')
        assert actors.get_context().message_dict == {"a": 2}

    def test_a_text_is_read_whether_or_not_it_has_a_twin(self, given):
        given(MSG='{"a": 2}', _abaco_msg_json=json.dumps('{"a": 2}'))
        assert actors.get_context().message_dict == {"a": 2}
        given(_abaco_msg_json="[1]")
        assert actors.get_context().message_dict == {}

    def test_a_text_that_came_as_a_file_is_read(self, given, tmp_path):
        (tmp_path / "text").write_text("{'long': 'ü'}", encoding="utf-8")
        given(MSG="", _abaco_msg_file=str(tmp_path / "text"))
        assert actors.get_context().message_dict == {"long": "ü"}

    @pytest.mark.parametrize(
        ("variables", "value"),
        [
            ({}, {}),
            ({"_abaco_actor_state": "{'n': None}"}, {"n": None}),
            ({"_abaco_actor_state": "plain text"}, "plain text"),
            ({"_abaco_actor_state": "{'n': 1}", "_abaco_actor_state_json": '{"n": 2}'}, {"n": 2}),
        ],
    )
    def test_the_state_is_parsed(self, given, variables, value):
        given(**variables)
        assert actors.get_state() == value

    def test_configs(self, given):
        assert actors.get_actor_configs() == {}
        given(_actor_configs="{'password': 'x', 'limits': \"{'rows': 10}\"}")
        assert actors.get_actor_configs() == {"password": "x", "limits": "{'rows': 10}"}
        given(_actor_configs_json='{"password": "y"}')
        assert actors.get_actor_configs() == {"password": "y"}

    @pytest.mark.parametrize("value", [{"a": True, "b": None}, [1, 2.5], "text", 7, {}])
    def test_it_reads_what_the_server_writes(self, given, value):
        given(_abaco_actor_state=context.python_text(value))
        assert actors.get_state() == value


class TestBinaryMessages:
    def test_a_file(self, places):
        (places / "data").write_bytes(bytes(range(256)) * 1000)
        assert actors.get_binary_message() == bytes(range(256)) * 1000
        with actors.open_binary_message() as message:
            assert message.read(2) == b"\x00\x01"

    def test_a_pipe_that_never_ends(self, places):
        os.mkfifo(places / "data")
        ours = os.open(places / "data", os.O_RDWR)
        try:
            os.write(ours, b"x" * 60000)
            assert actors.get_binary_message() == b"x" * 60000
            assert actors.get_binary_message() == b""
        finally:
            os.close(ours)

    def test_another_message_is_none(self):
        with pytest.raises(ActorError, match="not a binary one"):
            actors.get_binary_message()


class TestResults:
    def test_one_is_one_datagram(self, results):
        actors.send_bytes_result(b"42")
        actors.send_bytes_result(b"x" * actors.MAX_RESULT_BYTES)
        assert results.recv(10) == b"42"
        assert results.recv(200000) == b"x" * 131072

    def test_python_values_are_pickled(self, results):
        import cloudpickle

        actors.send_python_result({"f": lambda x: x + 1})
        assert cloudpickle.loads(results.recv(200000))["f"](1) == 2

    def test_without_cloudpickle_it_says_so(self, results, monkeypatch):
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
        with pytest.raises(ActorError, match="pip install cloudpickle"):
            actors.send_python_result(1)

    @pytest.mark.parametrize("result", ["text", None, 1, ["x"]])
    def test_only_bytes(self, result):
        with pytest.raises(TypeError, match=type(result).__name__):
            actors.send_bytes_result(result)

    def test_none_is_empty(self):
        with pytest.raises(ActorError, match="empty"):
            actors.send_bytes_result(b"")

    def test_a_large_one_needs_the_directory(self, places, results):
        with pytest.raises(ResultTooLargeError, match=r"131073 bytes.*131072.*large_results"):
            actors.send_bytes_result(b"x" * 131073)
        (places / "results.d").mkdir()
        actors.send_bytes_result(b"x" * 131073)
        actors.send_bytes_result(b"y" * 131073)
        left = sorted((places / "results.d").iterdir())
        assert [file.read_bytes()[:1] for file in left] == [b"x", b"y"]

    def test_large_ones_of_many_threads_replace_nothing(self, places):
        (places / "results.d").mkdir()
        names = [str(number).encode() for number in range(8)]
        threads = [
            threading.Thread(target=actors.send_bytes_result, args=[name * 140000])
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        left = list((places / "results.d").iterdir())
        assert sorted(file.read_bytes()[:1] for file in left) == names

    def test_a_directory_that_cannot_be_written(self, places):
        (places / "results.d").symlink_to("/proc/self")
        with pytest.raises(ActorError, match="left as a file"):
            actors.send_bytes_result(b"x" * 140000)

    def test_after_a_restart_of_the_server(self, places, results):
        results.close()
        with pytest.raises(ActorError, match="started anew"):
            actors.send_bytes_result(b"x")

    def test_outside_of_a_container(self):
        with pytest.raises(ActorError, match="No such file"):
            actors.send_bytes_result(b"x")


class TestClient:
    def test_the_token_goes_with_every_request(self, stub):
        stub.answer("GET", "/actors/v2/a1", {"id": "a1"})
        assert actors.get_client().get_actor("a1") == {"id": "a1"}
        assert stub.asked[0].headers["Authorization"] == "Bearer t.o.k"

    def test_without_a_token_nothing_is_proved(self, stub, given):
        given(_abaco_access_token="")
        stub.answer("GET", "/actors/v2", [])
        assert actors.get_client().list_actors() == []
        assert "Authorization" not in stub.asked[0].headers

    @pytest.mark.parametrize("url", ["", "file:///etc/passwd", "localhost:8000"])
    def test_outside_of_a_container(self, given, url):
        given(_abaco_api_server=url)
        with pytest.raises(ActorError, match="no URL"):
            actors.get_client()

    @pytest.mark.parametrize("state", [{"a": 1}, [1], "text", None, 7])
    def test_the_state_is_replaced(self, stub, state):
        stub.answer("POST", "/actors/v2/a1/state", {"state": state})
        actors.update_state(state)
        assert stub.asked[0].json == state
        assert stub.asked[0].headers["Content-Type"] == "application/json"

    def test_the_state_is_read(self, stub):
        stub.answer("GET", "/actors/v2/a1/state", {"state": {"n": 1}})
        assert actors.get_client().get_state("a1") == {"n": 1}

    @pytest.mark.parametrize("name", ["execution_id", "executionId"])
    def test_messages(self, stub, name):
        stub.answer("POST", "/actors/v2/b%2F2/messages?MODE=a+b", {name: "e1"})
        client = actors.get_client()
        assert client.send_message("b/2", {"n": 1}, {"MODE": "a b"}) == "e1"
        assert stub.asked[0].json == {"message": {"n": 1}}

    def test_binary_messages(self, stub, tmp_path):
        stub.answer("POST", "/actors/v2/b2/messages", {"execution_id": "e1"})
        (tmp_path / "file").write_bytes(b"skipped" + b"x" * 100000)
        assert actors.get_client().send_binary_message("b2", b"\0\1") == "e1"
        with (tmp_path / "file").open("rb") as file:
            file.read(7)
            actors.get_client().send_binary_message("b2", file)
        assert [asked.body for asked in stub.asked] == [b"\0\1", b"x" * 100000]
        assert stub.asked[1].headers["Content-Length"] == "100000"
        assert stub.asked[1].headers["Content-Type"] == "application/octet-stream"

    def test_executions(self, stub):
        path = "/actors/v2/b2/executions"
        stub.answer("GET", path, {"executions": [{"id": "e1"}]})
        stub.answer("GET", f"{path}/e1", {"id": "e1", "status": "RUNNING"})
        stub.answer("GET", f"{path}/e1?wait=5", {"id": "e1", "status": "COMPLETE"})
        stub.answer("GET", f"{path}/e1/logs", {"logs": "said"})
        for result in (b"one", b"two", b""):
            stub.answer_raw("GET", f"{path}/e1/results", result)
        client = actors.get_client()
        assert client.list_executions("b2") == [{"id": "e1"}]
        assert client.get_execution("b2", "e1")["status"] == "RUNNING"
        assert client.get_execution("b2", "e1", wait_s=5)["status"] == "COMPLETE"
        assert client.get_logs("b2", "e1") == "said"
        assert list(client.take_results("b2", "e1")) == [b"one", b"two"]

    def test_nonces(self, stub):
        stub.answer("POST", "/actors/v2/a1/nonces", {"id": "n1"})
        stub.answer("GET", "/actors/v2/a1/nonces", [{"id": "n1"}])
        stub.answer("DELETE", "/actors/v2/a1/nonces/n1", None)
        client = actors.get_client()
        assert client.add_nonce("a1", max_uses=1) == {"id": "n1"}
        assert stub.asked[0].json == {"max_uses": 1}
        assert client.list_nonces("a1") == [{"id": "n1"}]
        client.delete_nonce("a1", "n1")
        assert stub.asked[-1].method == "DELETE"

    def test_a_refusal_says_why(self, stub):
        stub.answer("GET", "/actors/v2/a1", "you do not have access", status=400)
        with pytest.raises(ApiError, match=r"you do not have access \(HTTP 400\)") as caught:
            actors.get_client().get_actor("a1")
        assert caught.value.status == 400

    @pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"\xff"])
    def test_something_else_at_the_url(self, stub, body):
        stub.answer_raw("GET", "/actors/v2/a1", body)
        with pytest.raises(ApiError, match="does not answer like Abaco"):
            actors.get_client().get_actor("a1")

    def test_no_redirect_gets_the_token(self, stub):
        with serve_stub() as other:
            stub.answer_raw("GET", "/actors/v2/a1", b"", status=302, Location=f"{other.url}/x")
            with pytest.raises(ApiError) as caught:
                actors.get_client().get_actor("a1")
            assert caught.value.status == 302
            assert other.asked == []

    def test_nobody_answers(self, given):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            given(_abaco_api_server=f"http://127.0.0.1:{unused.getsockname()[1]}")
            with pytest.raises(UnreachableError, match="refused"):
                actors.get_client().list_actors()

    def test_no_error_shows_the_token(self, stub):
        stub.answer("GET", "/actors/v2/a1", "no", status=500)
        with pytest.raises(ApiError) as caught:
            actors.get_client().get_actor("a1")
        assert "t.o.k" not in repr(caught.value) + json.dumps(caught.value.args)
