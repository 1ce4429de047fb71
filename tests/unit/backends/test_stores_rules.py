from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.actor import ActorStatus
from abaco.domain.execution import ExecutionStatus
from abaco.domain.worker import WorkerStatus
from abaco.errors import ConflictError, LimitExceededError, NotFoundError
from abaco.ports.store import Refusal
from backends.stores import rules
from tests.support.records import NOON, an_actor, an_error_outcome, an_execution, an_outcome, at

KEY = an_actor().key


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_microseconds_give_the_same_moment_back(moment: datetime) -> None:
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:  # the first and last day of the calendar have no UTC form everywhere
        return
    back = rules.from_micros(rules.to_micros(moment))
    assert back == expected
    assert back.tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        rules.to_micros(datetime(2024, 1, 1))  # noqa: DTZ001 - the mistake under test


def test_offsets_are_taken_into_account() -> None:
    east = datetime(1970, 1, 1, 2, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    assert rules.to_micros(east) == 1


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", NOON, {"a": [{3}]}])
def test_only_json_values_have_a_text(value: Any) -> None:
    with pytest.raises(TypeError):
        rules.encode_json(value)


def test_any_mapping_is_an_object() -> None:
    empty: Mapping[str, object] = MappingProxyType({})
    nested = MappingProxyType({"a": OrderedDict(b=empty)})
    assert rules.copy_json(nested) == {"a": {"b": {}}}


def test_the_text_of_a_value_is_plain_ascii() -> None:
    assert rules.encode_json({"\u2603": "\ud800\0"}).isascii()


@pytest.mark.parametrize("status", [None, *ActorStatus])
@pytest.mark.parametrize("worker", [None, *WorkerStatus])
@pytest.mark.parametrize("worker_revision", [1, 2, 3])
@pytest.mark.parametrize("queued", [0, 1])
@pytest.mark.parametrize("is_blocked", [True, False])
def test_a_claim_is_refused_for_the_gravest_reason(
    status: ActorStatus | None,
    worker: WorkerStatus | None,
    worker_revision: int,
    queued: int,
    is_blocked: bool,
) -> None:
    reasons = [
        (status in (None, ActorStatus.ERROR, ActorStatus.SHUTTING_DOWN), Refusal.ACTOR_STOPPED),
        (worker != WorkerStatus.READY, Refusal.NOT_READY),
        (worker_revision != 2, Refusal.STALE),
        (queued == 0 or is_blocked, Refusal.EMPTY),
    ]
    expected = next((refusal for applies, refusal in reasons if applies), None)
    assert expected == rules.refuse_claim(
        actor=status,
        actor_revision=2,
        worker=worker,
        worker_revision=worker_revision,
        queued=queued,
        is_blocked=is_blocked,
    )


def test_a_change_needs_an_actor_that_is_not_on_its_way_out() -> None:
    with pytest.raises(NotFoundError):
        rules.check_open(KEY, None)
    with pytest.raises(ConflictError):
        rules.check_open(KEY, ActorStatus.SHUTTING_DOWN)
    for status in (ActorStatus.SUBMITTED, ActorStatus.READY, ActorStatus.ERROR):
        rules.check_open(KEY, status)


def test_a_queue_may_hold_one_more_than_may_wait() -> None:
    rules.check_room(KEY, 10**9, None)
    rules.check_room(KEY, 3, 3)
    with pytest.raises(LimitExceededError, match="4 messages"):
        rules.check_room(KEY, 4, 3)


def test_an_expected_value_is_compared_only_when_given() -> None:
    rules.check_expected("the revision", 2, None)
    rules.check_expected("the revision", 2, 2)
    for expected in (0, 1, 3):
        with pytest.raises(ConflictError, match=f"the revision is 2 by now, not {expected}"):
            rules.check_expected("the revision", 2, expected)


@pytest.mark.parametrize("status", ExecutionStatus)
def test_only_a_running_execution_may_be_halted(status: ExecutionStatus) -> None:
    execution = an_execution(KEY, status=status)
    if status is ExecutionStatus.RUNNING:
        rules.refuse_halt(execution)
    else:
        with pytest.raises(ConflictError, match=status.value):
            rules.refuse_halt(execution)


def test_only_final_outcomes_end_an_execution() -> None:
    rules.check_final(an_outcome())
    rules.check_final(an_error_outcome())
    rules.check_final(rules.deletion(NOON))
    for status in (ExecutionStatus.SUBMITTED, ExecutionStatus.RUNNING):
        with pytest.raises(ValueError, match=status.value):
            rules.check_final(an_outcome(status=status))


@given(
    pieces=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=12),
    limit=st.integers(0, 40),
)
def test_a_log_is_a_prefix_of_the_output(pieces: list[tuple[int, int]], limit: int) -> None:
    output = bytes(range(120))
    kept, seen, is_truncated = b"", 0, False
    for back, length in pieces:
        start = max(0, seen - back)
        cut = rules.cut_log(
            seen=seen,
            kept=len(kept),
            is_truncated=is_truncated,
            offset=start,
            data=output[start : start + length],
            max_bytes=limit,
        )
        kept, seen, is_truncated = kept + cut.data, cut.bytes_seen, cut.is_truncated
        assert output.startswith(kept)
        assert len(kept) == min(seen, limit)
        assert is_truncated == (seen > limit)


def test_a_gap_in_the_output_is_refused() -> None:
    with pytest.raises(ConflictError, match="byte 4"):
        rules.cut_log(seen=3, kept=3, is_truncated=False, offset=4, data=b"", max_bytes=9)


def test_a_place_is_vacant_when_nobody_answers_for_it() -> None:
    for holder, expires_at in (
        (None, None),
        (None, at(9)),
        ("me", at(9)),
        ("other", at(-1)),
        ("other", NOON),
        ("other", None),
    ):
        rules.check_vacant(holder, expires_at, "me", NOON)
    with pytest.raises(ConflictError, match="other"):
        rules.check_vacant("other", at(0.001), "me", NOON)
