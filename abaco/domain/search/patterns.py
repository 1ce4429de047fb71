"""Regular expressions of clients, in an engine whose time is linear in the text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

#: instructions of a compiled pattern; with the length of the text they bound the time.
#: Source: measured, 1 MB of text takes at most 10 ns per character and instruction
MAX_PROGRAM = 1000

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def check_pattern(pattern: str) -> None:
    """See that the engine can run the pattern.

    Raises:
        ValueError: It cannot; says why.

    """
    try:
        size = _compile(pattern).programsize
    except re2.error as error:
        raise ValueError(f"is no regular expression: {_reason(error)}") from error
    if size > MAX_PROGRAM:
        raise ValueError("is too large a regular expression")


def is_found(pattern: str, text: str) -> bool:
    """Tell whether a checked pattern is found anywhere in a text. Letter case counts."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # a lone surrogate is no UTF-8
    return _compile(pattern).search(text) is not None


@lru_cache(maxsize=128)
def _compile(pattern: str) -> Any:
    return re2.compile(pattern, _OPTIONS)


def _reason(error: Exception) -> str:
    reason = error.args[0]
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
