"""Types of request parameters: what each accepts, whichever way it came."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from abaco.domain.context import python_text

#: what every store can hold
_INTEGER_BOUND = 2**63

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def to_text(value: Any) -> str:
    """Read a string as the wire spells it.

    Raises:
        ValueError: It is none.

    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a string")
    text = str(value)
    if "\0" in text:
        raise ValueError("has a NUL character")
    return text


def _value(value: Any) -> str:
    return to_text(python_text(value))


def _integer(value: Any) -> int:
    number: int | None = None
    if isinstance(value, str):
        number = int(value) if _INTEGER.fullmatch(value) else None
    elif isinstance(value, float):
        number = int(value) if value.is_integer() else None
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    if number is None or not -_INTEGER_BOUND <= number < _INTEGER_BOUND:
        raise ValueError("must be an integer")
    return number


def to_boolean(value: Any) -> bool:
    """Read a boolean as the wire spells it.

    Raises:
        ValueError: It is none.

    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int):
        found = _BOOLEANS.get(str(value).lower())
        if found is not None:
            return found
    raise ValueError("must be true or false")


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    try:
        return tuple(to_text(item) for item in items)
    except ValueError as error:
        raise ValueError("must be a list of strings") from error


Text = Annotated[str, BeforeValidator(to_text)]
#: anything; what is no string becomes Python's text of it
Value = Annotated[str, BeforeValidator(_value)]
Integer = Annotated[int, BeforeValidator(_integer)]
Boolean = Annotated[bool, BeforeValidator(to_boolean)]
Mapping = Annotated[dict[str, Any], BeforeValidator(_mapping)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
