"""Memory limits as clients write them."""

import pytest

from abaco.domain.limits import MAX_BYTES, parse_memory
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
