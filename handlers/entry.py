"""What the route table says of a path, beside who answers there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from abaco.operations.access import Right

_EXCLUDED = re.compile(r"\(\?!.*?\$\)\)")
_NAME = "([^/]+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path's entry, as its handler is given it.

    Attributes:
        label: The path with a word for every name in it; what metrics call the route.
        rights: What each verb needs.
        actions: What the audit log calls each verb; None for what it does not record.

    """

    label: str
    rights: Mapping[str, Right] = field(default_factory=dict)
    actions: Mapping[str, str | None] = field(default_factory=dict)


def label_of(path: str) -> str:
    """Make a label of a path's pattern."""
    return _EXCLUDED.sub("", path).replace(_NAME, "{name}")
