"""The server killed: what runs used is known all the same, and no control group is left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import EnginePool
from tests.support.loads import groups_below
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

PARENT = f"/abaco-test-kill-{os.getpid()}"
#: 300 ms on the clock the kernel counts with
BURN = """
used() { read -r line </proc/$$/stat; set -- ${line##*) }; echo $((${12} + ${13})); }
while [ $(used) -lt 30 ]; do i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done; done
"""


@pytest.fixture
def server(engine_pool: EnginePool, request: pytest.FixtureRequest) -> Iterator[Server]:
    tmp_path: Path = request.getfixturevalue("tmp_path")
    with engine_pool.lend("docker", request.session) as engine:
        settings = settings_for(engine) | {"engine.cgroup_parent": PARENT}
        with a_server(tmp_path, settings) as server:
            yield server


def groups() -> set[str]:
    """Names of the groups above containers' own."""
    return {place.name for place in groups_below(PARENT) if place.name.startswith("abaco_")}


@pytest.mark.docker
def test_killed_server_leaves_no_group_for_ever(server: Server) -> None:
    actor = server.register("abaco_test_shell", max_workers=3)
    ends = server.send(actor, f"{BURN}sleep 10")
    goes_on = server.send(actor, f"{BURN}sleep 30")
    for execution in (ends, goes_on):
        server.until_status(actor, execution, "RUNNING")
    assert groups() == {f"abaco_{ends}_1", f"abaco_{goes_on}_1"}
    server.kill()
    time.sleep(3)  # the first one ends and nobody looks
    server.start()
    for execution in (ends, goes_on):
        done = server.until_final(actor, execution)
        assert (done["status"], done["exit_code"]) == ("COMPLETE", 0)
        assert 250_000_000 < done["cpu"] < 900_000_000
        assert done["memory_peak"] > 100_000
    server.until(lambda: not groups(), "the groups to be removed")
    summary = server.call("GET", f"/actors/{actor}/executions")
    assert summary["total_cpu"] > 500_000_000
    server.stop()
    assert groups_below(PARENT) == []
    server.start()


@pytest.mark.docker
def test_killed_again_and_again_under_load(server: Server) -> None:
    actor = server.register("abaco_test_shell", max_workers=3)
    executions = []
    for round_ in range(3):
        executions += [server.send(actor, "sleep 0.2") for _ in range(4)]
        time.sleep(0.3 + 0.3 * round_)
        server.kill()
        server.start()
    for execution in executions:
        assert server.until_final(actor, execution)["cpu"] > 0
    server.until(lambda: not groups(), "the groups to be removed")
