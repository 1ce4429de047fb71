"""What a user is told that a run used, over every real engine."""

from __future__ import annotations

from tests.support.server import Server

SHELL = "abaco_test_shell"


def test_shortest_run_and_its_sums(server: Server) -> None:
    actor = server.register(SHELL)
    done = [server.until_final(actor, server.send(actor, "true")) for _ in range(3)]
    for execution in done:
        assert execution["cpu"] > 0
        assert execution["memory_peak"] > 100_000
        assert execution["runtime"] == execution["runtime_ms"] // 1000
        assert 0 <= execution["runtime_ms"] < 5_000
        # these containers share this host's network, whose bytes are not theirs
        assert execution["io"] == execution["io_detail"]["net_rx"] == 0
    summary = server.call("GET", f"/actors/{actor}/executions")
    assert summary["total_cpu"] == sum(execution["cpu"] for execution in done)
    assert summary["total_io"] == 0
    found = server.call("GET", f"/actors/{actor}/executions?memory_peak.gt=100000&cpu.gt=0")
    assert len(found["search"]) == 3
    metrics = server.raw("GET", "/metrics").data.decode()
    (line,) = [
        line
        for line in metrics.splitlines()
        if line.startswith("abaco_execution_cpu_seconds_total")
    ]
    assert abs(float(line.split()[1]) - summary["total_cpu"] / 1e9) < 0.001


def test_state_of_the_container_has_every_name(server: Server) -> None:
    actor = server.register(SHELL)
    done = server.until_final(actor, server.send(actor, "exit 3"))
    assert list(done["final_state"])[:11] == [
        "Status", "Running", "Paused", "Restarting", "OOMKilled", "Dead", "Pid", "ExitCode",
        "Error", "StartedAt", "FinishedAt",
    ]  # fmt: skip
    state = done["final_state"]
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 3, False)
    for name in ("StartedAt", "FinishedAt"):
        assert state[name].endswith("Z")
        assert len(state[name]) == len("2026-01-01T00:00:00.000Z")
