"""Operands: what the text of a parameter stands for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from abaco.domain.search.patterns import check_pattern
from abaco.domain.search.query import ORDERING, Operator
from abaco.domain.search.times import parse_time

#: most values of one list
MAX_VALUES = 1000

#: what every store can hold as an integer; beyond it a number is a float
_INTEGER_BOUND = 2**63

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_WORDS = {"true": True, "false": False, "none": None}

#: strings in a JSON text; those in single quotes are only tolerated
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"|\'((?:[^\'\\]|\\.)*)\'', re.DOTALL)

_BAD_TIME = (
    "must be a time such as 2020, 2020-05-01 or 2020-05-01T14:45:41.591Z; a + must be sent as %2B"
)


def operands_of(operator: Operator, text: str, *, is_time: bool) -> tuple[Any, ...]:
    """Read what a field is held against.

    Args:
        operator: It decides what the text can be.
        text: As sent.
        is_time: Whether the field's values are times.

    Raises:
        ValueError: The text does not suit; says what would.

    """
    if operator.positive is Operator.LIKE:
        check_pattern(text)
        return (text,)
    if operator is Operator.BETWEEN:
        return _read_range(text, is_time=is_time)
    if operator in ORDERING:
        return (_time(text) if is_time else _number_or_text(text),)
    if operator.positive is Operator.IN:
        return _read_list(text, is_time=is_time)
    return _read_equal(text, is_time=is_time)


def _read_equal(text: str, *, is_time: bool) -> tuple[Any, ...]:
    """Read a single value; it may also be meant as the text it is written as."""
    word = text.lower()
    if word in _WORDS:
        return (_WORDS[word], text)
    if is_time:
        return (_time(text),)
    number = _number(text)
    if number is not None:
        return (number, text)
    if text[:1] in ("[", "{"):
        try:
            return (_parse(text), text)
        except ValueError:
            return (text,)
    return (text,)


def _read_list(text: str, *, is_time: bool) -> tuple[Any, ...]:
    try:
        values = _parse(text)
    except ValueError as error:
        raise ValueError('must be a JSON list such as ["COMPLETE", "ERROR"]') from error
    if not isinstance(values, list):
        raise ValueError('must be a JSON list such as ["COMPLETE", "ERROR"]')
    if len(values) > MAX_VALUES:
        raise ValueError(f"must have at most {MAX_VALUES} values")
    if is_time:
        return tuple(_time(item) if isinstance(item, str) else item for item in values)
    return tuple(values)


def _read_range(text: str, *, is_time: bool) -> tuple[Any, ...]:
    bounds = text.split(",")
    if len(bounds) != 2:
        raise ValueError("must be two numbers or times with a comma between them")
    read: Callable[[str], Any] = _time if is_time else _bound
    return tuple(read(bound.strip()) for bound in bounds)


def _bound(text: str) -> int | float:
    number = _number(text)
    if number is None:
        raise ValueError("must be two numbers with a comma between them")
    return number


def _time(text: str) -> datetime:
    time = parse_time(text)
    if time is None:
        raise ValueError(_BAD_TIME)
    return time


def _number(text: str) -> int | float | None:
    """Read a number that is finite; None when it is none."""
    if _INTEGER.fullmatch(text) and -_INTEGER_BOUND <= int(text) < _INTEGER_BOUND:
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return None


def _number_or_text(text: str) -> int | float | str:
    number = _number(text)
    return text if number is None else number


def _parse(text: str) -> Any:
    """Read JSON, strings in single quotes too.

    Raises:
        ValueError: It is none, or nothing that could be stored.

    """
    spelled = _STRINGS.sub(_double_quoted, text)
    try:
        value = json.loads(spelled, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("is nested too deep") from error
    return value


def _double_quoted(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[0]
    inner = match[1].replace("\\'", "'")
    return '"' + re.sub(r'(?<!\\)"', r"\"", inner) + '"'


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _whole(text: str) -> int | float:
    number = _number(text)
    return _finite(text) if number is None else number
