"""Python functions over every real engine, through ``abaco.executor``."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from abaco.calls import RemoteError, RemoteTraceback
from abaco.executor import AbacoExecutor
from abaco.remote_actor import ActorFailedError, NoResultError, RunKilledError, RunLostError
from tests.support.engines import Engine
from tests.support.samples import load_sample
from tests.support.server import Server, a_server
from tests.support.serving import settings_for


@pytest.fixture
def server(engine: Engine, tmp_path: Path) -> Iterator[Server]:
    load_sample(engine, "executor")
    with a_server(tmp_path, settings_for(engine)) as server:
        yield server


@pytest.fixture(autouse=True)
def by_value() -> Iterator[None]:
    """Have the functions below travel whole: the image has no tests."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def work(number: int, *, factor: int = 1) -> dict[str, Any]:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return {"number": number * factor, "digest": digest, "square": lambda: number**2}


def plain(number: int) -> tuple[int, str]:
    return number**2, hashlib.sha256(str(number).encode()).hexdigest()


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


class PickyError(Exception):
    """An exception that cannot be read back from its pickle."""

    def __init__(self, one: int, *, two: int) -> None:
        super().__init__(f"{one} and {two}")


def close_output() -> str:
    print("the last words")  # noqa: T201 - into the log
    sys.stdout.close()
    return "a value all the same"


def fail(kind: str) -> None:
    print("about to fail")  # noqa: T201 - into the log
    if kind == "key":
        raise KeyError("missing")
    if kind == "picky":
        raise PickyError(1, two=2)
    if kind == "value":
        return (number for number in range(3))  # type: ignore[return-value] - no pickle of it
    if kind == "exit":
        sys.exit(3)
    os._exit(7)


def test_map_of_a_hundred_calls_is_what_it_is_here(server: Server) -> None:
    with AbacoExecutor(url=server.url, workers=4) as executor:
        assert list(executor.map(plain, range(100))) == [plain(number) for number in range(100)]
        (actor,) = server.call("GET", "/actors")
        assert (actor["name"], actor["image"]) == ("abaco_executor", "abaco/executor")
        asked = server.executions(actor["id"])
        assert [each["status"] for each in asked] == ["COMPLETE"] * 100
    assert server.call("GET", "/actors") == []


def test_what_a_call_may_come_to(server: Server) -> None:
    with AbacoExecutor(url=server.url) as executor:
        value = executor.submit(work, 7, factor=3)
        large = executor.submit(functools.partial(bytes, 3_000_000))
        sent = executor.submit(len, b"x" * 2_000_000)
        silent = executor.submit(close_output)
        failing = {kind: executor.submit(fail, kind) for kind in ("key", "picky", "value", "exit")}
        dead = executor.submit(fail, "dead")
        assert value.result()["number"] == 21
        assert value.result()["square"]() == 49
        assert large.result() == bytes(3_000_000)
        assert sent.result() == 2_000_000
        assert silent.result() == "a value all the same"
        with pytest.raises(KeyError, match="missing") as caught:
            failing["key"].result()
        cause = caught.value.__cause__
        assert isinstance(cause, RemoteTraceback)
        assert "in fail" in str(cause)
        with pytest.raises(RemoteError, match="1 and 2"):
            failing["picky"].result()
        with pytest.raises(TypeError, match="pickle"):
            failing["value"].result()
        with pytest.raises(SystemExit):
            failing["exit"].result()
        with pytest.raises(NoResultError, match=r"(?s)exit code 7.*about to fail"):
            dead.result()


def test_runs_that_are_stopped(server: Server) -> None:
    actor = server.register("abaco/executor", max_workers=2)
    with AbacoExecutor(actor, url=server.url, ahead=2) as executor:
        halted, deleted = executor.submit(nap, 600), executor.submit(nap, 601)
        queued = executor.submit(nap, 0)
        first, second = _two_running(server, actor)
        assert not halted.cancel()
        assert queued.cancel()
        server.call("DELETE", f"/actors/{actor}/executions/{first}")
        with pytest.raises(RunKilledError, match="force_quit"):
            halted.result(30)
        server.call("DELETE", f"/actors/{actor}")
        with pytest.raises((RunKilledError, RunLostError), match=second):
            deleted.result(30)


def _two_running(server: Server, actor: str) -> list[str]:
    def found() -> list[str]:
        running = [e["id"] for e in server.executions(actor) if e["status"] == "RUNNING"]
        return running if len(running) == 2 else []

    return list(server.until(found, "two runs"))


def test_an_actor_without_an_image(server: Server) -> None:
    with AbacoExecutor(url=server.url, image="localhost:1/no/such-image:7") as executor:
        future = executor.submit(plain, 1)
        with pytest.raises(ActorFailedError, match=r"no/such-image(.|\n)*image="):
            future.result(60)
    assert server.call("GET", "/actors") == []


def test_an_image_that_is_no_runners(server: Server) -> None:
    with AbacoExecutor(url=server.url, image="abaco_test_echo") as executor:
        future = executor.submit(plain, 1)
        with pytest.raises(NoResultError, match=r"(?s)exit code 0.*\n_abaco_worker_id="):
            future.result(60)


def test_short_calls_do_not_wait_for_long_ones(server: Server) -> None:
    with AbacoExecutor(url=server.url, workers=3, connections=1) as executor:
        long = executor.submit(nap, 45)
        short = [executor.submit(plain, number) for number in range(3)]
        for future in as_completed(short):
            future.result()
        assert not long.done()
        (actor,) = server.call("GET", "/actors")
        running = [e for e in server.executions(actor["id"]) if e["status"] == "RUNNING"]
        server.call("DELETE", f"/actors/{actor['id']}/executions/{running[0]['id']}")
        with pytest.raises(RunKilledError, match="force_quit"):
            long.result(30)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_of_the_server_loses_nothing(server: Server, end: str) -> None:
    with AbacoExecutor(url=server.url, workers=2) as executor:
        before = [executor.submit(plain, number) for number in range(4)]
        before[0].result()
        getattr(server, end)()
        meanwhile = [executor.submit(plain, number) for number in range(4, 8)]
        server.start()
        found = [future.result(60) for future in [*before, *meanwhile]]
        assert found == [plain(number) for number in range(8)]
        (actor,) = server.call("GET", "/actors")
        # those of before whose container ran on, and had no socket any more, have run again
        assert 8 <= len(server.executions(actor["id"])) <= 8 + 3
    assert server.call("GET", "/actors") == []


def test_large_values_are_files_where_those_are_taken(engine: Engine, tmp_path: Path) -> None:
    load_sample(engine, "executor")
    settings = {**settings_for(engine), "runtime.large_results": "true"}
    with a_server(tmp_path, settings) as server, AbacoExecutor(url=server.url) as executor:
        large = executor.submit(functools.partial(bytes, 20_000_000))
        assert executor.submit(os.listdir, "/_abaco_results.d").result() == []
        assert large.result() == bytes(20_000_000)


def test_the_older_clients_contract(server: Server) -> None:
    """A pickled call as a binary message, the pickled value as one result, exit code 1 else."""
    actor = server.register("abaco/executor")
    call = {"func": plain, "args": [5], "kwargs": {}, "cwd": "/"}
    answer = server.upload(actor, cloudpickle.dumps(call))
    assert answer["executionId"] == answer["execution_id"]
    done = server.until_final(actor, answer["executionId"])
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 0)
    (result,) = server.results(actor, done["id"])
    assert cloudpickle.loads(result) == plain(5)
    bad = {"func": fail, "args": ["key"], "kwargs": {}}
    done = server.until_final(actor, server.upload(actor, cloudpickle.dumps(bad))["executionId"])
    assert (done["status"], done["exit_code"]) == ("COMPLETE", 1)
    assert list(server.results(actor, done["id"])) == []
    assert "KeyError: 'missing'" in server.logs(actor, done["id"])
