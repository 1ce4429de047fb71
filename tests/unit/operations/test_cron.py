"""What a draft does to a schedule."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from abaco.domain.cron import Cron, SetCron, SwitchCron, begin
from abaco.errors import InvalidInputError
from abaco.operations.actors import ActorDraft, register, update
from abaco.operations.cron import decide
from abaco.ports.notices import Topic

NOW = datetime(2024, 2, 29, 12, 34, tzinfo=UTC)
FUTURE = "2078-09-6 20 + 3 months"
PRESENT = Cron(schedule="2024-02-01 0 + 1 day", is_on=False, given_at=NOW, next_at=NOW)


def draft(**fields):
    return ActorDraft(image="busybox", **fields)


@pytest.mark.parametrize("present", [None, PRESENT])
def test_what_is_not_sent_stays(present):
    assert decide(draft(), present, NOW) is None


@pytest.mark.parametrize("present", [None, PRESENT])
@pytest.mark.parametrize(("sent", "is_on"), [(None, True), (True, True), (False, False)])
def test_a_schedule_is_on_unless_said_off(present, sent, is_on):
    change = decide(draft(cron_schedule=FUTURE, cron_on=sent), present, NOW)
    assert change == SetCron(begin(FUTURE, NOW, is_on=is_on))


@pytest.mark.parametrize(("sent", "is_on"), [(None, True), (True, True), (False, False)])
def test_the_schedule_there_is_stays_on_its_slots_though_its_start_is_past(sent, is_on):
    change = decide(draft(cron_schedule=PRESENT.schedule, cron_on=sent), PRESENT, NOW)
    assert change == SwitchCron(is_on)


@pytest.mark.parametrize("is_on", [True, False])
def test_the_switch_alone(is_on):
    assert decide(draft(cron_on=is_on), PRESENT, NOW) == SwitchCron(is_on)


@pytest.mark.parametrize("present", [None, PRESENT])
@pytest.mark.parametrize("is_on", [None, False])
def test_empty_clears(present, is_on):
    assert decide(draft(cron_schedule="", cron_on=is_on), present, NOW) == SetCron(None)


@pytest.mark.parametrize(
    ("fields", "present"),
    [({}, None), ({"cron_schedule": ""}, None), ({"cron_schedule": ""}, PRESENT)],
)
def test_nothing_to_switch_on(fields, present):
    with pytest.raises(InvalidInputError, match="no cron_schedule") as caught:
        decide(draft(cron_on=True, **fields), present, NOW)
    assert caught.value.field == "cron_on"


def test_the_past_is_refused_for_a_new_one():
    with pytest.raises(InvalidInputError, match="it is 2024-2-29 12 now") as caught:
        decide(draft(cron_schedule="2024-02-29 11 + 1 day"), PRESENT, NOW)
    assert caught.value.field == "cron_schedule"


def test_registering_and_updating_say_so_to_who_waits(run, services, jane):
    with services.notices.subscribe(Topic.CRON) as changes:
        plain = run(register(services, jane, draft()))
        assert changes.take() == []
        actor = run(register(services, jane, draft(cron_schedule=FUTURE)))
        assert changes.take() == [actor.key]
        run(update(services, jane, actor, draft(description="d")))
        assert changes.take() == []
        for fields in ({"cron_on": False}, {"cron_schedule": ""}):
            run(update(services, jane, actor, draft(**fields)))
            assert changes.take() == [actor.key]
    assert run(services.stores.actors.get(plain.key)).cron is None
    assert run(services.stores.actors.get(actor.key)).cron is None


def test_a_refused_schedule_registers_nothing(run, services, jane):
    with pytest.raises(InvalidInputError):
        run(register(services, jane, draft(cron_schedule="never")))
    assert run(services.stores.actors.list_actors()) == []


def test_a_refused_schedule_updates_nothing(run, services, jane):
    actor = run(register(services, jane, draft(cron_schedule=FUTURE)))
    with pytest.raises(InvalidInputError):
        run(update(services, jane, actor, draft(cron_schedule="never", description="new")))
    assert run(services.stores.actors.get(actor.key)) == actor
