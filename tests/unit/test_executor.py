"""``abaco.executor`` and the actor behind it, against a server with answers laid out."""

import io
import itertools
import json
import pickle
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, CancelledError, wait

import cloudpickle
import pytest

from abaco import calls, executor, remote_actor
from abaco.cli.client import AbacoClient
from abaco.executor import AbacoExecutor
from abaco.remote_actor import (
    ActorFailedError,
    NoResultError,
    OutcomeLostError,
    RemoteActor,
    RunFailedError,
    RunKilledError,
    RunLostError,
    ServerError,
)
from tests.support.stub_api import serve_stub

QUERY = f"_abaco_executor_errors=1&ABACO_EXECUTOR_PYTHON={calls.PYTHON}"
BATCH = f"/actors/a1/messages/batch?{QUERY}"
UPLOAD = f"/actors/a1/messages?{QUERY}"
EXECUTION = "/actors/a1/executions/{}"
ACTOR = {"id": "a1", "status": "READY", "status_message": " "}


@pytest.fixture
def stub():
    with serve_stub() as api:
        api.answer("POST", "/actors", ACTOR)
        api.answer("GET", "/actors/a1", ACTOR)
        api.answer("DELETE", "/actors/a1", None)
        yield api


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(remote_actor, "LEAST_WAIT_S", 0.05)
    monkeypatch.setattr(remote_actor, "LONGEST_PAUSE_S", 0.05)


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    assert [t.name for t in threading.enumerate() if t.name.startswith("abaco-executor")] == []


@pytest.fixture
def remote(stub):
    actor = RemoteActor(AbacoClient(stub.url), actor=None, image="abaco/executor", workers=None)
    actor.open()
    return actor


def pieces(value, piece_bytes=1000):
    return calls.cut(cloudpickle.dumps(("value", value)), piece_bytes)


def final(stub, name, results=(), **changes):
    """Lay out an execution that has ended, and its results."""
    for wait_s in ("2", "4", "8", "10"):
        ended = {"id": name, "status": "COMPLETE", "exit_code": 0, "final_state": {}, **changes}
        stub.answer("GET", f"{EXECUTION.format(name)}?wait={wait_s}", ended)
    for result in (*results, b""):
        stub.answer_raw("GET", f"{EXECUTION.format(name)}/results", result)


def sent_calls(stub):
    """Return the calls that were sent as texts, request by request."""
    return [
        [pickle.loads(calls.call_of_text(each["message"])) for each in asked.json["messages"]]
        for asked in stub.sent("POST")
        if asked.uri == BATCH
    ]


class TestACall:
    def test_from_here_to_there_and_back(self, stub):
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        final(stub, "e1", pieces({"n": 3}))
        with AbacoExecutor(url=stub.url, headers={"Authorization": "Bearer x"}) as pool:
            assert pool.submit(divmod, 7, 2).result(5) == {"n": 3}
        assert sent_calls(stub) == [[{"func": divmod, "args": (7, 2), "kwargs": {}}]]
        registered = stub.asked[0].json
        assert registered == {
            "image": "abaco/executor",
            "name": "abaco_executor",
            "stateless": True,
        }
        assert {asked.headers["Authorization"] for asked in stub.asked} == {"Bearer x"}
        assert stub.asked[-1].method == "DELETE"

    def test_in_many_pieces(self, stub):
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        final(stub, "e1", pieces(bytes(5000), 1000))
        with AbacoExecutor(url=stub.url) as pool:
            assert pool.submit(bytes).result(5) == bytes(5000)

    def test_a_large_one_goes_as_a_binary_message(self, stub):
        stub.answer("POST", UPLOAD, {"execution_id": "e1", "executionId": "e1"})
        final(stub, "e1", pieces(1))
        with AbacoExecutor(url=stub.url) as pool:
            assert pool.submit(len, b"x" * 200_000).result(5) == 1
        (asked,) = [asked for asked in stub.sent("POST") if asked.uri == UPLOAD]
        assert pickle.load(io.BytesIO(asked.body))["args"] == (b"x" * 200_000,)
        assert asked.headers["Content-Type"] == "application/octet-stream"

    def test_an_exception_there_is_raised_here(self, stub):
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        outcome = calls.run_for_outcome(cloudpickle, calls.pack_call(cloudpickle, int, "x", {}), {})
        final(stub, "e1", calls.cut(outcome.pickled, 1000))
        with AbacoExecutor(url=stub.url) as pool:
            future = pool.submit(int, "x")
            with pytest.raises(ValueError, match="invalid literal") as caught:
                future.result(5)
        assert "run_call" in str(caught.value.__cause__)

    @pytest.mark.parametrize("answer", [{}, {"execution_ids": []}, None])
    def test_an_answer_that_makes_no_sense_ends_it(self, stub, answer):
        stub.answer("POST", BATCH, answer)
        with AbacoExecutor(url=stub.url) as pool:
            future = pool.submit(abs, 1)
            assert future.exception(5) is not None

    def test_what_cannot_be_pickled_is_refused_at_once(self, stub):
        pool = AbacoExecutor(url=stub.url)
        with pytest.raises(TypeError, match="pickle"):
            pool.submit(print, threading.Lock())
        pool.shutdown()
        assert stub.asked == []

    def test_an_existing_actor_is_used_and_left(self, stub):
        stub.answer("GET", "/actors/runner", ACTOR)
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        final(stub, "e1", pieces(1))
        with AbacoExecutor("runner", url=stub.url) as pool:
            assert pool.submit(bytes).result(5) == 1
        assert stub.sent("DELETE") == []

    def test_workers_are_asked_for(self, stub):
        stub.answer("POST", "/actors/a1/workers", None)
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        final(stub, "e1", pieces(1))
        with AbacoExecutor(url=stub.url, workers=5) as pool:
            pool.submit(bytes).result(5)
        assert stub.sent("POST")[1].json == {"num": 5}


class TestManyCalls:
    def test_a_map_is_in_order_and_sent_in_batches(self, stub):
        names = [f"e{number}" for number in range(40)]
        for number, name in enumerate(names):
            final(stub, name, pieces(number))
        given = itertools.count()

        def answer(request):
            if request.uri == BATCH:
                count = len(json.loads(request.body)["messages"])
                ids = [names[next(given)] for _ in range(count)]
                stub.forget("POST", BATCH)
                stub.answer("POST", BATCH, {"execution_ids": ids})
            return take(request)

        take, stub.take = stub.take, answer
        with AbacoExecutor(url=stub.url, ahead=10, connections=3) as pool:
            assert list(pool.map(abs, range(40))) == list(range(40))
        sizes = [len(batch) for batch in sent_calls(stub)]
        assert sum(sizes) == 40
        assert max(sizes) <= 10
        assert [call["args"] for batch in sent_calls(stub) for call in batch] == [
            (number,) for number in range(40)
        ]

    def test_portions_fit_into_a_request(self):
        small, big = b"x" * 80_000, b"x" * 100_000
        batch = [
            executor._Call(n, None, p) for n, p in enumerate([small] * 6 + [big] * 2 + [small])
        ]
        sizes = [[len(call.payload) for call in portion] for portion in executor._portions(batch)]
        assert sizes == [[80_000] * 4, [80_000] * 2, [100_000], [100_000], [80_000]]


class TestTheEnd:
    def running(self, stub, name):
        for wait_s in ("2", "4", "8", "10"):
            uri = f"{EXECUTION.format(name)}?wait={wait_s}"
            stub.answer("GET", uri, {"id": name, "status": "RUNNING"})

    def test_what_waits_here_can_be_cancelled(self, stub):
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        self.running(stub, "e1")
        with AbacoExecutor(url=stub.url, ahead=1) as pool:
            first, second = pool.submit(abs, 1), pool.submit(abs, 2)
            while not first.running():
                time.sleep(0.01)
            assert not first.cancel()
            assert second.cancel()
            final(stub, "e1", pieces(1))
            assert first.result(5) == 1
            assert wait([second], 5).done == {second}
        assert [len(batch) for batch in sent_calls(stub)] == [1]

    def test_a_shutdown_can_cancel_what_waits(self, stub):
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        self.running(stub, "e1")
        pool = AbacoExecutor(url=stub.url, ahead=1)
        futures = [pool.submit(abs, number) for number in range(5)]
        while not futures[0].running():
            time.sleep(0.01)
        pool.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in futures[1:])
        assert stub.sent("DELETE") == []
        final(stub, "e1", pieces(7))
        pool.shutdown()
        assert futures[0].result(0) == 7
        assert [asked.uri for asked in stub.sent("DELETE")] == ["/actors/a1"]
        with pytest.raises(CancelledError):
            futures[1].result(0)

    def test_nothing_is_taken_afterwards(self, stub):
        pool = AbacoExecutor(url=stub.url)
        pool.shutdown()
        pool.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(abs, 1)
        assert stub.asked == []

    def test_an_actor_that_cannot_be_deleted_is_named(self, stub, caplog):
        stub.forget("DELETE", "/actors/a1")
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        final(stub, "e1", pieces(1))
        with AbacoExecutor(url=stub.url) as pool:
            assert pool.submit(bytes).result(5) == 1
        assert "the actor a1 stays" in caplog.text


class TestWithoutAnActor:
    def test_every_call_is_told(self, stub):
        stub.forget("POST", "/actors")
        stub.answer("POST", "/actors", "the image is not allowed", status=400)
        with AbacoExecutor(url=stub.url) as pool:
            future = pool.submit(abs, 1)
            with pytest.raises(ServerError, match="the image is not allowed"):
                future.result(5)
            with pytest.raises(BrokenExecutor, match="not allowed"):
                pool.submit(abs, 1)

    def test_one_that_lacks_workers_is_deleted(self, stub):
        stub.answer("POST", "/actors/a1/workers", "may have 20 workers", status=400)
        with AbacoExecutor(url=stub.url, workers=21) as pool:
            future = pool.submit(abs, 1)
            with pytest.raises(ServerError, match="may have 20 workers"):
                future.result(5)
        assert [asked.uri for asked in stub.sent("DELETE")] == ["/actors/a1"]

    @pytest.mark.parametrize("options", [{"ahead": 0}, {"connections": 0}])
    def test_numbers_must_make_sense(self, stub, options):
        with pytest.raises(ValueError, match="at least 1"):
            AbacoExecutor(url=stub.url, **options)

    def test_without_cloudpickle_it_says_so(self, stub, monkeypatch):
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
        with pytest.raises(ImportError, match=r"abaco\[executor\]"):
            AbacoExecutor(url=stub.url)


class TestTheServerSaysNo:
    def test_one_that_is_away_is_asked_again_with_the_same_key(self, stub, remote):
        for status in (503, 502):
            stub.answer("POST", BATCH, "try again", status=status)
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        assert remote.send_texts([b"x"]) == ["e1"]
        keys = [asked.headers["Idempotency-Key"] for asked in stub.sent("POST")[1:]]
        assert len(keys) == 3
        assert len(set(keys)) == 1

    def test_two_sendings_have_two_keys(self, stub, remote):
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        stub.answer("POST", UPLOAD, {"execution_id": "e2"})
        assert (remote.send_texts([b"x"]), remote.send_binary(b"x")) == (["e1"], "e2")
        first, second = (asked.headers["Idempotency-Key"] for asked in stub.sent("POST")[1:])
        assert first != second

    def test_an_actor_is_not_registered_twice(self, stub):
        stub.forget("POST", "/actors")
        stub.answer("POST", "/actors", "away", status=503)
        actor = RemoteActor(AbacoClient(stub.url), actor=None, image="x", workers=None)
        with pytest.raises(ServerError, match="away"):
            actor.open()
        assert len(stub.asked) == 1

    def test_one_that_stays_away_is_given_up(self, stub, remote, monkeypatch):
        monkeypatch.setattr(remote_actor, "PATIENCE_S", 0.2)
        stub.answer("POST", BATCH, "no", status=503)
        with pytest.raises(ServerError, match="no"):
            remote.send_texts([b"x"])

    def test_a_limit_is_waited_for_as_long_as_it_takes(self, stub, remote, monkeypatch):
        monkeypatch.setattr(remote_actor, "PATIENCE_S", 0.0)
        for _ in range(2):
            stub.answer("POST", BATCH, "too many", status=429, Retry_After="1")
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        began = time.monotonic()
        assert remote.send_texts([b"x"]) == ["e1"]
        assert time.monotonic() - began >= 2

    def test_but_not_for_an_actor_in_error(self, stub, remote):
        stub.forget("GET", "/actors/a1")
        stub.answer("GET", "/actors/a1", {**ACTOR, "status": "ERROR"})
        stub.answer("POST", BATCH, "too many", status=429)
        with pytest.raises(ActorFailedError, match="no more messages"):
            remote.send_texts([b"x"])

    def test_a_refusal_is_final(self, stub, remote):
        stub.answer("POST", BATCH, "you do not have access", status=400)
        with pytest.raises(ServerError, match="do not have access"):
            remote.send_texts([b"x"])
        assert len(stub.sent("POST")) == 2


class TestWaiting:
    uri = EXECUTION.format("e1") + "?wait=0.2"

    def test_until_it_is_final(self, stub, remote):
        stub.answer("GET", self.uri, {"id": "e1", "status": "RUNNING"})
        stub.answer("GET", self.uri, {"id": "e1", "status": "ERROR"})
        assert remote.await_final("e1", 0.2) is None
        assert remote.await_final("e1", 0.2) == {"id": "e1", "status": "ERROR"}

    def test_a_server_that_holds_no_request_is_not_asked_all_the_time(self, stub, remote):
        stub.answer("GET", self.uri, {"id": "e1", "status": "RUNNING"})
        began = time.monotonic()
        for _ in range(4):
            remote.await_final("e1", 0.2)
        assert time.monotonic() - began >= 4 * remote_actor.LEAST_WAIT_S

    def test_one_that_is_gone(self, stub, remote):
        stub.answer("GET", self.uri, "no such execution", status=404)
        with pytest.raises(RunLostError, match="e1 is gone: no such execution"):
            remote.await_final("e1", 0.2)

    def test_one_that_waits_and_whose_actor_is_gone(self, stub, remote):
        stub.forget("GET", "/actors/a1")
        stub.answer("GET", self.uri, {"id": "e1", "status": "SUBMITTED"})
        stub.answer("GET", "/actors/a1", "there is no actor 'a1'", status=404)
        with pytest.raises(RunLostError, match="e1 is gone: there is no actor 'a1'"):
            remote.await_final("e1", 0.2)

    def test_one_that_is_refused(self, stub, remote):
        stub.answer("GET", self.uri, "no access", status=400)
        with pytest.raises(ServerError, match="no access"):
            remote.await_final("e1", 0.2)

    def test_one_whose_actor_is_in_error(self, stub, remote):
        stub.forget("GET", "/actors/a1")
        broken = {"id": "a1", "status": "ERROR", "status_message": "no image"}
        stub.answer("GET", "/actors/a1", broken)
        stub.answer("GET", self.uri, {"id": "e1", "status": "SUBMITTED"})
        with pytest.raises(ActorFailedError, match=r"a1 is in ERROR: no image\. .*build; .*image="):
            remote.await_final("e1", 0.2)

    def test_an_actor_of_ones_own_has_an_image_of_ones_own(self, stub):
        remote = RemoteActor(AbacoClient(stub.url), actor="a1", image="", workers=None)
        stub.forget("GET", "/actors/a1")
        broken = {"id": "a1", "status": "ERROR", "status_message": "no image"}
        stub.answer("GET", "/actors/a1", broken)
        remote.open()
        with pytest.raises(ActorFailedError, match=r"a1 is in ERROR: no image$"):
            remote.check()


class TestNoOutcome:
    @pytest.mark.parametrize(
        ("changes", "error", "words"),
        [
            ({"status": "ERROR", "final_state": {"Error": "x"}}, RunFailedError, "in ERROR: x"),
            ({"status": "ERROR", "final_state": None}, RunFailedError, "in ERROR: unknown"),
            ({"final_state": {"AbacoReason": "timeout"}}, RunKilledError, "stopped: timeout"),
            ({"final_state": {"OOMKilled": True}}, RunKilledError, "out of memory"),
            ({"final_state": {"AbacoResultsLost": True}}, OutcomeLostError, "started anew"),
            (
                {"final_state": {"AbacoResultsRefused": 2}},
                NoResultError,
                "2 results were too large",
            ),
            ({"exit_code": 7}, NoResultError, "exit code 7 and no result(.|\n)*the end"),
        ],
    )
    def test_says_why(self, stub, remote, changes, error, words):
        stub.answer("GET", EXECUTION.format("e1") + "/logs", {"logs": "x" * 5000 + "the end"})
        final(stub, "e1", **changes)
        execution = remote.await_final("e1", 2)
        with pytest.raises(error, match=words) as caught:
            remote.take_outcome(execution)
        assert len(str(caught.value)) < 2300

    @pytest.mark.parametrize("last", ["results", "logs"])
    def test_one_that_goes_before_its_outcome_is_taken(self, stub, remote, last):
        uri = EXECUTION.format("e1")
        if last == "logs":
            stub.answer_raw("GET", f"{uri}/results", b"")
        stub.answer("GET", f"{uri}/{last}", "there is no actor 'a1'", status=404)
        ended = {"id": "e1", "status": "COMPLETE", "exit_code": 0, "final_state": {}}
        with pytest.raises(RunLostError, match="e1 is gone: there is no actor 'a1'"):
            remote.take_outcome(ended)

    def test_one_whose_outcome_is_refused(self, stub, remote):
        stub.answer("GET", f"{EXECUTION.format('e1')}/results", "no access", status=403)
        with pytest.raises(ServerError, match="no access"):
            remote.take_outcome({"id": "e1", "status": "COMPLETE"})

    def test_an_empty_log_is_called_so(self, stub, remote):
        stub.answer("GET", EXECUTION.format("e1") + "/logs", {"logs": ""})
        final(stub, "e1", exit_code=7)
        execution = remote.await_final("e1", 2)
        with pytest.raises(NoResultError, match=r"program died\. It wrote nothing into its log\.$"):
            remote.take_outcome(execution)

    def test_an_answer_that_was_cut_off(self, stub, remote):
        uri = EXECUTION.format("e1") + "/results"
        stub.answer("GET", uri, "away", status=503)
        final(stub, "e1")
        with pytest.raises(OutcomeLostError, match="connection was cut"):
            remote.take_outcome(remote.await_final("e1", 2))

    def test_a_call_whose_outcome_was_lost_is_sent_again(self, stub):
        for name in ("e1", "e2"):
            stub.answer("POST", BATCH, {"execution_ids": [name]})
        final(stub, "e1", final_state={"AbacoResultsLost": True})
        final(stub, "e2", pieces(7))
        with AbacoExecutor(url=stub.url) as pool:
            assert pool.submit(divmod, 7, 2).result(5) == 7
        assert [call["func"] for (call,) in sent_calls(stub)] == [divmod, divmod]

    def test_but_not_for_ever(self, stub):
        stub.answer("POST", BATCH, {"execution_ids": ["e1"]})
        final(stub, "e1", final_state={"AbacoResultsLost": True})
        with AbacoExecutor(url=stub.url) as pool:
            future = pool.submit(divmod, 7, 2)
            with pytest.raises(OutcomeLostError):
                future.result(5)
        assert len(sent_calls(stub)) == executor.MAX_TRIES

    def test_pieces_that_are_gone(self, stub, remote):
        first, *_ = made = pieces(bytes(5000))
        final(stub, "e1", [b"sent by the function", first])
        with pytest.raises(NoResultError, match=f"{len(made) - 1} pieces"):
            remote.take_outcome(remote.await_final("e1", 2))
