"""Binary messages in, results out, over every real engine."""

from __future__ import annotations

import hashlib
import os

import cloudpickle
import pytest

from tests.support.images import PYTHON_ACTOR
from tests.support.server import Server

PYTHON = "abaco_test_python"

#: begins a script with what sends a result
SEND = """
import os, socket, hashlib
results = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
results.connect("/_abaco_results.sock")
"""


def function(a: int, b: int, c: int) -> int:
    return a + b + c


@pytest.mark.parametrize("image", [PYTHON, "abaco_test_pyuser"])
def test_a_binary_message_arrives_whole(server: Server, image: str) -> None:
    script = """
data = open("/_abaco_binary_data", "rb").read()
results.send(hashlib.sha256(data).hexdigest().encode())
again = open("/_abaco_binary_data", "rb").read()
results.send(b"again" if again == data else b"changed")
results.send(oct(os.stat("/_abaco_binary_data").st_mode).encode())
try:
    open("/_abaco_binary_data", "ab").write(b"x")
except OSError as error:
    results.send(type(error).__name__.encode())
print("MSG" in os.environ, os.environ["_abaco_Content_Type"], os.environ.get("A"))
"""
    environment = {"SCRIPT": SEND + script, "MSG": "a default"}
    actor = server.register(image, default_environment=environment)
    body = os.urandom(3_000_001)
    answer = server.upload(actor, body, "?A=1&MSG=spoof")
    assert answer["msg"] == "binary - omitted"
    execution = answer["execution_id"]
    done = server.until_final(actor, execution)
    log = server.logs(actor, execution)
    assert done["exit_code"] == 0, log
    assert log == "False application/octet-stream 1\n"
    digest, again, mode, refusal = server.results(actor, execution)
    assert digest.decode() == hashlib.sha256(body).hexdigest()
    assert (again, mode) == (b"again", b"0o100444")
    assert refusal in {b"OSError", b"PermissionError"}


def test_a_function_is_called_and_its_value_comes_back(server: Server) -> None:
    actor = server.register(PYTHON_ACTOR)
    call = {"func": function, "args": [5, 7], "kwargs": {"c": 5}}
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["function"]))
    execution = server.upload(actor, cloudpickle.dumps(call))["execution_id"]
    done = server.until_final(actor, execution)
    assert done["exit_code"] == 0, server.logs(actor, execution)
    (value,) = server.results(actor, execution)
    assert cloudpickle.loads(value) == 17
