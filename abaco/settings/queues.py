"""Queues in settings: lists of names, numbers by name, and the places each queue has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

NAMES = "names of letters, digits, _, - and ., with commas between them"
COUNTS = "name=number, with commas between them, or nothing"


def _split(value: Any) -> Any:
    """Take text apart at its commas; what is no text is taken as it is."""
    if not isinstance(value, str):
        return value
    return tuple(word.strip() for word in value.split(",")) if value.strip() else ()


def _check_names(value: Any) -> Any:
    names = _split(value)
    if not names or not all(_NAME.fullmatch(name) for name in names):
        raise ValueError(NAMES)
    return tuple(dict.fromkeys(names))


def _check_counts(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    counts = {}
    for word in _split(value):
        name, equals, number = (part.strip() for part in word.partition("="))
        is_good = _NAME.fullmatch(name) and equals and re.fullmatch("[1-9][0-9]{0,5}", number)
        if not is_good or name in counts:
            raise ValueError(COUNTS)
        counts[name] = int(number)
    return counts


#: queue names, in order, each once; written with commas between them
QueueNames = Annotated[tuple[str, ...], BeforeValidator(_check_names)]
#: a number for each of some queues
QueueCounts = Annotated[dict[str, int], BeforeValidator(_check_counts)]


def share_out(total: int, queues: Sequence[str], own: Mapping[str, int]) -> dict[str, int]:
    """Divide the host's places: queues with a number of their own get it, the rest is shared.

    Those that share get equal parts; what cannot be divided goes to the first of them.

    Raises:
        ValueError: There are not enough places for one each.

    """
    sharing = [queue for queue in queues if queue not in own]
    rest = total - sum(own[queue] for queue in queues if queue in own)
    if rest < len(sharing):
        raise ValueError(f"{total} places in all are not enough: every queue needs at least one")
    places = dict(own)
    for number, queue in enumerate(sharing):
        part, odd = divmod(rest, len(sharing))
        places[queue] = part + (number < odd)
    return {queue: places[queue] for queue in queues}
