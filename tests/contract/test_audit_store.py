"""The audit log: every sentence of its contract."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaco.domain.audit import AuditOutcome, AuditRecord, fingerprint, shorten
from abaco.ports.store import Stores
from tests.support.records import SteppedClock, an_audit_record, at
from tests.support.stores import opened, store_settings


async def append(stores: Stores, *records: AuditRecord) -> list[AuditRecord]:
    """Add records and return them as the log must show them."""
    return [replace(record, seq=await stores.audit.append(record)) for record in records]


async def test_a_record_comes_back_as_it_was(stores: Stores) -> None:
    record = an_audit_record(
        outcome=AuditOutcome.REFUSED,
        status=400,
        user="né.b",
        roles=("a", "b"),
        proof="nonce:abc",
        object="alias:x/y",
        detail={"user": "joe", "level": "READ"},
    )
    assert await append(stores, record) == await stores.audit.list_records()


async def test_an_empty_log(stores: Stores) -> None:
    assert await stores.audit.list_records() == []
    assert await stores.audit.list_records(after=7, since=at(0)) == []
    assert await stores.audit.expire(at(9)) == 0


async def test_pages_keep_the_order_of_writing(stores: Stores) -> None:
    # a clock may go back; the log does not
    made = await append(stores, *(an_audit_record(time=at(n)) for n in (5, 3, 9, 1, 7)))
    assert [record.seq for record in made] == sorted({record.seq for record in made})
    first = await stores.audit.list_records(limit=2)
    second = await stores.audit.list_records(after=first[-1].seq, limit=2)
    third = await stores.audit.list_records(after=second[-1].seq, limit=2)
    assert [*first, *second, *third] == made
    assert await stores.audit.list_records(after=third[-1].seq) == []


async def test_since_leaves_out_what_is_older(stores: Stores) -> None:
    made = await append(stores, *(an_audit_record(time=at(n)) for n in (5, 3, 9, 1, 7)))
    found = await stores.audit.list_records(since=at(5))
    assert found == [made[0], made[2], made[4]]
    assert await stores.audit.list_records(after=made[0].seq, since=at(5), limit=1) == [made[2]]
    assert await stores.audit.list_records(since=at(10)) == []


async def test_only_age_removes_the_oldest_first(stores: Stores) -> None:
    made = await append(stores, *(an_audit_record(time=at(n)) for n in range(5)))
    assert await stores.audit.expire(at(3), limit=2) == 2
    assert await stores.audit.expire(at(3), limit=2) == 1
    assert await stores.audit.expire(at(3), limit=2) == 0
    assert await stores.audit.list_records() == made[3:]


async def test_a_place_is_given_once(stores: Stores) -> None:
    (first,) = await append(stores, an_audit_record())
    await stores.audit.expire(at(1))
    (second,) = await append(stores, an_audit_record())
    assert second.seq > first.seq


async def test_records_written_at_once_are_all_there(stores: Stores) -> None:
    records = [an_audit_record(request_id=str(number)) for number in range(50)]
    places = await asyncio.gather(*(stores.audit.append(record) for record in records))
    found = await stores.audit.list_records()
    assert len(set(places)) == 50
    assert {record.request_id for record in found} == {str(number) for number in range(50)}
    assert [record.seq for record in found] == sorted(places)


async def test_what_was_returned_is_the_callers_own(stores: Stores) -> None:
    detail = {"user": "joe"}
    await stores.audit.append(an_audit_record(detail=detail))
    detail.clear()
    (found,) = await stores.audit.list_records()
    assert isinstance(found.detail, dict)
    found.detail.clear()
    assert (await stores.audit.list_records())[0].detail == {"user": "joe"}


async def test_it_survives_a_stop_and_nobody_can_change_it(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        made = await append(stores, an_audit_record())
    with closing(sqlite3.connect(store_settings(tmp_path).database_path)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="only added to"):
            connection.execute("UPDATE audit SET user = 'somebody else'")
        with pytest.raises(sqlite3.IntegrityError, match="only added to"):
            connection.execute("UPDATE audit SET seq = seq + 1")
    async with opened("sqlite", tmp_path, SteppedClock()) as stores:
        assert await stores.audit.list_records() == made


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    times=st.lists(st.integers(0, 9), max_size=12),
    since=st.none() | st.integers(0, 10),
    after=st.integers(0, 12),
    limit=st.integers(1, 5),
)
def test_both_stores_page_as_a_list_would(
    tmp_path_factory: pytest.TempPathFactory,
    times: list[int],
    since: int | None,
    after: int,
    limit: int,
) -> None:
    async def check(backend: str) -> None:
        async with opened(backend, tmp_path_factory.mktemp("audit"), SteppedClock()) as stores:
            made = await append(stores, *(an_audit_record(time=at(n)) for n in times))
            start = None if since is None else at(since)
            expected = [
                record
                for record in made
                if record.seq > after and (start is None or record.time >= start)
            ]
            found = await stores.audit.list_records(after=after, since=start, limit=limit)
            assert found == expected[:limit]

    for backend in ("memory", "sqlite"):
        asyncio.run(check(backend))


class TestTexts:
    def test_a_fingerprint_tells_nonces_apart_and_nothing_else(self) -> None:
        one, two = fingerprint("DEV_0123456789abcdef"), fingerprint("DEV_0123456789abcdee")
        assert one != two
        assert one == fingerprint("DEV_0123456789abcdef")
        assert len(one) == 12
        assert one not in "DEV_0123456789abcdef"

    def test_what_clients_choose_is_cut_and_made_visible(self) -> None:
        assert shorten("a" * 1000) == "a" * 256
        assert shorten("a\nb\x1b[31m") == "a\ufffdb\ufffd[31m"
