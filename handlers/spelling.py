"""Snake and camel: how names are spelled on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

Case = Literal["snake", "camel"]


@lru_cache(maxsize=1024)
def to_camel(name: str) -> str:
    """Spell ``a_b_c`` as ``aBC``; a leading underscore stays."""
    prefix = name[: len(name) - len(name.lstrip("_"))]
    first, *rest = name[len(prefix) :].split("_")
    return prefix + first + "".join(part[:1].upper() + part[1:] for part in rest)


def spell(name: str, case: Case) -> str:
    """Spell a snake name in the given case."""
    return to_camel(name) if case == "camel" else name


def dress(record: Mapping[str, Any], case: Case, *, keep_nulls: bool = False) -> dict[str, Any]:
    """Spell the top-level keys of a record; nothing nested is touched.

    In camel mode attributes without a value are left out, unless ``keep_nulls``.
    """
    if case == "snake":
        return dict(record)
    return {
        to_camel(key): value for key, value in record.items() if keep_nulls or value is not None
    }
