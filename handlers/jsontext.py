"""JSON in: stricter than the standard library, so that whatever gets in can also get out."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

from abaco.errors import InvalidInputError

#: deepest nesting that is accepted; everything behind the edge may then recurse safely
MAX_DEPTH = 100

#: longest piece of a body that a message repeats
MAX_SHOWN = 80

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class NotJSONError(InvalidInputError):
    """The text is not JSON at all (as opposed to JSON that is refused)."""

    code = "not_json"


def parse_json(body: bytes) -> Any:
    """Read a JSON text.

    Refuses what later parts could not store or write again: numbers that are not finite, lone
    surrogates, nesting beyond MAX_DEPTH. Refuses keys that appear twice in one object.

    Raises:
        NotJSONError: It is no JSON.
        InvalidInputError: It is JSON that is refused; names the field where there is one.

    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError("the body is not valid UTF-8") from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except json.JSONDecodeError as error:
        raise NotJSONError(
            f"the body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from error
    except ValueError as error:
        # The one left: an integer with more digits than Python converts.
        raise InvalidInputError("the body has a number with too many digits") from error
    except RecursionError as error:
        raise _too_deep() from error
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    if _SURROGATE_ESCAPE.search(text):
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        counted = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counted.items() if count > 1)
        raise InvalidInputError("appears twice in one JSON object", field=twice[:MAX_SHOWN])
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInputError(f"{name} is no JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidInputError(f"the number {text[:MAX_SHOWN]} is too large")
    return value


def _too_deep() -> InvalidInputError:
    return InvalidInputError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _check_depth(value: Any) -> None:
    containers = [value]
    for _ in range(MAX_DEPTH):
        children = (child for item in containers for child in _children(item))
        containers = [child for child in children if isinstance(child, dict | list)]
        if not containers:
            return
    raise _too_deep()


def _children(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _check_surrogates(value: Any) -> None:
    """Name the top-level field when the body is an object."""
    parts = value.items() if isinstance(value, dict) else [("", value)]
    for key, part in parts:
        try:
            json.dumps([key, part], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            field = key[:MAX_SHOWN] if key.isprintable() else ""
            raise InvalidInputError(
                "has a lone surrogate, which is no text", field=field
            ) from error
