"""Events of a real server process: to its own inbox, to a link, and over a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.support.receiver import Receiver, a_receiver
from tests.support.server import Server, free_port
from tests.unit.domain.test_webhook import SECRET

Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers with the scripted engine, which prints what a container is given."""
    with ExitStack() as stack:

        def start(**settings: str) -> Server:
            server = Server(
                tmp_path,
                {
                    "engine.driver": "scripted",
                    "runtime.webhook_allow": "127.0.0.1",
                    "runtime.webhook_backoff": "0.2",
                    **{name.replace("__", "."): value for name, value in settings.items()},
                },
            )

            def end() -> None:
                if server.is_running:
                    server.stop()

            stack.callback(end)
            server.start()
            return server

        yield start


def runs(server: Server, actor: str, count: int) -> list[str]:
    """Wait for that many finished executions; return their logs in order."""

    def are_done() -> list[dict[str, Any]] | None:
        found = server.executions(actor)
        done = [each for each in found if each["status"] == "COMPLETE"]
        return found if len(found) >= count and len(done) == len(found) else None

    found = server.until(are_done, f"{count} executions of {actor}", 35)
    return [server.logs(actor, str(each["id"])) for each in found]


def last_line(log: str, name: str) -> str:
    return next(line for line in log.splitlines() if line.startswith(name))


@pytest.mark.parametrize("case", ["snake", "camel"])
def test_a_webhook_may_be_the_inbox_of_another_actor(serve: Serve, case: str) -> None:
    # no other address is allowed: an own inbox needs no permission
    server = serve(web__case=case, web__accept_nonce="true", runtime__webhook_allow="")
    watcher = server.register("watcher")
    nonce = server.call("POST", f"/actors/{watcher}/nonces")["id"]
    hook = f"{server.url}/actors/{watcher}/messages?x-nonce={nonce}"
    source = server.register("source", webhook=hook)
    (log, *_) = runs(server, watcher, 1)
    assert "'event_type': 'ACTOR_READY'" in log
    for key in ("event_time_utc", "event_time_display", "actor_id"):
        assert f"'{key}': '" in log
    assert f"'actor_id': '{source}'" in log
    assert f"'_abaco_webhook': '{hook}'" in log
    assert "\n_abaco_Content_Type=application/json\n" in log
    assert nonce not in server.log()


@pytest.mark.parametrize("case", ["snake", "camel"])
def test_a_linked_actor_is_told_of_readiness_and_of_a_run(serve: Serve, case: str) -> None:
    server = serve(web__case=case)
    target = server.register("target", stateless=False)
    source = server.register("source", link=target)
    body = {"message": "hello"}
    sent = server.call("POST", f"/actors/{source}/messages", body)
    execution = str(sent["executionId" if case == "camel" else "execution_id"])
    first, second = runs(server, target, 2)
    assert "'event_type': 'ACTOR_READY'" in first
    assert "'event_type': 'EXECUTION_COMPLETE'" in second
    assert f"'execution_id': '{execution}'" in second
    assert last_line(second, "_abaco_username") == "_abaco_username=Abaco Event"
    executor = server.executions(target)[0]
    assert server.execution(target, executor["id"])["executor"] == "Abaco Event"


def test_an_event_outlives_a_killed_server_and_a_receiver_that_was_away(serve: Serve) -> None:
    port = free_port()
    server = serve(runtime__webhook_attempts="50", runtime__webhook_backoff="0.3")
    target = server.register("target", stateless=False)
    source = server.register(
        "source",
        link=target,
        webhook=f"http://127.0.0.1:{port}/hook",
        webhook_secret=SECRET,
    )
    server.ready(source)
    execution = server.send(source, "hello")
    server.until_final(source, execution)
    assert len(runs(server, target, 1)) == 1
    server.kill()
    with a_receiver(port=port) as receiver:
        server.start()
        first, second = receiver.wait(2)
        assert len(runs(server, target, 2)) == 2
        time.sleep(1)
        check_two(receiver, source, execution)
        assert Webhook(SECRET).verify(second.body, second.headers) == second.event
    assert first.event["_abaco_link"] == f"DEV_{target}"
    text = server.raw("GET", "/metrics").data.decode()
    told = 'abaco_events_total{leg="webhook",outcome="delivered",type="EXECUTION_COMPLETE"} 1.0'
    assert told in text or told.replace("EXECUTION_COMPLETE", "ACTOR_READY") in text
    code, seconds = server.stop()
    assert (code, seconds < 15) == (0, True)
    assert SECRET not in server.log()
    database = server.directory / "data" / "abaco.db"
    assert SECRET.removeprefix("whsec_").encode() not in database.read_bytes()


def check_two(receiver: Receiver, source: str, execution: str) -> None:
    assert receiver.types() == ["ACTOR_READY", "EXECUTION_COMPLETE"]
    assert [each.headers["webhook-id"] for each in receiver.received] == [
        f"evt_{source}_1", f"evt_{source}_2",
    ]  # fmt: skip
    assert receiver.received[1].event["execution_id"] == execution


def test_a_server_stops_in_time_though_a_receiver_hangs(serve: Serve) -> None:
    server = serve()
    with a_receiver(pause_s=20) as receiver:
        server.register("source", webhook=receiver.url)
        receiver.wait(1)
        code, seconds = server.stop()
    assert (code, seconds < 15) == (0, True), server.log()
