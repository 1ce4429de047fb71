"""Parts of the drivers that need no engine: framing, decoding, names, times, labels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from abaco.domain.execution import IoDetail
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId
from abaco.errors import DriverError
from abaco.ports.driver import OwnedContainer
from backends.drivers.engine_stream import Chunked, FixedLength, UntilClose, decoder_for
from backends.drivers.engine_wire import Query, Reply, error_text, target
from backends.drivers.frames import payloads
from backends.drivers.images import with_registry, with_tag
from backends.drivers.labels import read_labels
from backends.drivers.state import engine_time, is_running, parse_time, read_exit, read_inspection
from backends.drivers.used import Used

USED = Used(
    cpu_ns=1,
    io_bytes=2,
    memory_peak_bytes=3,
    net_rx_bytes=4,
    net_tx_bytes=5,
    blk_read_bytes=6,
    blk_write_bytes=7,
)


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def frame(payload: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4) + payload


@given(
    lines=st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=40)), max_size=20),
    size=st.integers(1, 50),
    skip=st.integers(0, 100),
)
async def test_frames_cut_anywhere_give_the_payload(
    lines: list[tuple[int, bytes]], size: int, skip: int
) -> None:
    data = b"".join(frame(line, stream) for stream, line in lines)
    whole = b"".join(line for _, line in lines)
    given_ = [chunk async for chunk in payloads(pieces(data, size), skip)]
    assert b"".join(given_) == whole[skip:]
    assert all(given_), "nothing empty is given"


async def test_engines_failure_in_the_stream_is_raised() -> None:
    data = frame(b"fine") + frame(b"log is broken", stream=3)
    with pytest.raises(DriverError, match="log is broken"):
        assert [chunk async for chunk in payloads(pieces(data, 1000))]


@given(chunks=st.lists(st.binary(min_size=1, max_size=300), max_size=10), size=st.integers(1, 70))
def test_chunks_cut_anywhere_give_the_body(chunks: list[bytes], size: int) -> None:
    coded = b"".join(b"%x;note=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    coded += b"0\r\n\r\n"
    decoder = Chunked()
    got = b"".join(decoder.feed(coded[at : at + size]) for at in range(0, len(coded), size))
    assert got == b"".join(chunks)
    assert decoder.is_complete


def test_chunked_body_is_not_complete_before_its_end() -> None:
    decoder = Chunked()
    assert decoder.feed(b"5\r\nhello\r\n") == b"hello"
    assert not decoder.is_complete


@pytest.mark.parametrize("bad", [b"xyz\r\n", b"\r\n", b"a" * 2000])
def test_nonsense_for_a_size_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError):
        Chunked().feed(bad)


def test_fixed_length_ends_with_its_length() -> None:
    decoder = FixedLength(5)
    assert decoder.feed(b"hel") == b"hel"
    assert not decoder.is_complete
    assert decoder.feed(b"lo and more") == b"lo"
    assert decoder.is_complete


def test_decoder_follows_the_head() -> None:
    assert isinstance(decoder_for(200, HTTPHeaders({"Transfer-Encoding": "Chunked"})), Chunked)
    assert isinstance(decoder_for(200, HTTPHeaders({"Content-Length": "3"})), FixedLength)
    assert isinstance(decoder_for(200, HTTPHeaders()), UntilClose)
    assert decoder_for(204, HTTPHeaders()).is_complete


def test_target_escapes_values_and_repeats_sequences() -> None:
    assert target("/images/127.0.0.1:5/a b@sha256:c/json") == (
        "/images/127.0.0.1:5/a%20b@sha256:c/json"
    )
    query: Query = {"all": True, "t": 3, "filters": '{"a":["b=c"]}', "condition": ["x", "y"]}
    assert target("/p", query) == (
        "/p?all=true&t=3&filters=%7B%22a%22%3A%5B%22b%3Dc%22%5D%7D&condition=x&condition=y"
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"message":"no such container\\n"}', "no such container"),
        (b'{"cause":"x","message":"y","response":500}', "y"),
        (b"404 page not found\n", "404 page not found"),
        (b'"text"', '"text"'),
        (b"[]", "[]"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_error_text_is_the_engines_own(body: bytes, text: str) -> None:
    assert error_text(body) == text


def test_answer_that_is_no_json_is_a_fault_of_the_engine() -> None:
    with pytest.raises(DriverError, match="no JSON"):
        Reply(200, b"<html>").json()


@pytest.mark.parametrize(
    ("reference", "tagged", "full"),
    [
        ("echo", "echo:latest", "docker.io/library/echo:latest"),
        ("me/echo", "me/echo:latest", "docker.io/me/echo:latest"),
        ("me/echo:1", "me/echo:1", "docker.io/me/echo:1"),
        ("host:5000/echo", "host:5000/echo:latest", "host:5000/echo:latest"),
        ("quay.io/a/b:c", "quay.io/a/b:c", "quay.io/a/b:c"),
        ("localhost/echo", "localhost/echo:latest", "localhost/echo:latest"),
        ("echo@sha256:ab", "echo@sha256:ab", "docker.io/library/echo@sha256:ab"),
        ("host:5/a@sha256:ab", "host:5/a@sha256:ab", "host:5/a@sha256:ab"),
    ],
)
def test_image_names_are_completed_as_docker_does(reference: str, tagged: str, full: str) -> None:
    assert with_tag(reference) == tagged
    assert with_registry(with_tag(reference)) == full


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T04:19:54.754757027Z", datetime(2026, 11, 22, 4, 19, 54, 754757, tzinfo=UTC)),
        ("2026-11-22T04:19:54Z", datetime(2026, 11, 22, 4, 19, 54, tzinfo=UTC)),
        ("2026-11-22T04:19:54.7Z", datetime(2026, 11, 22, 4, 19, 54, 700000, tzinfo=UTC)),
        ("2026-11-22T06:19:54.5+02:00", datetime(2026, 11, 22, 4, 19, 54, 500000, tzinfo=UTC)),
        ("2026-11-22 04:19:54.5 +0000 UTC", datetime(2026, 11, 22, 4, 19, 54, 500000, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("", None),
        ("never", None),
    ],
)
def test_engines_times(text: str, moment: datetime | None) -> None:
    assert parse_time(text) == moment


def test_times_are_told_in_utc_with_milliseconds() -> None:
    east = timezone(timedelta(hours=2))
    assert engine_time(datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=east)) == (
        "2026-01-02T01:04:05.006Z"
    )


@pytest.mark.parametrize(
    ("status", "running"),
    [
        ("running", True),
        ("Paused", True),
        ("stopping", True),
        ("exited", False),
        ("stopped", False),
        ("created", False),
        ("initialized", False),
        ("dead", False),
    ],
)
def test_words_for_running(status: str, running: bool) -> None:
    assert is_running(status) is running


def test_end_without_times_is_given_some() -> None:
    state = {"Status": "exited", "ExitCode": 3, "FinishedAt": "0001-01-01T00:00:00Z"}
    seen = read_inspection({"Id": "c", "State": state})
    began = datetime(2026, 1, 1, tzinfo=UTC)
    now = began + timedelta(seconds=5)
    end = read_exit(seen, started_at=began, now=now, oom_killed=False, exit_code=3, used=USED)
    assert (end.cpu_ns, end.io_bytes, end.memory_peak_bytes) == (1, 2, 3)
    assert end.io_detail == IoDetail(net_rx=4, net_tx=5, blk_read=6, blk_write=7)
    assert (end.started_at, end.finished_at) == (began, now)
    assert end.state["FinishedAt"] == "2026-01-01T00:00:05.000Z"


def test_end_is_never_before_the_start() -> None:
    state = {
        "Status": "stopped",
        "StartedAt": "2026-01-01T00:00:05.5Z",
        "FinishedAt": "2026-01-01T00:00:05.1Z",
        "Pid": 77,
    }
    seen = read_inspection({"Id": "c", "State": state, "Config": {"Labels": None}})
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    end = read_exit(seen, started_at=moment, now=moment, oom_killed=True, exit_code=137, used=USED)
    assert end.finished_at == end.started_at
    assert end.state["Status"] == "exited"
    assert end.state["Pid"] == 0
    assert end.state["OOMKilled"] is True
    assert seen.labels == {}


def test_labels_by_which_nothing_can_be_found_are_passed_over() -> None:
    good = {"abaco.execution": "e", "abaco.attempt": "2", "abaco.tenant": "T"}
    assert read_labels("c", good, is_running=True) == OwnedContainer(
        container_id="c",
        tenant=Tenant("T"),
        actor_id=ActorId(""),
        execution_id=ExecutionId("e"),
        worker_id=WorkerId(""),
        attempt=2,
        is_running=True,
    )
    for spoilt in ({}, good | {"abaco.attempt": "x"}, {"abaco.attempt": "1"}):
        assert read_labels("c", spoilt, is_running=True) is None
