"""From what a client sent to a definition."""

from dataclasses import replace

import pytest

from abaco.domain.actor import ActorDefinition
from abaco.errors import InvalidInputError
from abaco.operations.definition import MAX_NAME_LENGTH, ActorDraft, define


def make(caller, previous=None, **sent):
    draft = ActorDraft(**{"image": "busybox", **sent})
    return define(draft, caller, default_token="false", previous=previous)


def test_defaults(jane):
    assert make(jane) == ActorDefinition(image="busybox", token="false")


def test_everything_an_owner_may_set(jane):
    sent = {
        "image": "abacosamples/test",
        "name": "demo",
        "description": "about it",
        "stateless": False,
        "type": "json",
        "token": True,
        "hints": ("sync", "fast"),
        "default_environment": {"A": "1", "B": None, "C": [1]},
        "log_ex": 16_000,
    }
    assert make(jane, **sent) == ActorDefinition(**sent)


def test_everything_a_privileged_user_may_set(privileged):
    sent = {
        "privileged": True,
        "max_workers": 3,
        "mem_limit": "3g",
        "max_cpus": 3_000_000_000,
        "queue": "default",
        "use_container_uid": True,
    }
    assert make(privileged, **sent) == ActorDefinition(image="busybox", **sent)


def test_unlimited(admin):
    definition = make(admin, mem_limit="-1", max_cpus=-1, log_ex=-1)
    assert (definition.mem_limit, definition.max_cpus, definition.log_ex) == ("-1", -1, -1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("privileged", True),
        ("max_workers", 3),
        ("max_cpus", 3_000_000_000),
        ("mem_limit", "3g"),
        ("queue", "special"),
        ("use_container_uid", True),
    ],
)
def test_privileged_attributes_need_the_role(jane, name, value):
    with pytest.raises(InvalidInputError, match="only privileged") as caught:
        make(jane, **{name: value})
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("name", "value"),
    [("privileged", False), ("use_container_uid", False), ("queue", "default")],
)
def test_saying_off_is_no_privilege(jane, name, value):
    assert getattr(make(jane, **{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), [("link", ""), ("webhook", "")])
def test_but_not_when_it_asks_for_nothing(jane, name, value):
    assert make(jane, **{name: value}) == make(jane)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", ""),
        ("image", None),
        ("image", "Not An Image"),
        ("name", "n" * (MAX_NAME_LENGTH + 1)),
        ("type", "xml"),
        ("queue", "special"),
        ("mem_limit", "lots"),
        ("mem_limit", ""),
        ("max_workers", 0),
        ("max_workers", -1),
        ("mem_limit", "1m"),
        ("max_run_time", 0),
        ("max_run_time", -2),
        ("network", "bridge"),
        ("max_cpus", 0),
        ("max_cpus", -2),
        ("log_ex", -2),
        ("hints", ("ok", "not{ok")),
        ("hints", ("'",)),
        ("hints", ('"',)),
        ("hints", ("[", "]")),
        ("default_environment", {"": "x"}),
        ("default_environment", {"": None}),
        ("default_environment", {"A\0": None}),
        ("default_environment", {"A=B": "x"}),
        ("default_environment", {"A": "nul\0"}),
        ("default_environment", {"A": "x" * 140_000}),
        ("default_environment", {f"V{n}": "x" * 100_000 for n in range(20)}),
    ],
)
def test_bad_values_name_their_field(admin, field, value):
    with pytest.raises(InvalidInputError) as caught:
        make(admin, **{field: value})
    assert caught.value.field == field


def test_stateful_actors_have_one_worker(admin):
    with pytest.raises(InvalidInputError, match="stateful actors can only have 1 worker"):
        make(admin, stateless=False, max_workers=3)


def test_reserved_variables_are_left_to_the_server(jane):
    definition = make(jane, default_environment={"MSG": "x" * 200_000, "_abaco_x": "\0"})
    assert set(definition.default_environment) == {"MSG", "_abaco_x"}


class TestQueues:
    QUEUES = ("default", "special")

    def queue(self, caller, previous=None, **sent):
        draft = ActorDraft(image="busybox", **sent)
        return define(
            draft, caller, default_token="false", queues=self.QUEUES, previous=previous
        ).queue

    def test_any_that_there_is(self, privileged):
        assert self.queue(privileged) == "default"
        assert [self.queue(privileged, queue=name) for name in self.QUEUES] == list(self.QUEUES)

    def test_no_other(self, privileged):
        with pytest.raises(InvalidInputError, match="'default', 'special'") as caught:
            self.queue(privileged, queue="gpu")
        assert caught.value.field == "queue"

    def test_an_update_that_does_not_name_it_takes_it_away(self, privileged):
        previous = make(privileged)
        assert self.queue(privileged, previous, queue="special") == "special"
        assert self.queue(privileged, replace(previous, queue="special")) == "default"


class TestReplacing:
    def test_name_is_kept_and_the_rest_returns_to_defaults(self, privileged):
        previous = make(privileged, name="old", description="d", hints=("h",), max_workers=2)
        replaced = make(privileged, previous, name="new", image="other")
        assert replaced == ActorDefinition(image="other", name="old", token="false")

    @pytest.mark.parametrize("stateless", [True, False])
    def test_stateless_is_kept_when_not_sent(self, jane, stateless):
        previous = make(jane, stateless=stateless)
        assert make(jane, previous).stateless is stateless

    def test_stateless_may_become_stateful_but_not_back(self, jane):
        assert make(jane, make(jane), stateless=False).stateless is False
        with pytest.raises(InvalidInputError) as caught:
            make(jane, make(jane, stateless=False), stateless=True)
        assert caught.value.field == "stateless"

    def test_max_workers_on_a_stateful_actor(self, admin):
        with pytest.raises(InvalidInputError, match="only have 1 worker"):
            make(admin, make(admin, stateless=False), max_workers=1)

    def test_omission_takes_privileges_away(self, jane, privileged):
        previous = make(privileged, privileged=True, mem_limit="3g", use_container_uid=True)
        replaced = make(jane, previous)
        assert (replaced.privileged, replaced.mem_limit, replaced.use_container_uid) == (
            False,
            None,
            False,
        )
