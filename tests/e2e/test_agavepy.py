"""The published SDK of the older Abaco, in containers and outside, against a server over TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agave_image import CERTIFI, CONFIG, IMAGE, agave_tar
from tests.support.engines import Engine
from tests.support.images import PYTHON_ACTOR
from tests.support.server import free_port, running
from tests.support.serving import settings_for
from tests.support.tls_server import TlsServer

#: begins every script in a container
BEGIN = """
import json, os
from agavepy.actors import get_client, get_context, update_state, send_bytes_result
from agavepy.actors import get_binary_message, send_python_result
context = get_context()
def give(value):
    send_bytes_result(json.dumps(value).encode())
"""


@pytest.fixture(scope="session")
def with_image() -> Callable[[Engine], None]:
    """Give an engine the image, once."""
    have: set[str] = set()

    def give(engine: Engine) -> None:
        if engine.endpoint not in have:
            engine.import_image(IMAGE, agave_tar(), CONFIG)
            have.add(engine.endpoint)

    return give


@pytest.fixture
def site(
    engine: Engine, tmp_path: Path, with_image: Callable[[Engine], None]
) -> Iterator[TlsServer]:
    with_image(engine)
    server = TlsServer(tmp_path, settings_for(engine))
    server.also(
        **{
            "workers.global_mounts": f"{server.pair.ca}:{CERTIFI}:ro",
            # programs look at workers, which shall not have left by then
            "runtime.idle_grace": "600",
        }
    )
    with running(server):
        server.log_in("jane")
        yield server


def register(site: TlsServer, script: str, **fields: Any) -> str:
    """Register an actor that runs a script."""
    fields = {"token": True, "stateless": False, **fields}
    return site.register(IMAGE, defaultEnvironment={"SCRIPT": BEGIN + script}, **fields)


def results(site: TlsServer, actor: str, execution: str) -> list[Any]:
    """Wait for the end of a run that must go well; return what it has given."""
    done = site.until_final(actor, execution)
    assert done["exitCode"] == 0, site.logs(actor, execution)
    return [json.loads(each) for each in site.results(actor, execution)]


def run(site: TlsServer, script: str, message: Any = "hi", **fields: Any) -> list[Any]:
    """Run a script with a message."""
    actor = register(site, script, **fields)
    return results(site, actor, site.send(actor, message))


def test_a_container_acts_through_it(site: TlsServer) -> None:
    script = """
give([context.raw_message, context.content_type, context.message_dict, context.state,
      context.execution_id == os.environ["_abaco_execution_id"], context.username])
client = get_client()
own = client.actors.get(actorId=context.actor_id)
give([own["id"] == context.actor_id, own["owner"]])
give([type(context.message_dict.get("numbers")).__name__])
"""
    context, own, kind = run(site, script, {"numbers": [1, 2], "deep": {"a": None}})
    message = {"numbers": [1, 2], "deep": {"a": None}}
    assert context == [str(message), "str", message, "{}", True, "jane"]
    assert own == [True, "jane"]
    assert kind == ["list"]


def test_every_kind_of_state_is_written(site: TlsServer) -> None:
    script = """
value = eval(context.raw_message)
give(context.state)
update_state(value)
"""
    actor = register(site, script)
    before = "{}"
    # the SDK itself turns a list into text, with commas, before it sends anything
    for value, kept in (
        ({"n": 1, "deep": [None, True]}, {"n": 1, "deep": [None, True]}),
        (["one", "two"], "one,two"),
        (7, 7),
        (1.5, 1.5),
        ("raw text", "raw text"),
    ):
        (seen,) = results(site, actor, site.send(actor, repr(value)))
        assert seen == str(before)
        assert site.call("GET", f"/actors/{actor}/state")["state"] == kept
        before = kept


def test_binary_messages_and_results(site: TlsServer) -> None:
    script = """
data = get_binary_message()
send_bytes_result(data[::-1])
send_python_result({"length": len(data)})
give([context.raw_message, context.content_type])
"""
    actor = register(site, script)
    body = os.urandom(100_000)
    execution = site.upload(actor, body, **site.proof)["executionId"]
    done = site.until_final(actor, execution)
    assert done["exitCode"] == 0, site.logs(actor, execution)
    turned, pickled, rest = site.results(actor, execution)
    assert turned == body[::-1]
    assert b"length" in pickled
    assert json.loads(rest) == [None, "application/octet-stream"]


#: every operation of the client that one can do with an actor of one's own
OPERATIONS = """
actors, name, other = get_client().actors, "agave-alias", None
def ids(found):
    return [each["id"] for each in found]
made = actors.add(body={"image": "abaco_test_echo", "name": "made", "stateless": True})
other = made["id"]
give(["add", made["name"], other in ids(actors.list()), len(actors.list(limit=1))])
give(["update", actors.update(actorId=other, body={"image": "abaco_test_echo",
                                                  "description": "new"})["description"]])
sent = actors.sendMessage(actorId=other, body={"message": "text"}, environment={"WORD": "x"})
execution = sent["executionId"]
give(["messages", sorted(sent)[:1], actors.getMessages(actorId=other)["messages"] >= 0])
import time
while actors.getExecution(actorId=other, executionId=execution)["status"] != "COMPLETE":
    time.sleep(0.1)
log = actors.getExecutionLogs(actorId=other, executionId=execution)["logs"]
give(["log", "Contents of MSG: text" in log, "WORD=x" in log])
give(["executions", execution in ids(actors.listExecutions(actorId=other)["executions"])])
result = actors.getOneExecutionResult(actorId=other, executionId=execution)
give(["result", result.content == b""])
nonce = actors.addNonce(actorId=other, body={"maxUses": 2, "level": "READ"})
give(["nonce", nonce["level"], ids(actors.listNonces(actorId=other)) == [nonce["id"]]])
give(["nonce", actors.getNonce(actorId=other, nonceId=nonce["id"])["remainingUses"]])
actors.deleteNonce(actorId=other, nonceId=nonce["id"])
give(["no nonce", actors.listNonces(actorId=other)])
alias = actors.addAlias(body={"actorId": other, "alias": name})
give(["alias", alias["alias"], actors.getAlias(alias=name)["actorId"] == other,
      [each["alias"] for each in actors.listAliases()]])
actors.deleteAlias(alias=name)
give(["no alias", actors.listAliases()])
actors.updatePermissions(actorId=other, body={"user": "joe", "level": "READ"})
give(["permissions", actors.getPermissions(actorId=other)])
workers = actors.listWorkers(actorId=other)
own = actors.getWorker(actorId=other, workerId=workers[0]["id"])
give(["workers", len(workers), own["status"]])
actors.addWorker(actorId=other, body={"num": 2})
give(["more workers", len(actors.listWorkers(actorId=other))])
try:
    actors.addWorker(actorId=other, body={"num": 99})
except Exception as error:
    give(["no administrator", str(error).split(" ")[0]])
try:
    actors.deleteMessages(actorId=other)
except KeyError as error:  # the SDK has no model of any answer to this
    give(["messages", str(error)])
actors.delete(actorId=other)
give(["delete", other in ids(actors.list())])
"""


def test_the_operations_it_knows(site: TlsServer) -> None:
    found = run(site, OPERATIONS)
    assert found == [
        # a limit makes a search of it; the SDK lists the two parts of the answer
        ["add", "made", True, 2],
        ["update", "new"],
        ["messages", ["_links"], True],
        ["log", True, True],
        ["executions", True],
        ["result", True],
        ["nonce", "READ", True],
        ["nonce", 2],
        ["no nonce", []],
        ["alias", "agave-alias", True, ["agave-alias"]],
        ["no alias", []],
        ["permissions", {"jane": "UPDATE", "joe": "READ"}],
        ["workers", 1, "READY"],
        ["more workers", 2],
        ["no administrator", "400"],
        ["messages", "'ActorMessagesDeleteResponse'"],
        ["delete", False],
    ]


#: a program of a user's on another machine
EXECUTOR = f"""
import json, os, sys
from concurrent.futures import ThreadPoolExecutor
from agavepy.actors import AbacoExecutor
from agavepy.agave import Agave
client = Agave(api_server=os.environ["URL"], token=os.environ["TOKEN"],
               verify=os.environ["CA"])
executor = AbacoExecutor(client, image={PYTHON_ACTOR!r}, num_workers=2)
def work(number, factor=1):
    import math
    return math.factorial(number) * factor
calls = [[number] for number in range(12)]
futures = executor.map(work, calls, [{{"factor": 3}}] * len(calls))
with ThreadPoolExecutor(len(calls)) as pool:
    found = [value for (value,) in pool.map(lambda future: future.result(timeout=60), futures)]
assert found == [work(*call, factor=3) for call in calls], found
assert futures[0].done()
executor.delete()
json.dump(found, sys.stdout)
"""


def test_calls_are_carried_out_in_containers(site: TlsServer) -> None:
    environment = {
        **os.environ,
        "URL": site.url,
        "TOKEN": site.log_in("joe"),
        "CA": str(site.pair.ca),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXECUTOR],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[:4] == [3, 3, 6, 18]


def test_programs_that_ask_the_environment_trust_the_bundle(
    engine: Engine, tmp_path: Path, with_image: Callable[[Engine], None]
) -> None:
    """The SDK does not: unless its own authorities are mounted over, it trusts no private one."""
    with_image(engine)
    script = """
import requests, urllib.request
url = os.environ["_abaco_api_server"] + "/health"
give([requests.get(url).status_code, urllib.request.urlopen(url).status])
try:
    get_client().actors.list()
except requests.exceptions.SSLError as error:
    give("CERTIFICATE_VERIFY_FAILED" in str(error))
del os.environ["REQUESTS_CA_BUNDLE"]
try:
    requests.get(url)
except requests.exceptions.SSLError as error:
    give("CERTIFICATE_VERIFY_FAILED" in str(error))
"""
    server = TlsServer(tmp_path, settings_for(engine))
    try:
        server.start()
        server.log_in("jane")
        assert run(server, script) == [[200, 200], True, True]
    finally:
        if server.is_running:
            server.stop()


def test_containers_in_a_network_of_their_own_find_the_server(
    engine: Engine, tmp_path: Path, with_image: Callable[[Engine], None]
) -> None:
    """Not with the SDK: on all addresses of this machine port 443 is not ours to take."""
    with_image(engine)
    port = free_port()
    server = TlsServer(tmp_path, settings_for(engine), "127.0.0.1", port)
    server.also(
        **{
            "web.address": "0.0.0.0",
            "web.default_api_server": f"https://{server.name}:{port}",
            "engine.network": "bridge",
            "engine.extra_hosts": f"{server.name}:host-gateway",
        }
    )
    script = """
import requests
url = os.environ["_abaco_api_server"] + "/actors/" + context.actor_id
bearer = {"Authorization": "Bearer " + os.environ["_abaco_access_token"]}
give(requests.get(url, headers=bearer).json()["result"]["owner"])
"""
    with running(server):
        server.log_in("jane", at=f"https://{server.name}:{port}")
        assert run(server, script) == ["jane"]
