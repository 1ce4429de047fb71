"""Asking for workers and sending them away, and the attributes that steer them."""

import pytest

from tests.unit.cli.conftest import an_actor

PATH = "/actors/a1/workers"
WORKER = {"id": "w1", "status": "READY", "image": "abaco/hello", "cid": "c1"}


@pytest.fixture(autouse=True)
def actor(stub):
    stub.answer("GET", "/actors/a1", an_actor())
    stub.answer("GET", PATH, [WORKER])


def asked(stub, method):
    return [(one.uri, one.json if one.body else None) for one in stub.asked if one.method == method]


def test_asking_for_more(stub, run):
    stub.answer("POST", PATH, None)
    result = run("workers", "a1", "--at-least", "3")
    assert result.exit_code == 0, result.output
    assert asked(stub, "POST") == [(PATH, {"num": 3})]
    assert result.stdout.splitlines()[1].startswith("w1\tREADY")


def test_sending_one_away(stub, run):
    stub.answer("DELETE", f"{PATH}/w1", None)
    assert run("workers", "a1", "--drain", "w1").exit_code == 0
    assert asked(stub, "DELETE") == [(f"{PATH}/w1", None)]


def test_a_list_changes_nothing(stub, run):
    assert run("workers", "a1").exit_code == 0
    assert {one.method for one in stub.asked} == {"GET"}


@pytest.mark.parametrize("number", ["0", "101", "two"])
def test_how_many_there_may_be(stub, run, number):
    assert run("workers", "a1", "--at-least", number).exit_code == 2
    assert stub.asked == []


def test_a_refusal(stub, run):
    stub.answer("POST", PATH, "only administrators may do this", status=400)
    result = run("workers", "a1", "--at-least", "2")
    assert result.exit_code == 1
    assert "only administrators" in result.stderr


def test_queue_and_hints_of_a_new_actor(stub, run):
    stub.answer("POST", "/actors", an_actor())
    run("actors", "create", "img", "--queue", "special", "--hint", "sync", "--hint", "x")
    ((_, body),) = asked(stub, "POST")
    assert (body["queue"], body["hints"]) == ("special", ["sync", "x"])


def test_hints_given_replace_all_and_others_stay(stub, run):
    stub.answer("GET", "/actors/a2", an_actor(id="a2", hints=["old"], queue="special"))
    stub.answer("PUT", "/actors/a2", an_actor(id="a2"))
    assert run("actors", "update", "a2", "--hint", "sync").exit_code == 0
    assert run("actors", "update", "a2", "--description", "d").exit_code == 0
    bodies = [body for _, body in asked(stub, "PUT")]
    assert [body["hints"] for body in bodies] == [["sync"], ["old"]]
    assert {body["queue"] for body in bodies} == {"special"}
