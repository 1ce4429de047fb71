"""/actors/{id}/executions, one of them, its logs and results."""

import re

import pytest

from abaco.domain.execution import HaltReason
from abaco.ports.notices import Topic

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def actor_id(site):
    return site.register()


def play(site, actor_id, output=b"", **end):
    """Send a message and run it to its end; returns the execution's path."""
    execution_id = site.send(actor_id)
    site.run(site.player.run(site.key(actor_id), output, **end))
    return f"/actors/{actor_id}/executions/{execution_id}"


class TestList:
    def test_a_new_actor_has_none(self, site, actor_id):
        result = site.get(f"/actors/{actor_id}/executions").result
        assert result["executions"] == []
        assert result[site.name("actor_id")] == actor_id
        assert actor_id in result["_links"]["self"]
        for total in ("executions", "cpu", "io", "runtime"):
            assert result[site.name(f"total_{total}")] == 0

    def test_oldest_first_with_totals(self, site, actor_id):
        paths = [play(site, actor_id) for _ in range(2)] + [site.send(actor_id)]
        result = site.get(f"/actors/{actor_id}/executions").result
        shown = [item["id"] for item in result["executions"]]
        assert shown == [path.rpartition("/")[2] for path in paths]
        done, _, waiting = result["executions"]
        keys = {"id", "status", "start_time", "finish_time", "message_received_time"}
        assert set(done) == set(waiting) == {site.name(key) for key in keys}
        assert (done["status"], waiting["status"]) == ("COMPLETE", "SUBMITTED")
        assert TIME.fullmatch(done[site.name("finish_time")])
        assert waiting[site.name("start_time")] is None
        assert result[site.name("total_executions")] == 3
        assert result[site.name("total_cpu")] == 10_000_000
        assert result[site.name("total_io")] == 2_048
        assert result[site.name("total_runtime")] in (4, 5)

    def test_longer_than_a_page(self, snake, monkeypatch):
        monkeypatch.setattr("abaco.operations.executions._PAGE", 2)
        actor_id = snake.register()
        ids = [snake.send(actor_id) for _ in range(5)]
        executions = snake.get(f"/actors/{actor_id}/executions").result["executions"]
        assert [item["id"] for item in executions] == ids

    @pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
    def test_read_only(self, site, actor_id, method):
        assert site.request(method, f"/actors/{actor_id}/executions").status == 405


class TestDetails:
    def test_before_and_after(self, site, actor_id):
        execution_id = site.send(actor_id)
        path = f"/actors/{actor_id}/executions/{execution_id}"
        waiting = site.get(path).result
        assert waiting["status"] == "SUBMITTED"
        assert (waiting["cpu"], waiting["io"], waiting["runtime"]) == (0, 0, 0)
        assert (waiting[site.name("runtime_ms")], waiting[site.name("memory_peak")]) == (0, 0)
        assert set(waiting[site.name("io_detail")].values()) == {0}
        assert waiting.get(site.name("worker_id")) is None
        worker_id = site.run(site.player.run(site.key(actor_id))).execution.worker_id
        done = site.get(path).result
        assert done["id"] == execution_id
        assert done[site.name("actor_id")] == actor_id
        assert done[site.name("worker_id")] == worker_id
        assert (done["status"], done["executor"]) == ("COMPLETE", "testuser")
        assert (done["cpu"], done["io"], done["runtime"]) == (5_000_000, 1_024, 2)
        assert done[site.name("runtime_ms")] == 2_500
        assert done[site.name("memory_peak")] == 7_000_000
        assert done[site.name("io_detail")] == {
            "net_rx": 1_024,
            "net_tx": 512,
            "blk_read": 0,
            "blk_write": 4_096,
        }
        assert done[site.name("exit_code")] == 0
        assert done[site.name("final_state")]["OOMKilled"] is False
        for time in ("message_received_time", "start_time", "finish_time"):
            assert TIME.fullmatch(done[site.name(time)])
        assert "tenant" not in done
        api = "https://api.example.org"
        assert done["_links"] == {
            "self": f"{api}/actors/v2/{actor_id}/executions/{execution_id}",
            "owner": f"{api}/profiles/v2/testuser",
            "logs": f"{api}/actors/v2/{actor_id}/executions/{execution_id}/logs",
        }

    def test_a_non_zero_exit_is_complete(self, site, actor_id):
        done = site.get(play(site, actor_id, exit_code=3)).result
        assert (done["status"], done[site.name("exit_code")]) == ("COMPLETE", 3)

    def test_an_execution_in_error(self, site, actor_id):
        execution_id = site.send(actor_id)
        claim = site.run(site.player.claim(site.key(actor_id)))
        site.run(site.player.end(claim, error="image vanished"))
        done = site.get(f"/actors/{actor_id}/executions/{execution_id}").result
        assert (done["status"], done[site.name("exit_code")]) == ("ERROR", "undetermined")
        expected = {"unavailable": True, "Error": "image vanished"}
        assert done[site.name("final_state")] == expected

    def test_the_executor_is_who_sent(self, site):
        actor_id = site.register(user="jane")
        execution_id = site.send(actor_id)
        path = f"/actors/{actor_id}/executions/{execution_id}"
        assert site.get(path, user="jane").result["executor"] == "testuser"

    @pytest.mark.parametrize("suffix", ["", "/logs"])
    def test_unknown(self, site, actor_id, suffix):
        for execution_id in ("nope_nope", site.services.ids.new_id(), "x" * 5000, "%00", "%ff"):
            reply = site.get(f"/actors/{actor_id}/executions/{execution_id}{suffix}")
            assert reply.status == (400 if execution_id == "%ff" else 404)

    def test_of_another_actor_is_unknown(self, site, actor_id):
        execution_id = site.send(site.register())
        assert site.get(f"/actors/{actor_id}/executions/{execution_id}").status == 404

    @pytest.mark.parametrize("suffix", ["", "/logs", "/results"])
    def test_methods(self, site, actor_id, suffix):
        path = f"/actors/{actor_id}/executions/{site.send(actor_id)}{suffix}"
        assert site.post(path, form={"a": 1}).status == 405

    @pytest.mark.parametrize("suffix", ["", "/logs", "/results"])
    def test_others_may_not(self, site, suffix):
        actor_id = site.register(user="jane")
        path = f"/actors/{actor_id}/executions/{site.send(actor_id)}{suffix}"
        assert "do not have access" in site.get(path, user="testotheruser").error


class TestHalt:
    def test_a_running_one(self, site, actor_id):
        execution_id = site.send(actor_id)
        claim = site.run(site.player.start(site.key(actor_id)))
        with site.services.notices.subscribe(Topic.HALT, key=claim.execution.key) as halt:
            reply = site.delete(f"/actors/{actor_id}/executions/{execution_id}")
            assert list(halt.take()) == [claim.execution.key]
        assert reply.result is None
        assert "Issued force quit command for execution" in reply.envelope["message"]
        stored = site.run(site.services.stores.executions.get(claim.execution.key))
        assert stored.halt_requested is HaltReason.FORCE_QUIT

    @pytest.mark.parametrize("is_done", [False, True])
    def test_no_other(self, site, actor_id, is_done):
        path = f"/actors/{actor_id}/executions/{site.send(actor_id)}"
        if is_done:
            site.run(site.player.run(site.key(actor_id)))
        reply = site.delete(path)
        assert reply.status == 400
        assert ("COMPLETE" if is_done else "SUBMITTED") in reply.error


class TestLogs:
    def test_while_running_and_after(self, site, actor_id):
        execution_id = site.send(actor_id)
        path = f"/actors/{actor_id}/executions/{execution_id}/logs"
        assert site.get(path).result["logs"] == ""
        claim = site.run(site.player.start(site.key(actor_id), b"Contents of MSG: "))
        assert site.get(path).result["logs"] == "Contents of MSG: "
        site.run(site.player.write(claim, b"testing execution\n"))
        site.run(site.player.end(claim))
        result = site.get(path).result
        assert result["logs"] == "Contents of MSG: testing execution\n"
        assert set(result["_links"]) == {"self", "owner", "execution"}

    def test_a_character_cut_in_two_waits_for_its_rest(self, site, actor_id):
        path = f"/actors/{actor_id}/executions/{site.send(actor_id)}/logs"
        claim = site.run(site.player.start(site.key(actor_id), "5 €".encode()[:-1]))
        assert site.get(path).result["logs"] == "5 "
        site.run(site.player.write(claim, "€".encode()[-1:]))
        site.run(site.player.end(claim))
        assert site.get(path).result["logs"] == "5 €"

    def test_bytes_that_are_no_text(self, site, actor_id):
        path = play(site, actor_id, b"a\xff\0b\xe2")
        assert site.get(f"{path}/logs").result["logs"] == "a\ufffd\0b\ufffd"

    def test_above_the_limit(self, site, actor_id):
        path = f"/actors/{actor_id}/executions/{site.send(actor_id)}/logs"
        claim = site.run(site.player.start(site.key(actor_id)))
        site.run(site.player.write(claim, b"x" * 50, max_bytes=10))
        site.run(site.player.end(claim))
        logs = site.get(path).result["logs"]
        assert logs == "x" * 10 + " LOG LIMIT EXCEEDED; this execution log was TRUNCATED!"


class TestResults:
    def test_each_once_in_order(self, site, actor_id):
        path = f"/actors/{actor_id}/executions/{site.send(actor_id)}/results"
        claim = site.run(site.player.start(site.key(actor_id)))
        results = [b"\x00\xff", b"second", b"{}"]
        site.run(site.player.hand_back(claim, results))
        replies = [site.get(path) for _ in range(4)]
        assert [reply.body for reply in replies] == [*results, b""]
        assert {reply.headers["Content-Type"] for reply in replies} == {"application/octet-stream"}
        assert {reply.status for reply in replies} == {200}

    def test_head_takes_none(self, site, actor_id):
        path = f"/actors/{actor_id}/executions/{site.send(actor_id)}/results"
        claim = site.run(site.player.start(site.key(actor_id)))
        site.run(site.player.hand_back(claim, [b"only"]))
        assert site.request("HEAD", path).status == 200
        assert site.get(path).body == b"only"

    def test_a_conditional_request_does_not_swallow_one(self, site, actor_id):
        path = f"/actors/{actor_id}/executions/{site.send(actor_id)}/results"
        claim = site.run(site.player.start(site.key(actor_id)))
        site.run(site.player.hand_back(claim, [b"only"]))
        assert site.get(path, headers={"If-None-Match": "*"}).body == b"only"

    def test_unknown_executions_have_none(self, site, actor_id):
        reply = site.get(f"/actors/{actor_id}/executions/nope/results")
        assert (reply.status, reply.body) == (200, b"")
