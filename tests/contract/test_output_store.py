"""Logs, results and the instance's row."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaco.errors import ConflictError
from abaco.ports.store import LogText, Stores
from tests.support.records import NOON, SteppedClock, an_actor, at, execution_key, new_id

ACTOR = an_actor().key
KEY = execution_key(ACTOR, "e")
OTHER = execution_key(ACTOR, "f")


async def append(
    stores: Stores, offset: int, data: bytes, max_bytes: int = 1000, expires_s: float | None = None
) -> int:
    expires_at = None if expires_s is None else at(expires_s)
    return await stores.logs.append(KEY, offset, data, max_bytes=max_bytes, expires_at=expires_at)


async def test_an_absent_log_reads_as_empty(stores: Stores) -> None:
    empty = LogText(data=b"", bytes_seen=0, is_truncated=False)
    assert await stores.logs.read(KEY) == empty
    assert await stores.logs.read(KEY, 100) == empty


async def test_no_more_is_read_than_asked_for(stores: Stores) -> None:
    for offset, data in ((0, b"abc"), (3, b"defg"), (7, b"h")):
        await append(stores, offset, data)
    for offset in range(9):
        for most in range(1, 10):
            log = await stores.logs.read(KEY, offset, max_bytes=most)
            assert log.data == b"abcdefgh"[offset : offset + most]
            assert log.bytes_seen == 8


async def test_output_is_appended_and_read_from_any_offset(stores: Stores) -> None:
    assert await append(stores, 0, b"abc") == 3
    assert await append(stores, 3, b"") == 3
    assert await append(stores, 3, b"\xff\0def") == 8
    whole = b"abc\xff\0def"
    for offset in range(10):
        assert await stores.logs.read(KEY, offset) == LogText(
            data=whole[offset:], bytes_seen=8, is_truncated=False
        )
    assert (await stores.logs.read(OTHER)).bytes_seen == 0


async def test_a_repeat_of_output_is_harmless(stores: Stores) -> None:
    await append(stores, 0, b"abcdef")
    assert await append(stores, 0, b"abcdef") == 6
    assert await append(stores, 2, b"cd") == 6
    assert await append(stores, 4, b"efgh") == 8
    assert (await stores.logs.read(KEY)).data == b"abcdefgh"


async def test_a_gap_is_refused_and_changes_nothing(stores: Stores) -> None:
    with pytest.raises(ConflictError, match="byte 1"):
        await append(stores, 1, b"x")
    await append(stores, 0, b"abc")
    with pytest.raises(ConflictError, match="byte 5"):
        await append(stores, 5, b"x", expires_s=1)
    assert await stores.logs.read(KEY) == LogText(data=b"abc", bytes_seen=3, is_truncated=False)
    assert await stores.logs.expire(at(5)) == 0


async def test_storing_stops_at_the_limit_and_counting_goes_on(stores: Stores) -> None:
    await append(stores, 0, b"abcd", max_bytes=4)
    assert not (await stores.logs.read(KEY)).is_truncated
    assert await append(stores, 4, b"efg", max_bytes=6) == 7
    assert await append(stores, 7, b"hij", max_bytes=6) == 10
    assert await stores.logs.read(KEY) == LogText(data=b"abcdef", bytes_seen=10, is_truncated=True)
    assert await append(stores, 10, b"k", max_bytes=100) == 11
    assert (await stores.logs.read(KEY, 4)).data == b"ef"  # nothing is stored after a hole


async def test_a_limit_of_nothing_stores_nothing(stores: Stores) -> None:
    assert await append(stores, 0, b"abc", max_bytes=0) == 3
    assert await stores.logs.read(KEY) == LogText(data=b"", bytes_seen=3, is_truncated=True)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), max_size=8),
    limit=st.integers(0, 30),
    offset=st.integers(0, 40),
)
async def test_any_way_of_cutting_the_output_stores_the_same(
    stores: Stores, pieces: list[tuple[int, int]], limit: int, offset: int
) -> None:
    output = bytes(range(100))
    key = execution_key(ACTOR, new_id())
    seen = 0
    for back, length in pieces:
        start = max(0, seen - back)
        seen = max(seen, start + length)
        data = output[start : start + length]
        assert seen == await stores.logs.append(key, start, data, max_bytes=limit, expires_at=None)
    assert await stores.logs.read(key, offset) == LogText(
        data=output[: min(seen, limit)][offset:], bytes_seen=seen, is_truncated=seen > limit
    )


async def test_an_expired_log_reads_as_empty_before_it_is_removed(
    stores: Stores, clock: SteppedClock
) -> None:
    await append(stores, 0, b"abc", expires_s=10)
    clock.advance(9)
    assert (await stores.logs.read(KEY)).data == b"abc"
    clock.advance(1)
    assert (await stores.logs.read(KEY)).data == b""


async def test_each_append_sets_the_expiry_anew(stores: Stores) -> None:
    await append(stores, 0, b"abc", expires_s=10)
    await append(stores, 3, b"", expires_s=20)
    assert await stores.logs.expire(at(19)) == 0
    await append(stores, 3, b"d", expires_s=None)
    assert await stores.logs.expire(at(10**6)) == 0
    assert (await stores.logs.read(KEY)).data == b"abcd"


async def test_expiry_removes_the_oldest_first_and_no_more_than_asked(
    stores: Stores, clock: SteppedClock
) -> None:
    for number in (3, 1, 2, 0):
        await stores.logs.append(
            execution_key(ACTOR, f"e{number}"), 0, b"x", max_bytes=9, expires_at=at(number)
        )
    assert await stores.logs.expire(at(2), limit=2) == 2
    kept = [(await stores.logs.read(execution_key(ACTOR, f"e{n}"))).data for n in range(4)]
    # the clock stands at noon: e0 has expired for readers too
    assert kept == [b"", b"", b"x", b"x"]
    assert await stores.logs.expire(at(2)) == 1
    assert await stores.logs.expire(at(2)) == 0


async def test_output_after_an_expiry_finds_its_place(stores: Stores) -> None:
    await append(stores, 0, b"abc", expires_s=1)
    assert await stores.logs.expire(at(2)) == 1
    assert await stores.logs.read(KEY) == LogText(data=b"", bytes_seen=3, is_truncated=False)
    assert await append(stores, 2, b"cde", max_bytes=2, expires_s=9) == 5
    for offset, data in ((0, b"de"), (3, b"de"), (4, b"e"), (5, b"")):
        assert (await stores.logs.read(KEY, offset)).data == data


async def test_a_cleared_log_begins_anew(stores: Stores) -> None:
    await append(stores, 0, b"first try", max_bytes=4)
    await stores.logs.append(OTHER, 0, b"other", max_bytes=9, expires_at=None)
    await stores.logs.clear(KEY)
    await stores.logs.clear(KEY)
    assert await stores.logs.read(KEY) == LogText(data=b"", bytes_seen=0, is_truncated=False)
    assert await append(stores, 0, b"second") == 6
    assert (await stores.logs.read(KEY)).data == b"second"
    assert (await stores.logs.read(OTHER)).data == b"other"


async def test_results_are_read_in_order_and_each_once(stores: Stores) -> None:
    pushed = [b"one", b"", b"\0\xff", b"one"]
    await stores.results.push(KEY, 0, pushed[:1], expires_at=at(60))
    await stores.results.push(KEY, 1, pushed[1:], expires_at=at(60))
    await stores.results.push(OTHER, 0, [b"other"], expires_at=at(60))
    assert [await stores.results.pop(KEY, NOON) for _ in range(5)] == [*pushed, None]
    assert await stores.results.pop(OTHER, NOON) == b"other"


async def test_expired_results_are_passed_over(stores: Stores) -> None:
    for number, expires_s in enumerate((10, 30, 20)):
        data = str(expires_s).encode()
        await stores.results.push(KEY, number, [data], expires_at=at(expires_s))
    assert await stores.results.pop(KEY, at(10)) == b"30"
    assert await stores.results.pop(KEY, at(20)) is None
    assert await stores.results.pop(KEY, NOON) == b"10"


async def test_results_expire_the_oldest_first_and_no_more_than_asked(stores: Stores) -> None:
    for number, expires_s in enumerate((3, 1, 2, 4)):
        data = str(expires_s).encode()
        await stores.results.push(KEY, number, [data], expires_at=at(expires_s))
    assert await stores.results.expire(at(3), limit=2) == 2
    assert await stores.results.pop(KEY, NOON) == b"3"
    assert await stores.results.expire(at(9)) == 1
    assert await stores.results.expire(at(9)) == 0


async def test_epochs_count_the_processes(stores: Stores) -> None:
    assert await stores.instance.acquire("one", NOON, 10) == 1
    assert await stores.instance.heartbeat(1, at(5), 10)
    await stores.instance.release(1)
    assert await stores.instance.acquire("two", at(6), 10) == 2
    await stores.instance.ping()


async def test_a_second_process_is_refused_while_the_first_is_alive(stores: Stores) -> None:
    await stores.instance.acquire("one", NOON, 10)
    with pytest.raises(ConflictError, match="one"):
        await stores.instance.acquire("two", at(9.9), 10)
    await stores.instance.heartbeat(1, at(9), 10)
    with pytest.raises(ConflictError, match="one"):
        await stores.instance.acquire("two", at(18.9), 10)
    assert await stores.instance.acquire("two", at(19), 10) == 2


async def test_the_same_holder_may_begin_again_at_once(stores: Stores) -> None:
    assert await stores.instance.acquire("one", NOON, 10) == 1
    assert await stores.instance.acquire("one", at(1), 10) == 2
    assert not await stores.instance.heartbeat(1, at(2), 10)


async def test_who_was_replaced_must_stop_and_cannot_release(stores: Stores) -> None:
    await stores.instance.acquire("one", NOON, 10)
    await stores.instance.acquire("two", at(11), 10)
    assert not await stores.instance.heartbeat(1, at(12), 10)
    await stores.instance.release(1)
    with pytest.raises(ConflictError, match="two"):
        await stores.instance.acquire("three", at(13), 10)
    assert await stores.instance.heartbeat(2, at(13), 10)


async def test_a_late_heartbeat_keeps_an_unclaimed_place(stores: Stores) -> None:
    await stores.instance.acquire("one", NOON, 10)
    assert await stores.instance.heartbeat(1, at(50), 10)
    with pytest.raises(ConflictError):
        await stores.instance.acquire("two", at(51), 10)


async def test_a_released_place_has_no_heartbeat(stores: Stores) -> None:
    await stores.instance.acquire("one", NOON, 10)
    await stores.instance.release(1)
    await stores.instance.release(1)
    assert not await stores.instance.heartbeat(1, at(1), 10)
