"""Names under which calls to store and engine are measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from abaco.errors import ConflictError, EngineUnavailableError, StoreError
from abaco.metrics import image_pull, store_call
from backends.drivers.engine_meter import call_name, engine_call
from backends.drivers.engine_wire import EngineReplyError
from backends.stores.sqlite.database import name_of
from tests.support.records import SteppedClock, an_actor
from tests.support.stores import opened


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1.41/containers/create", "containers create"),
        ("POST", "/v1.41/containers/0f3c/start", "containers start"),
        ("GET", "/v4.0.0/libpod/containers/0f3c/json", "containers json"),
        ("GET", "/v4.0.0/libpod/containers/json", "containers json"),
        ("DELETE", "/v1.41/containers/0f3c", "containers delete"),
        ("GET", "/v1.41/images/docker.io/some/secret:1/json", "images json"),
        ("POST", "/v4.0.0/libpod/images/pull", "images pull"),
        ("GET", "/version", "version get"),
        ("GET", "/v1.41/something/else", "other get"),
        ("GET", "/", "other get"),
    ],
)
def test_calls_have_names_without_ids(method: str, path: str, name: str) -> None:
    assert call_name(method, path) == name


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (EngineUnavailableError("away"), 1),
        (TimeoutError(), 1),
        (EngineReplyError(500, "broken"), 1),
        (EngineReplyError(404, "no such container"), 0),
    ],
)
def test_what_the_engine_is_to_blame_for(error: Exception, counts: int) -> None:
    name = {"call": "containers wait"}
    errors = value("abaco_engine_errors_total", **name)
    calls = value("abaco_engine_call_seconds_count", **name)
    with pytest.raises(type(error)), engine_call("POST", "/v1/containers/x/wait"):
        raise error
    assert value("abaco_engine_errors_total", **name) == errors + counts
    assert value("abaco_engine_call_seconds_count", **name) == calls + 1


def test_how_a_store_fails() -> None:
    labels = {"store": "s", "op": "o"}
    for error, conflicts, faults in (
        (ConflictError("lost"), 1, 0),
        (StoreError("broken"), 1, 1),
        (ValueError("a bug"), 1, 1),
    ):
        with pytest.raises(type(error)), store_call("s", "o"):
            raise error
        assert value("abaco_store_conflicts_total", **labels) == conflicts
        assert value("abaco_store_errors_total", **labels) == faults
    assert value("abaco_store_op_seconds_count", **labels) == 3


def test_how_a_pull_ends() -> None:
    before = {
        outcome: value("abaco_image_pull_seconds_count", outcome=outcome)
        for outcome in ("pulled", "failed")
    }
    with image_pull():
        pass
    with pytest.raises(TimeoutError), image_pull():
        raise TimeoutError
    for outcome, count in before.items():
        assert value("abaco_image_pull_seconds_count", outcome=outcome) == count + 1


async def test_every_call_to_the_database_is_measured(tmp_path: Path) -> None:
    def count(op: str) -> float:
        return value("abaco_store_op_seconds_count", store="sqlite", op=op)

    ops = ("actors.insert", "actors.get_actor")
    before = [count(op) for op in ops]
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        actor = an_actor()
        await stores.actors.insert(actor)
        with pytest.raises(ConflictError):
            await stores.actors.insert(actor)
        await stores.actors.get(actor.key)
    assert [count(op) for op in ops] == [before[0] + 2, before[1] + 1]
    assert value("abaco_store_conflicts_total", store="sqlite", op="actors.insert") >= 1


def test_a_function_has_one_name() -> None:
    assert name_of(name_of) == "database.name_of"
