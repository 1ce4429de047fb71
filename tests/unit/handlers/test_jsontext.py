"""JSON in: what is refused, and with which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.errors import InvalidInputError
from handlers.jsontext import MAX_DEPTH, NotJSONError, parse_json

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30
)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@given(values)
def test_whatever_json_writes_is_read_back(value):
    assert parse_json(json.dumps(value).encode()) == value


@given(values)
def test_also_without_escapes(value):
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary())
def test_any_bytes_are_read_or_refused(body):
    try:
        value = parse_json(body)
    except InvalidInputError:
        return
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":}', b"[1,]", b"hello", b"'a'", b"{'a': 1}"])
def test_not_json(body):
    with pytest.raises(NotJSONError, match="not valid JSON"):
        parse_json(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff\xfe", "UTF-8"),
        (b'"\xc3"', "UTF-8"),
        ('"a"'.encode("utf-16"), "UTF-8"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e999", "too large"),
        (b"-1e999", "too large"),
        (b"1" * 5000, "too many digits"),
        (nested(MAX_DEPTH + 1), "nested deeper"),
        (nested(100_000), "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested deeper"),
        (b'"\\ud800"', "surrogate"),
        (b'["\\udfff"]', "surrogate"),
        (b'"\\uDC00\\uD800"', "surrogate"),
    ],
)
def test_refused_but_json(body, words):
    with pytest.raises(InvalidInputError, match=words) as caught:
        parse_json(body)
    assert not isinstance(caught.value, NotJSONError)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"image": "a", "image": "b"}', "image"),
        (b'{"x": {"deep": 1, "deep": 1}}', "deep"),
        (b'{"ok": "fine", "name": "\\ud83d"}', "name"),
        (b'{"default_environment": {"A": ["\\ude00"]}}', "default_environment"),
        (b'{"\\ud800": 1}', ""),
    ],
)
def test_names_the_field(body, field):
    with pytest.raises(InvalidInputError) as caught:
        parse_json(body)
    assert caught.value.field == field


def test_depth_is_counted_not_brackets():
    wide = [[n] for n in range(10 * MAX_DEPTH)]
    assert parse_json(json.dumps(wide).encode()) == wide
    assert parse_json(nested(MAX_DEPTH)) is not None
    assert parse_json(json.dumps("[" * 10_000).encode()) == "[" * 10_000


def test_a_surrogate_pair_is_text():
    assert parse_json(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


def test_long_keys_are_not_repeated_whole():
    key = b"k" * 10_000
    with pytest.raises(InvalidInputError) as caught:
        parse_json(b'{"%s":1,"%s":2}' % (key, key))
    assert len(caught.value.field) == 80
