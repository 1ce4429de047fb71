"""Events: what is one, and what receivers are told."""

from __future__ import annotations

import pytest

from abaco.domain.actor import ActorStatus
from abaco.domain.event import EventPolicy, EventType, payload, webhook_body
from abaco.domain.execution import ExecutionStatus
from abaco.domain.ids import ActorId, ExecutionId
from tests.support.records import an_error_outcome, an_event, an_outcome

READY, ERROR = ActorStatus.READY, ActorStatus.ERROR
SUBMITTED, LEAVING = ActorStatus.SUBMITTED, ActorStatus.SHUTTING_DOWN

COMMON = {
    "event_type": "ACTOR_READY",
    "event_time_utc": "2024-02-29T12:00:00.123Z",
    "event_time_display": "2024-02-29T12:00:00.123Z",
    "tenant_id": "DEV",
    "actor_id": "source",
    "actor_dbid": "DEV_source",
}


@pytest.mark.parametrize("before", ActorStatus)
@pytest.mark.parametrize("after", ActorStatus)
def test_becoming_ready_or_failing_is_an_event(before, after):
    happening = EventPolicy().of_status(before, after, "why")
    if before is after or after in (SUBMITTED, LEAVING):
        assert happening is None
    else:
        assert happening.type == (EventType.ACTOR_READY if after is READY else "ACTOR_ERROR")
        assert happening.details == {"status_message": "why"}


def test_the_end_of_an_execution_says_how_it_ended():
    happening = EventPolicy().of_end(ExecutionId("e1"), an_outcome(exit_code=3))
    assert happening.type is EventType.EXECUTION_COMPLETE
    assert happening.details == {"execution_id": "e1", "status": "COMPLETE", "exit_code": 3}


def test_an_execution_in_error_completes_too_unless_switched_off():
    outcome = an_error_outcome()
    assert outcome.status is ExecutionStatus.ERROR
    happening = EventPolicy().of_end(ExecutionId("e1"), outcome)
    assert happening.type is EventType.EXECUTION_COMPLETE
    assert happening.details == {"execution_id": "e1", "status": "ERROR", "exit_code": None}
    silent = EventPolicy(emit_error_completions=False)
    assert silent.of_end(ExecutionId("e1"), outcome) is None
    assert silent.of_end(ExecutionId("e1"), an_outcome()) is not None


def test_starts_are_told_only_when_asked_for():
    assert EventPolicy().of_start(ExecutionId("e1")) is None
    happening = EventPolicy(emit_started=True).of_start(ExecutionId("e1"))
    assert (happening.type, happening.details) == ("EXECUTION_STARTED", {"execution_id": "e1"})


def test_the_payload_has_the_keys_of_the_interface_and_those_of_its_type():
    event = an_event(
        actor_id=ActorId("source"), webhook="https://example.org/x", details={"status_message": " "}
    )
    assert payload(event, ActorId("target")) == {
        **COMMON,
        "_abaco_link": "DEV_target",
        "_abaco_webhook": "https://example.org/x",
        "status_message": " ",
    }
    assert payload(event, None)["_abaco_link"] == ""


def test_a_webhook_is_told_who_sends_and_whom_the_link_led_to():
    event = an_event(
        actor_id=ActorId("source"),
        target=ActorId("target"),
        webhook="https://example.org/x",
        webhook_secret="sealed",
        details={"status_message": " "},
    )
    assert webhook_body(event) == {
        **payload(event, ActorId("target")),
        "_abaco_Content_Type": "application/json",
        "_abaco_username": "Abaco Event",
        "_abaco_api_server": "http://127.0.0.1:8000",
    }
    assert "sealed" not in str(webhook_body(event))


def test_the_id_is_the_events_own():
    event = an_event(actor_id=ActorId("source"), seq=7)
    assert event.id == "evt_source_7"
    assert event.key == ("DEV", "source", 7)
    assert event.key.actor == ("DEV", "source")
