"""Limits of the HTTP server."""

import asyncio
import logging
import resource

import pytest

from handlers import server
from handlers.server import RefusalLog, connection_limit, make_server, raise_file_limit


@pytest.mark.parametrize(
    ("files", "connections"),
    [
        (0, 64),
        (300, 64),
        (320, 64),
        (321, 65),
        (1024, 768),
        (20_000, 10_000),
        (resource.RLIM_INFINITY, 10_000),
    ],
)
def test_connections_leave_files_for_the_rest(files, connections):
    assert connection_limit(files) == connections


def test_the_file_limit_is_raised_to_what_is_allowed():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert raise_file_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("max_body_bytes", "timeout_s"), [(1, 60), (1_000_000, 60), (64 * 1024 * 600, 600)]
)
def test_large_bodies_are_given_more_time(max_body_bytes, timeout_s):
    built = make_server(lambda _: None, file_limit=1024, max_body_bytes=max_body_bytes)
    assert built.conn_params.body_timeout == timeout_s
    assert built.conn_params.header_timeout == 60


async def test_refusals_are_told_once_in_a_while(monkeypatch, caplog):
    monkeypatch.setattr(server, "LOG_INTERVAL_S", 0.1)
    caplog.set_level(logging.WARNING)
    refusals = RefusalLog()
    for _ in range(1000):
        refusals.add("full")
    assert [record.getMessage() for record in caplog.records] == [
        "full; refused 1 since the last such line"
    ]
    await asyncio.sleep(0.11)
    refusals.add("full")
    refusals.add("full")
    assert [record.getMessage() for record in caplog.records][1:] == [
        "full; refused 1000 since the last such line"
    ]
