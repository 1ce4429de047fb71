"""Limits as clients write them, and what becomes of several."""

import pytest

from abaco.domain.limits import (
    MAX_BYTES,
    check_memory,
    check_run_time,
    parse_memory,
    run_time_limit_s,
)
from abaco.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1", 1),
        ("1048576", 1024**2),
        ("10b", 10),
        ("2k", 2 * 1024),
        ("5m", 5 * 1024**2),
        ("3g", 3 * 1024**3),
        ("3G", 3 * 1024**3),
        ("3gb", 3 * 1024**3),
        ("3 GiB", 3 * 1024**3),
        ("1.5g", 3 * 1024**3 // 2),
        ("1t", 1024**4),
        ("1p", 1024**5),
        (" 512m ", 512 * 1024**2),
        (str(MAX_BYTES), MAX_BYTES),
        ("-1", None),
        (" -1 ", None),
    ],
)
def test_reads(text, size_bytes):
    assert parse_memory(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0g",
        "0.1b",
        "-2",
        "-3g",
        "g",
        "3x",
        "3 g b",
        "3bb",
        "1e9",
        "1,5g",
        "nan",
        "９g",  # noqa: RUF001 - a digit, but none of ours
        str(MAX_BYTES + 1),
        "9999999999999999999p",
        "1" * 10_000,
    ],
)
def test_refuses_and_names_the_field(text):
    with pytest.raises(InvalidInputError) as caught:
        parse_memory(text)
    assert caught.value.field == "mem_limit"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("text", ["6m", "6291456", "1t", "-1"])
def test_enough_memory(text):
    check_memory(text)


@pytest.mark.parametrize("text", ["6291455", "5.9m", "1k", "1", "lots"])
def test_less_memory_than_engines_give(text):
    with pytest.raises(InvalidInputError) as caught:
        check_memory(text)
    assert caught.value.field == "mem_limit"


@pytest.mark.parametrize(
    ("wanted_s", "cap_s", "limit_s"),
    [
        (None, -1, None),
        (None, 0, None),
        (-1, -1, None),
        (None, 60, 60),
        (-1, 60, 60),
        (30, 60, 30),
        (90, 60, 60),
        (90, -1, 90),
    ],
)
def test_the_shorter_run_time_counts(wanted_s, cap_s, limit_s):
    assert run_time_limit_s(wanted_s, cap_s) == limit_s


@pytest.mark.parametrize(
    ("wanted_s", "cap_s"), [(None, 60), (60, 60), (1, 60), (-1, -1), (10**9, -1), (-1, 0)]
)
def test_a_run_time_that_may_be_asked_for(wanted_s, cap_s):
    check_run_time(wanted_s, cap_s)


@pytest.mark.parametrize(("wanted_s", "cap_s"), [(61, 60), (-1, 60)])
def test_a_run_time_above_that_of_all(wanted_s, cap_s):
    with pytest.raises(InvalidInputError, match="60 seconds") as caught:
        check_run_time(wanted_s, cap_s)
    assert caught.value.field == "max_run_time"
