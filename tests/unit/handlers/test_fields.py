"""Types of request parameters."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from handlers import fields


def read(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (fields.Text, "a", "a"),
        (fields.Text, "", ""),
        (fields.Text, 5, "5"),
        (fields.Text, 1.5, "1.5"),
        (fields.Integer, 3, 3),
        (fields.Integer, "16000", 16000),
        (fields.Integer, " -1 ", -1),
        (fields.Integer, 3.0, 3),
        (fields.Integer, 2**63 - 1, 2**63 - 1),
        (fields.Boolean, True, True),
        (fields.Boolean, "TRUE", True),
        (fields.Boolean, "False", False),
        (fields.Boolean, "1", True),
        (fields.Boolean, 0, False),
        (fields.Mapping, {"a": [1]}, {"a": [1]}),
        (fields.Texts, "one", ("one",)),
        (fields.Texts, ["a", 1], ("a", "1")),
        (fields.Texts, [], ()),
    ],
)
def test_accepts(kind, value, expected):
    read_value = read(kind, value)
    assert read_value == expected
    assert type(read_value) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (fields.Text, True, "string"),
        (fields.Text, ["a"], "string"),
        (fields.Text, {}, "string"),
        (fields.Text, "a\0b", "NUL"),
        (fields.Integer, True, "integer"),
        (fields.Integer, "3.7", "integer"),
        (fields.Integer, 3.7, "integer"),
        (fields.Integer, "", "integer"),
        (fields.Integer, "0x10", "integer"),
        (fields.Integer, "1_000", "integer"),
        (fields.Integer, "٣", "integer"),
        (fields.Integer, 2**63, "integer"),
        (fields.Integer, "9" * 5000, "integer"),
        (fields.Integer, [1], "integer"),
        (fields.Boolean, "", "true or false"),
        (fields.Boolean, "yes", "true or false"),
        (fields.Boolean, "abcd", "true or false"),
        (fields.Boolean, 2, "true or false"),
        (fields.Boolean, 1.0, "true or false"),
        (fields.Boolean, [True], "true or false"),
        (fields.Mapping, "{}", "JSON object"),
        (fields.Mapping, [], "JSON object"),
        (fields.Texts, {"a": 1}, "list of strings"),
        (fields.Texts, [["a"]], "list of strings"),
        (fields.Texts, [True], "list of strings"),
        (fields.Texts, ["\0"], "list of strings"),
    ],
)
def test_refuses(kind, value, words):
    with pytest.raises(ValidationError, match=words):
        read(kind, value)
